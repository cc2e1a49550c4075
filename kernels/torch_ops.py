"""The ops on a GPU as torch custom ops, ``torch.ops.megaseg.*``: torch.compile and CUDA graphs work around them.

Each does what the op of its name does on the CPU, for torch tensors: ask the registry, run. Rows lie as
everywhere: every sequence's bottleneck tokens first, then every sequence's latents. Activations are float16,
bfloat16 or float32, sums float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from megaseg.kernels.registry import device_implementation

Result = Tensor | tuple[Tensor, ...]


def _class_of(*arguments: Any) -> tuple[str, int]:
    """What decides the implementation: a class of shapes (float32 has no tensor cores), and the size of a row."""
    return "float32" if arguments[0].dtype == torch.float32 else "", arguments[0].shape[-1]


def _attention_class(
    q: Tensor, k: Tensor, v: Tensor, begin: Tensor, heads: int, own: int, *rest: Any
) -> tuple[str, int]:
    """As ``_class_of``, by the longest sequence and the size of a head."""
    from megaseg.kernels.triton.bottleneck_attention import key

    size = q.shape[1] // heads
    return key(q.dtype, own + int(rest[0]), size), size


def _linear_class(x: Tensor, weight: Tensor, bias: Any, residual: Any, gelu: bool) -> tuple[str, int]:
    """As ``_class_of``; with a GELU apart."""
    key, size = _class_of(x)
    return key or ("gelu" if gelu else ""), size


def _define(
    schema: str, decides: int = 0, class_of: Callable[..., tuple[str, int]] = _class_of
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """A custom op from its schema and a function of its results' shapes; argument ``decides`` has its type."""
    name = schema.split("(", 1)[0]

    def run(*arguments: Any) -> Result:
        with torch.cuda.device_of(arguments[decides]):  # type: ignore[no-untyped-call]  # kernels run on the current one
            result: Result = device_implementation(name, arguments[decides], *class_of(*arguments))(*arguments)
        return result

    def define(fake: Callable[..., Result]) -> Callable[..., Result]:
        op = torch.library.custom_op(f"megaseg::{name}", run, mutates_args=(), schema=schema.split(name, 1)[1])
        op.register_fake(fake)
        return op

    return define


@_define(
    "bottleneck_attention(Tensor q, Tensor k, Tensor v, Tensor begin, int heads, int bottlenecks, int longest,"
    " bool latent_queries=False) -> Tensor",
    class_of=_attention_class,
)
def bottleneck_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    begin: Tensor,
    heads: int,
    bottlenecks: int,
    longest: int,
    latent_queries: bool = False,
) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` per sequence and head, as ``megaseg.kernels.bottleneck_attention``.

    q, k, v (tokens, heads * d), rows may be strided; begin (batch + 1,) int32; ``longest`` is at least the most latents
    of a sequence. Rows that belong to no sequence are left as they come.
    """
    return q.new_empty(q.shape)


@_define(
    "window_attention(Tensor shot, Tensor row, Tensor position, Tensor shift, Tensor bottleneck, Tensor inverse_std,"
    " int heads) -> Tensor"
)
def window_attention(
    shot: Tensor, row: Tensor, position: Tensor, shift: Tensor, bottleneck: Tensor, inverse_std: Tensor, heads: int
) -> Tensor:
    """Self-attention of windows from tables, as ``megaseg.kernels.window_attention``; tables per place are float32."""
    windows, length = row.shape
    return shot.new_empty(windows * (len(bottleneck) + length), shot.shape[1] // 3)


@_define("query_attention(Tensor query, Tensor bottleneck_rows, Tensor latent_rows, float scale) -> Tensor", decides=2)
def query_attention(query: Tensor, bottleneck_rows: Tensor, latent_rows: Tensor, scale: float) -> Tensor:
    """Attention of one query a window on the tokens themselves, as ``megaseg.kernels.query_attention``."""
    return latent_rows.new_empty(query.shape)


@_define(
    "residual_layer_norm(Tensor x, Tensor? bias, Tensor? residual, Tensor gamma, Tensor beta, float eps) -> Tensor"
)
def residual_layer_norm(
    x: Tensor, bias: Tensor | None, residual: Tensor | None, gamma: Tensor, beta: Tensor, eps: float
) -> Tensor:
    """``LayerNorm(x + bias + residual)`` of rows; bias, gamma and beta are float32."""
    return x.new_empty(x.shape)


@_define("linear(Tensor x, Tensor weight, Tensor? bias, Tensor? residual, bool gelu) -> Tensor", class_of=_linear_class)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool) -> Tensor:
    """``gelu?(x W^T + bias + residual)``, as ``megaseg.kernels.linear``; the bias is float32."""
    return x.new_empty(len(x), len(weight))


@_define(
    "embed(Tensor x, Tensor row, Tensor place, Tensor slot, Tensor position, Tensor align, Tensor gamma, Tensor beta,"
    " Tensor bottleneck, int batch, float eps) -> (Tensor, Tensor)"
)
def embed(
    x: Tensor,
    row: Tensor,
    place: Tensor,
    slot: Tensor,
    position: Tensor,
    align: Tensor,
    gamma: Tensor,
    beta: Tensor,
    bottleneck: Tensor,
    batch: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Tokens before the first layer, and 1 / sigma of every latent (float32), as ``megaseg.kernels.embed``."""
    tokens = x.new_empty(batch * len(bottleneck) + len(row), x.shape[1])
    return tokens, x.new_empty(len(row), dtype=torch.float32)


@_define(
    "banded_estep(Tensor shots, Tensor sentences, Tensor shot_begin, Tensor sentence_begin, Tensor reach,"
    " Tensor out_begin, int longest, int most, int total, float threshold) -> (Tensor, Tensor)"
)
def banded_estep(
    shots: Tensor,
    sentences: Tensor,
    shot_begin: Tensor,
    sentence_begin: Tensor,
    reach: Tensor,
    out_begin: Tensor,
    longest: int,
    most: int,
    total: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    """Eq. 2 of a batch of movies: bits (total,) uint8, and 1 for each movie with similarities that are not finite.

    shots (sum L_sh, C), sentences (sum L_syn, C); offsets of movies in them (movies + 1,) int32, and in the bits, where
    movie b has (L_sh, ceil(L_syn / 8)) bytes, int64; reach (movies,) int64 as ``megaseg.kernels.banded_estep.reach``;
    longest and most: the largest L_sh and L_syn.
    """
    return shots.new_empty(total, dtype=torch.uint8), shots.new_empty(len(reach), dtype=torch.int32)


@_define("scene_pairs(Tensor u, Tensor v, Tensor row, Tensor free, float bound) -> (Tensor, Tensor, Tensor)")
def scene_pairs(u: Tensor, v: Tensor, row: Tensor, free: Tensor, bound: float) -> tuple[Tensor, ...]:
    """Of rows ``row`` (rows,) int32 of window sums u (M, C) and each 64 of v (N, C): the best ``u_i . v_j``.

    Results (rows, blocks): the highest of the columns that are ``free`` (N,) uint8, float32; the first column that has
    it, int32; how many products of all columns are above ``bound``, int32. ``megaseg.kernels.scene_pairs`` chooses.
    """
    shape = len(row), -(-len(v) // 64)
    return tuple(u.new_empty(shape, dtype=dtype) for dtype in (torch.float32, torch.int32, torch.int32))
