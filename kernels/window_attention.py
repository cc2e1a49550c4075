"""The first layer's attention from per-shot and per-position tables, without forming queries, keys or values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.kernels.options import threads
from megaseg.kernels.registry import Array, Matrix, implementation


def window_attention(
    shot: Array,
    row: NDArray[np.int32],
    position: Array,
    shift: Array,
    bottleneck: Array,
    inverse_std: Array,
    *,
    heads: int,
    out: Matrix | None = None,
    target: str = "",
    num_threads: int = 1,
) -> Matrix:
    """Self-attention of windows whose latents' QKV is ``(shot[row_wj] + position_j) * inverse_std_wj + shift``.

    shot (shots, 3 C), row (windows, L), position (L, 3 C), shift (3 C,), bottleneck (L_n, 3 C) the bottleneck tokens'
    own QKV, inverse_std (windows, L). Result (windows * (L_n + L), C), all bottleneck tokens first, float32 unless
    ``out`` is bfloat16: then products multiply bfloat16 too.
    Source: LayerNorm is affine in its row once sigma is known.

    Raises:
        UnsupportedError: dtype, target or number of threads. ValueError: shapes that do not fit, rows out of range.
    """
    run = implementation("window_attention", shot)
    result: Matrix = run(
        shot,
        row,
        position,
        shift,
        bottleneck,
        inverse_std,
        heads=heads,
        out=out,
        target=target,
        num_threads=threads(num_threads),
    )
    return result
