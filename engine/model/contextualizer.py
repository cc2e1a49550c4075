"""The contextualizer: a small transformer that sets frozen features of shots in the context of their neighbours.

Source: Xiao et al., Hierarchical Self-supervised Representation Learning for Movie Understanding (CVPR 2022): a
low-level backbone stays frozen, and a high-level contextualizer is trained by mask prediction. The paper leaves open
[chosen here]: projections of several modalities are summed, norms come before, windows of ``max_length`` shots overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from megaseg.engine.graph.graph import Graph, Node, Output, Weight
from megaseg.engine.graph.layers import centred, layer_shapes, pre_norm_layer
from megaseg.engine.graph.ops import add, add_table, features, layer_norm, linear
from megaseg.engine.graph.sequences import Sequences, Strided, Whole
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig, sizes_out_of_range

CLASSES = {"embedding": 0, "scene": 2}  # of each task that an encoder of shots serves
MAX_LAYERS = 256
Tensor = Callable[[str], Weight]


@dataclass(frozen=True, slots=True)
class ContextualizerConfig(ModelConfig, family="contextualizer"):
    """The numbers that fix a contextualizer's function.

    A sequence is a window of ``max_length`` shots, one every ``step`` shots. Without ``num_classes`` the model embeds;
    with them it has a head, of ``head_layers`` hidden layers (None: one) of ``head_size`` units, or of none at 0.
    """

    absent_as_zeros: ClassVar[bool] = True

    task: str
    modalities: tuple[Modality, ...]
    max_length: int = 64
    step: int = 32
    hidden_size: int = 256
    ffn_size: int = 1024
    num_heads: int = 4
    num_layers: int = 3
    num_classes: int = 0
    head_size: int = 0
    dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    head_layers: int | None = None
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        yield from encoder_problems(self)
        yield from sizes_out_of_range({"step": self.step}, 1, self.max_length)

    @property
    def sequences(self) -> Sequences:
        """Windows of L shots that overlap."""
        return Strided(self.max_length, self.step)

    @property
    def embedding_size(self) -> int:
        """Columns of output ``embedding``: C."""
        return self.hidden_size

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that a checkpoint of this config holds, and no other."""
        c = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for modality in self.modalities:
            shapes[f"modalities.{modality.name}.proj.weight"] = (c, modality.feature_size)
            shapes[f"modalities.{modality.name}.proj.bias"] = (c,)
        layers = stack_shapes("layers", self.num_layers, layer_shapes(c, self.ffn_size))
        return shapes | {"position.weight": (self.max_length, c)} | layers | norm_shapes("norm", c) | head_shapes(self)

    def build(self, tensor: Tensor) -> Graph:
        """Output ``embedding`` (n, C), and ``logits`` (n, N_c) of a model with classes: a row a shot of a window."""
        tensor = centring(tensor)
        parts = tuple(projected(self, index, "latents", tensor) for index in range(len(self.modalities)))
        h = add_table(parts[0] if len(parts) == 1 else add(parts), tensor("position.weight"))
        h = layer_norm(encoded(self, h, tensor, "layers"), *norm(tensor, "norm"), self.layer_norm_eps)
        return Graph(Whole(self.max_length), self.modalities, with_logits(self, (Output("embedding", h),), tensor))


def encoder_problems(config: Any) -> Iterator[str]:
    """What is wrong with the numbers of an encoder of shots with a contextualizer's fields."""
    if config.task not in CLASSES:
        yield f"task must be one of {', '.join(CLASSES)}, got {config.task!r}"
    yield from number_problems(config)
    sizes = ("max_length", "hidden_size", "ffn_size", "num_heads")
    yield from sizes_out_of_range({name: getattr(config, name) for name in sizes})
    yield from sizes_out_of_range({"num_layers": config.num_layers}, 0, MAX_LAYERS)
    if config.hidden_size % config.num_heads:
        yield f"hidden_size must be a multiple of num_heads, got {config.hidden_size} and {config.num_heads}"
    if config.num_classes != CLASSES[config.task]:
        yield f"num_classes of task {config.task} must be {CLASSES[config.task]}, got {config.num_classes}"
    yield from sizes_out_of_range({"head_size": config.head_size}, 0)
    if config.head_size and not config.num_classes:
        yield f"head_size must be 0 without num_classes, got {config.head_size}"
    if config.head_layers is not None:
        yield from sizes_out_of_range({"head_layers": config.head_layers}, 1, MAX_LAYERS)
        if not config.head_size:
            yield f"head_layers must be left out without head_size, got {config.head_layers}"


