"""Layer normalisation over the last axis."""

from __future__ import annotations

from megaseg.kernels.registry import Array, implementation


def layer_norm(x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5, target: str = "") -> Array:
    """``(x - mean) / sqrt(variance + eps) * gamma + beta`` by rows: x (rows, size), gamma and beta (size,).

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    return implementation("layer_norm", x)(x, gamma, beta, eps=eps, target=target)
