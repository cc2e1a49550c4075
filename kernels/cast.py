"""The same values in another storage type."""

from __future__ import annotations

from typing import Any

from megaseg.kernels.registry import Matrix, implementation


def cast(x: Matrix, dtype: str, *, target: str = "") -> Any:
    """x (rows, size) as "float32", as "bfloat16" (uint16 bits, rounded to nearest even), or by rows as "int8".

    int8 is a pair: elements (rows, size) uint8 and grids (rows, ceil(size / 768), 2), low and step of every 768
    elements: value = low + step * element, 255 steps from the least value to the largest.

    int16 is a pair too: elements (rows, size) int16 and grids (rows, ceil(size / 768), 2) of 0 and step, value = step *
    element, step = the largest magnitude of 768 elements / 8191.

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    return implementation("cast", x)(x, dtype, target=target)
