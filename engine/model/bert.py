"""BERT (Devlin et al. 2019) as a text encoder: token ids of a text to one vector, as sentence-transformers pools it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Node, Output, Weight
from megaseg.engine.graph.layers import layer_shapes, post_norm_layer
from megaseg.engine.graph.ops import POOLS, add_table, features, gather, l2_normalise, layer_norm, pool
from megaseg.engine.graph.sequences import Sequences, Whole
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig, sizes_out_of_range

TOKENS = Modality("tokens", 1, "int32")
NORMS = ("l2", "none")
MAX_LAYERS = 256
Tensor = Callable[[str], Weight]


@dataclass(frozen=True, slots=True)
class BertConfig(ModelConfig, family="bert"):
    """The numbers that fix an encoder's function.

    A sequence is a text of at most ``max_length`` tokens, whose ids are the one modality. ``pooling`` is ``mean`` or
    ``first`` (the class token), ``norm`` is ``l2`` for vectors of length 1, or ``none``.
    """

    max_length: int
    vocab_size: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_layers: int
    layer_norm_eps: float = 1e-12
    pooling: str = "mean"
    norm: str = "l2"
    modalities: tuple[Modality, ...] = (TOKENS,)
    task: str = "embedding"
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        yield from transformer_problems(self)
        yield from fixed_problems(self, (TOKENS,), "embedding")
        if self.pooling not in POOLS:
            yield f"pooling must be one of {', '.join(POOLS)}, got {self.pooling!r}"
        if self.norm not in NORMS:
            yield f"norm must be one of {', '.join(NORMS)}, got {self.norm!r}"

    @property
    def sequences(self) -> Sequences:
        """Each text whole."""
        return Whole(self.max_length)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor; ``type.weight`` is the row of token type 0, the only one that is read."""
        c = self.hidden_size
        layer = layer_shapes(c, self.ffn_size)
        return {
            "word.weight": (self.vocab_size, c),
            "position.weight": (self.max_length, c),
            "type.weight": (1, c),
            "norm.weight": (c,),
            "norm.bias": (c,),
            **{f"layers.{i}.{name}": shape for i in range(self.num_layers) for name, shape in layer.items()},
        }

    def build(self, tensor: Tensor) -> Graph:
        """Output ``embedding``: one row a text, the mean of its tokens (or the first of them) after the last layer."""
        words = gather(features(0, 1, "latents"), tensor("word.weight"))
        h = add_table(words, _sum(tensor("position.weight"), tensor("type.weight")))
        h = layer_norm(h, tensor("norm.weight"), tensor("norm.bias"), self.layer_norm_eps)
        h = encoded(h, tensor, "layers", self.num_layers, heads=self.num_heads, eps=self.layer_norm_eps)
        vector = pool(h, self.pooling)
        embedding = l2_normalise(vector) if self.norm == "l2" else vector
        return Graph(self.sequences, self.modalities, (Output("embedding", embedding),))


def encoded(h: Node, tensor: Tensor, prefix: str, layers: int, *, heads: int, eps: float) -> Node:
    """Rows after ``layers`` post-norm layers, whose tensors are ``PREFIX.0.*``, ``PREFIX.1.*`` and so on."""
    for i in range(layers):
        h = post_norm_layer(h, tensor, f"{prefix}.{i}", heads=heads, eps=eps)
    return h


def fixed_problems(config: ModelConfig, modalities: tuple[Modality, ...], task: str) -> Iterator[str]:
    """A modality or a task other than the one that the family has."""
    if config.modalities != modalities:
        expected = ", ".join(f"{m.name} ({m.type}, feature_size {m.feature_size})" for m in modalities)
        yield f"modalities must be {expected}, got {[m.name for m in config.modalities]}"
    if config.task != task:
        yield f"task must be {task}, got {config.task!r}"


def transformer_problems(config: Any) -> Iterator[str]:
    """What is wrong with the sizes of a config with BERT's fields."""
    sizes = ("max_length", "vocab_size", "hidden_size", "ffn_size", "num_heads")
    yield from sizes_out_of_range({name: getattr(config, name) for name in sizes})
    yield from sizes_out_of_range({"num_layers": config.num_layers}, 0, MAX_LAYERS)
    if config.hidden_size % config.num_heads:
        yield f"hidden_size must be a multiple of num_heads, got {config.hidden_size} and {config.num_heads}"
    if not (0.0 < config.layer_norm_eps < 1.0 and math.isfinite(config.layer_norm_eps)):
        yield f"layer_norm_eps must be in (0, 1), got {config.layer_norm_eps}"


def _sum(table: Weight, row: Weight) -> Weight:
    def read() -> NDArray[np.float64]:
        return table.double() + row.double()

    return Weight(table.shape, read)
