"""Encoder and decoder layers as nodes: multi-head attention and a feed-forward network, normalised after or before."""

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

    return Weight(weight.shape, read, weight.derived("centred", channels))


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
    h = self_attended(h, tensor, prefix, heads=heads, eps=eps)
    return _fed_forward(h, tensor, prefix, "norm2", eps, activation)


def self_attended(h: Node, tensor: Tensor, prefix: str, *, heads: int, eps: float) -> Node:
    """``h + attention(LN1(h))``: the first block of a pre-norm layer, an encoder's or a decoder's."""
    rows = layer_norm(h, tensor(f"{prefix}.norm1.weight"), tensor(f"{prefix}.norm1.bias"), eps)
    return _out(_attended(rows, tensor, prefix, heads), h, tensor, f"{prefix}.self_attn")


def crossed(
    h: Node, memory: Node, tensor: Tensor, prefix: str, *, heads: int, eps: float, activation: str = "gelu"
) -> Node:
    """The rest of a pre-norm decoder layer after ``self_attended`` (TransformerDecoderLayer, ``norm_first``, no mask).

    ``h = h + attention(LN2(h), memory); h = h + W2 f(W1 LN3(h) + b1) + b2``
    """
    weight, bias = (tensor(f"{prefix}.multihead_attn.in_proj_{part}") for part in ("weight", "bias"))
    rows = layer_norm(h, tensor(f"{prefix}.norm2.weight"), tensor(f"{prefix}.norm2.bias"), eps)
    c = h.width
    q = linear(rows, weight.rows(0, c), bias.rows(0, c))
    kv = linear(memory, weight.rows(c, 3 * c), bias.rows(c, 3 * c))
    h = _out(attention(q, kv, heads), h, tensor, f"{prefix}.multihead_attn")
    return _fed_forward(h, tensor, prefix, "norm3", eps, activation)


def _out(attended: Node, h: Node, tensor: Tensor, prefix: str) -> Node:
    return linear(attended, tensor(f"{prefix}.out_proj.weight"), tensor(f"{prefix}.out_proj.bias"), residual=h)


def _fed_forward(h: Node, tensor: Tensor, prefix: str, norm: str, eps: float, activation: str) -> Node:
    def named(name: str) -> tuple[Weight, Weight]:
        return tensor(f"{prefix}.{name}.weight"), tensor(f"{prefix}.{name}.bias")

    hidden = linear(layer_norm(h, *named(norm), eps), *named("linear1"), activation=activation)
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