def number_problems(config: Any) -> Iterator[str]:
    """What is wrong with the numbers of an encoder's inputs, dropout and norms."""
    if ids := [modality.name for modality in config.modalities if modality.type != "float32"]:
        yield f"type of {ids[0]} must be float32, got ids"
    if not 0.0 <= config.dropout < 1.0:
        yield f"dropout must be in [0, 1), got {config.dropout}"
    if not (0.0 < config.layer_norm_eps < 1.0 and math.isfinite(config.layer_norm_eps)):
        yield f"layer_norm_eps must be in (0, 1), got {config.layer_norm_eps}"


def centring(tensor: Tensor) -> Tensor:
    """Tensors of a pre-norm model, what is added to its rows centred: layer normalisations alone read the sums."""

    @cache
    def read(name: str) -> Weight:
        if name.endswith(("proj.weight", "proj.bias", "linear2.weight", "linear2.bias")):
            return centred(tensor(name), 0)
        return centred(tensor(name), 1) if name.endswith(("position.weight", "class_token")) else tensor(name)

    return read


def projected(config: Any, index: int, space: str, tensor: Tensor) -> Node:
    """``W x + b`` of a modality's rows."""
    modality = config.modalities[index]
    prefix = f"modalities.{modality.name}.proj"
    x = features(index, modality.feature_size, space)
    return linear(x, tensor(f"{prefix}.weight"), tensor(f"{prefix}.bias"))


def encoded(config: Any, h: Node, tensor: Tensor, prefix: str) -> Node:
    """Rows after ``num_layers`` pre-norm layers, whose tensors are ``PREFIX.0.*``, ``PREFIX.1.*`` and so on."""
    for i in range(config.num_layers):
        h = pre_norm_layer(h, tensor, f"{prefix}.{i}", heads=config.num_heads, eps=config.layer_norm_eps)
    return h


def norm(tensor: Tensor, prefix: str) -> tuple[Weight, Weight]:
    """Weight and bias of a layer normalisation, or of a linear layer."""
    return tensor(f"{prefix}.weight"), tensor(f"{prefix}.bias")


def with_logits(config: Any, outputs: tuple[Output, ...], tensor: Tensor) -> tuple[Output, ...]:
    """Outputs, of which the last is the embedding, and first ``logits`` of it where a model has classes."""
    if not config.num_classes:
        return outputs
    h = outputs[-1].node
    for name in hidden_layers(config.head_size, config.head_layers):
        h = linear(h, *norm(tensor, name), activation="gelu")
    return Output("logits", linear(h, tensor("head.weight"), tensor("head.bias"))), *outputs


def hidden_layers(size: int, layers: int | None) -> tuple[str, ...]:
    """Names of a head's hidden layers, one without a number of them, none of no size: ``hidden``, ``hidden2``, ..."""
    count = (layers or 1) if size else 0
    return tuple(f"hidden{i}" if i > 1 else "hidden" for i in range(1, count + 1))


def stack_shapes(prefix: str, count: int, layer: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of equal layers one after the other."""
    return {f"{prefix}.{i}.{name}": shape for i in range(count) for name, shape in layer.items()}


def norm_shapes(prefix: str, size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a layer normalisation's tensors."""
    return {f"{prefix}.weight": (size,), f"{prefix}.bias": (size,)}


def head_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that make logits of an embedding; none without classes."""
    if not config.num_classes:
        return {}
    size, shapes = config.embedding_size, dict[str, tuple[int, ...]]()
    for name in hidden_layers(config.head_size, config.head_layers):
        shapes |= {f"{name}.weight": (config.head_size, size), f"{name}.bias": (config.head_size,)}
        size = config.head_size
    return {**shapes, "head.weight": (config.num_classes, size), "head.bias": (config.num_classes,)}
