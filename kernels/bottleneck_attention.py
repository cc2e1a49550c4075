"""Attention over bottleneck tokens and latents, the key set of every encoder layer (supplementary, Table 1a)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.kernels.options import threads
from megaseg.kernels.registry import Matrix, implementation


def bottleneck_attention(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    begin: NDArray[np.int32],
    *,
    heads: int,
    bottlenecks: int,
    query_begin: NDArray[np.int32] | None = None,
    latent_queries: bool = False,
    out: Matrix | None = None,
    target: str = "",
    num_threads: int = 1,
) -> Matrix:
    """``softmax(q k^T / sqrt(d)) v`` per sequence and head; no matrix of scores is ever whole.

    q, k, v (tokens, heads * d): every sequence's bottleneck tokens first, then its latents ``begin[b]`` to
    ``begin[b + 1]``, (batch + 1,). With ``latent_queries`` q and the result hold no bottleneck tokens; ``query_begin``
    is for q that has other numbers of latents. Result: the shape of q. All float32 or all bfloat16.

    Raises:
        UnsupportedError: dtype, target or number of threads. ValueError: shapes that do not fit.
    """
    result: Matrix = implementation("bottleneck_attention", q)(
        q,
        k,
        v,
        begin,
        heads=heads,
        bottlenecks=bottlenecks,
        query_begin=query_begin,
        latent_queries=latent_queries,
        out=out,
        target=target,
        num_threads=threads(num_threads),
    )
    return result
