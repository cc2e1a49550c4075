"""A window's latents before the first encoder layer (supplementary, Table 1a, shot encoder)."""

from __future__ import annotations

from megaseg.kernels.registry import Array, implementation


def embed(
    x: Array,
    position: Array,
    align: Array,
    gamma: Array,
    beta: Array,
    *,
    windows: int,
    first: int = 0,
    eps: float = 1e-5,
    target: str = "",
) -> Array:
    """``LayerNorm(x_i + position_j + align[floor(j L_n / L)])`` for every position j of every window.

    x (shots, size) projected features, position (L, size), align (L_n, size). Window w is centred on shot
    ``first + w``; position j shows shot i = first + w + j - L // 2, edge shots repeated. Result (windows, L, size).

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    run = implementation("embed", x)
    return run(x, position, align, gamma, beta, eps=eps, first=first, windows=windows, target=target)
