"""Encoder layers as nodes: multi-head self-attention and a feed-forward network, normalised after or before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Node, Weight
from megaseg.engine.graph.ops import attention, layer_norm, linear

Tensor = Callable[[str], Weight]  # a checkpoint's tensor by name


def centred(weight: Weight, channels: int) -> Weight:
    """A weight that only a layer normalisation reads, less its mean over axis ``channels``: the norm drops it anyway.

    The function stays the same, and rows of narrow types spend no digits on an offset common to all channels.
    """

    def read() -> NDArray[np.float64]:
        values = weight.double()
        for _ in range(2):  # the first mean is rounded to the digits of the offset
            values = values - values.mean(axis=channels, keepdims=True)
        return values

    return Weight(weight.shape, read)


def post_norm_layer(h: Node, tensor: Tensor, prefix: str, *, heads: int, eps: float) -> Node:
    """``h = LN1(h + attention(h)); h = LN2(h + W2 gelu(W1 h + b1) + b2)`` (torch's TransformerEncoderLayer)."""

    def named(name: str) -> tuple[Weight, Weight]:
        return tensor(f"{prefix}.{name}.weight"), tensor(f"{prefix}.{name}.bias")

    def summed(name: str) -> tuple[Weight, Weight]:
        weight, bias = named(name)
        return centred(weight, 0), centred(bias, 0)

    attended = _attended(h, tensor, prefix, heads)
    h = layer_norm(linear(attended, *summed("self_attn.out_proj"), residual=h), *named("norm1"), eps)
    hidden = linear(h, *named("linear1"), activation="gelu")
    return layer_norm(linear(hidden, *summed("linear2"), residual=h), *named("norm2"), eps)


def pre_norm_layer(h: Node, tensor: Tensor, prefix: str, *, heads: int, eps: float, activation: str = "gelu") -> Node:
    """``h = h + attention(LN1(h)); h = h + W2 f(W1 LN2(h) + b1) + b2`` (TransformerEncoderLayer, ``norm_first``)."""

    def named(name: str) -> tuple[Weight, Weight]:
        return tensor(f"{prefix}.{name}.weight"), tensor(f"{prefix}.{name}.bias")

    attended = _attended(layer_norm(h, *named("norm1"), eps), tensor, prefix, heads)
    h = linear(attended, *named("self_attn.out_proj"), residual=h)
    hidden = linear(layer_norm(h, *named("norm2"), eps), *named("linear1"), activation=activation)
    return linear(hidden, *named("linear2"), residual=h)


def _attended(h: Node, tensor: Tensor, prefix: str, heads: int) -> Node:
    c = h.width
    weight, bias = tensor(f"{prefix}.self_attn.in_proj_weight"), tensor(f"{prefix}.self_attn.in_proj_bias")
    q = linear(h, weight.rows(0, c), bias.rows(0, c))
    kv = linear(h, weight.rows(c, 3 * c), bias.rows(c, 3 * c))
    return attention(q, kv, heads)


def layer_shapes(size: int, ffn_size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an encoder layer's tensors, after its prefix; the same for both orders of the norms."""
    return {
        "self_attn.in_proj_weight": (3 * size, size),
        "self_attn.in_proj_bias": (3 * size,),
        "self_attn.out_proj.weight": (size, size),
        "self_attn.out_proj.bias": (size,),
        "linear1.weight": (ffn_size, size),
        "linear1.bias": (ffn_size,),
        "linear2.weight": (size, ffn_size),
        "linear2.bias": (size,),
        **{f"norm{i}.{part}": (size,) for i in (1, 2) for part in ("weight", "bias")},
    }


def decoder_layer_shapes(size: int, ffn_size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a decoder layer's tensors, after its prefix (torch's TransformerDecoderLayer)."""
    layer = layer_shapes(size, ffn_size)
    crossed = {
        name.replace("self_attn", "multihead_attn"): shape for name, shape in layer.items() if "self_attn" in name
    }
    return {**layer, **crossed, "norm3.weight": (size,), "norm3.bias": (size,)}
