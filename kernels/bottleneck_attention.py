"""Attention over bottleneck tokens and latents, the key set of every encoder layer (supplementary, Table 1a)."""

from __future__ import annotations

from megaseg.kernels.registry import Array, implementation


def bottleneck_attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    batch: int,
    heads: int,
    bottlenecks: int,
    latent_queries: bool = False,
    target: str = "",
    num_threads: int = 1,
) -> Array:
    """``softmax(q k^T / sqrt(d)) v`` per sequence and head; no matrix of scores is ever whole.

    q, k, v (batch * tokens, heads * d): every sequence's bottleneck tokens first, then every sequence's latents.
    With ``latent_queries`` q and the result hold the latents only. Result: the shape of q.

    Raises:
        UnsupportedError: dtype or target. ValueError: shapes that do not fit.
    """
    return implementation("bottleneck_attention", q)(
        q,
        k,
        v,
        batch=batch,
        heads=heads,
        bottlenecks=bottlenecks,
        latent_queries=latent_queries,
        target=target,
        num_threads=num_threads,
    )
