"""Latents before the first encoder layer (supplementary, Table 1a, shot encoder)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.kernels.registry import Array, Matrix, implementation


def embed(
    x: Array,
    row: NDArray[np.int32],
    place: NDArray[np.int32],
    slot: NDArray[np.int32],
    position: Array,
    align: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    out: Matrix | None = None,
    inverse_std: Array | None = None,
    target: str = "",
) -> Matrix:
    """``LayerNorm(x[row] + position[place] + align[slot])``, slot = floor(place L_n / L) in the model.

    x (shots, size) projected features, position (L, size), align (L_n, size); row, place, slot (rows,). Result
    (rows, size), float32 unless ``out`` is bfloat16. ``inverse_std`` (rows,) receives 1 / sqrt(variance + eps).

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit, indices out of range.
    """
    result: Matrix = implementation("embed", x)(
        x,
        row,
        place,
        slot,
        position,
        align,
        gamma,
        beta,
        eps=eps,
        out=out,
        inverse_std=inverse_std,
        target=target,
    )
    return result
