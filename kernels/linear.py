"""Linear layer with what surrounds it in the model: bias, residual and GELU."""

from __future__ import annotations

from megaseg.kernels.options import threads
from megaseg.kernels.registry import Array, Matrix, implementation


def linear(
    x: Matrix,
    weight: Array,
    bias: Array | None = None,
    *,
    residual: Matrix | None = None,
    gelu: bool = False,
    compute_type: str = "float32",
    out: Matrix | None = None,
    target: str = "",
    num_threads: int = 1,
) -> Matrix:
    """``activation(x W^T + bias + residual)``: x (rows, k), weight (n, k), bias (n,), residual (rows, n) to (rows, n).

    ``compute_type`` is what is multiplied. "bfloat16" rounds x and weight; "int8" takes 255 steps from the least to the
    largest of every 768 values of a row of x, and 254 between the largest magnitudes of each row of weight; "int16"
    takes 16,382 steps for every 768 values of a row of x and 1,022, ten bits, for each row of weight. Integers are
    multiplied and added exactly; sums leave in float32, and are rounded once where ``out`` is bfloat16, as it is by
    default for that compute type.

    ``gelu`` is the exact form x Phi(x), to 4e-7 from float32 to float32 and to 1.5e-5 otherwise. ``target`` forces a
    CPU target; empty takes the resolved one.

    Raises:
        UnsupportedError: dtype, compute type, target or number of threads. ValueError: shapes that do not fit.
    """
    run = implementation("linear", x, compute_type)
    result: Matrix = run(
        x,
        weight,
        bias,
        residual,
        gelu=gelu,
        compute_type=compute_type,
        out=out,
        target=target,
        num_threads=threads(num_threads),
    )
    return result
