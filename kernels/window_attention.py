"""The first layer's attention from per-shot and per-position tables, without forming queries, keys or values."""

from __future__ import annotations

from megaseg.kernels.registry import Array, implementation


def window_attention(
    shot: Array,
    position: Array,
    shift: Array,
    bottleneck: Array,
    inverse_sigma: Array,
    *,
    heads: int,
    first: int = 0,
    target: str = "",
    num_threads: int = 1,
) -> Array:
    """Self-attention of windows whose latents' QKV is ``(shot_i + position_j) * inverse_sigma_wj + shift``.

    shot (shots, 3 C), position (L, 3 C), shift (3 C,), bottleneck (L_n, 3 C) the bottleneck tokens' own QKV,
    inverse_sigma (windows, L); windows as in ``embed``. Result (windows * (L_n + L), C), all bottleneck tokens first.
    Source: LayerNorm is affine in its row once sigma is known.

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    run = implementation("window_attention", shot)
    return run(
        shot,
        position,
        shift,
        bottleneck,
        inverse_sigma,
        heads=heads,
        first=first,
        target=target,
        num_threads=num_threads,
    )
