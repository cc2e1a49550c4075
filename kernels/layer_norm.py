"""Layer normalisation over the last axis."""

from __future__ import annotations

from megaseg.kernels.registry import Array, Matrix, implementation


def layer_norm(
    x: Matrix, gamma: Array, beta: Array, *, eps: float = 1e-5, out: Matrix | None = None, target: str = ""
) -> Matrix:
    """``(x - mean) / sqrt(variance + eps) * gamma + beta`` by rows: x (rows, size), gamma and beta (size,).

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    result: Matrix = implementation("layer_norm", x)(x, gamma, beta, eps=eps, out=out, target=target)
    return result
