"""Attention of one query a window, with the key and value projections folded around it."""

from __future__ import annotations

from megaseg.kernels.registry import Array, Matrix, implementation


def query_attention(
    query: Array,
    bottleneck_rows: Matrix,
    latent_rows: Matrix,
    *,
    scale: float,
    out: Matrix | None = None,
    target: str = "",
) -> Matrix:
    """``softmax_t(scale * query_h . token_t)`` times the tokens themselves, for every window and head.

    query (windows, heads, size) holds W_k,h^T q_h, so that keys are never formed; values are projected from the result
    (windows, heads, size). bottleneck_rows (windows, tokens, size) and latent_rows (windows, L, size) are the tokens,
    both float32 or both bfloat16.

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    run = implementation("query_attention", latent_rows)
    result: Matrix = run(query, bottleneck_rows, latent_rows, scale=scale, out=out, target=target)
    return result
