"""Linear layer with what surrounds it in the model: bias, residual and GELU."""

from __future__ import annotations

from megaseg.kernels.registry import Array, implementation


def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    residual: Array | None = None,
    gelu: bool = False,
    target: str = "",
    num_threads: int = 1,
) -> Array:
    """``activation(x W^T + bias + residual)``: x (rows, k), weight (n, k), bias (n,), residual (rows, n) to (rows, n).

    ``gelu`` is the exact form x Phi(x). ``target`` forces a CPU target; empty takes the resolved one.

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    run = implementation("linear", x)
    return run(x, weight, bias, residual, gelu=gelu, target=target, num_threads=num_threads)
