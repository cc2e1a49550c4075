"""MEGA: multimodal alignment and aggregation (supplementary, Tables 1a and 1b): config, tensors, graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Node, Output, Weight
from megaseg.engine.graph.layers import centred, layer_shapes, post_norm_layer
from megaseg.engine.graph.ops import (
    add,
    add_table,
    features,
    join,
    layer_norm,
    linear,
    merge,
    prepend,
    select,
    windows,
)
from megaseg.engine.graph.sequences import Sequences, Whole, Windows
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig, sizes_out_of_range

TASKS = ("scene", "act", "synopsis")
_MAX_LAYERS = 256
Tensor = Callable[[str], Weight]


@dataclass(frozen=True, slots=True)
class MegaConfig(ModelConfig, family="mega"):
    """The numbers that fix a MEGA model's function, in the order of the paper's Table 1b.

    ``max_length`` is L: the window (odd) of a scene model, the longest movie of an act model. ``num_bottleneck`` is
    L_n, the bottleneck tokens of each modality.
    """

    task: str
    modalities: tuple[Modality, ...]
    max_length: int
    num_bottleneck: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_unimodal_layers: int
    num_fusion_layers: int
    num_classes: int
    dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with Table 1b's numbers."""
        if self.task not in TASKS:
            yield f"task must be one of {', '.join(TASKS)}, got {self.task!r}"
        sizes = ("max_length", "num_bottleneck", "hidden_size", "ffn_size", "num_heads", "num_classes")
        yield from sizes_out_of_range({name: getattr(self, name) for name in sizes})
        layers = {name: getattr(self, name) for name in ("num_unimodal_layers", "num_fusion_layers")}
        yield from sizes_out_of_range(layers, 0, _MAX_LAYERS)
        if self.hidden_size % self.num_heads:
            yield f"hidden_size must be a multiple of num_heads, got {self.hidden_size} and {self.num_heads}"
        if self.task == "scene" and self.max_length % 2 == 0:
            yield f"max_length of a scene model must be odd (a centred window), got {self.max_length}"
        if self.task == "scene" and self.num_classes != 2:
            yield f"num_classes of a scene model must be 2 (no boundary, boundary), got {self.num_classes}"
        if not 0.0 <= self.dropout < 1.0:
            yield f"dropout must be in [0, 1), got {self.dropout}"
        if not (0.0 < self.layer_norm_eps < 1.0 and math.isfinite(self.layer_norm_eps)):
            yield f"layer_norm_eps must be in (0, 1), got {self.layer_norm_eps}"

    @property
    def sequences(self) -> Sequences:
        """Centred windows of L shots for scenes, else the whole movie."""
        return Windows(self.max_length) if self.task == "scene" else Whole(self.max_length)

    @property
    def head_size(self) -> int:
        """Attention head width d = C / H."""
        return self.hidden_size // self.num_heads

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that a checkpoint of this config holds, and no other."""
        c, m = self.hidden_size, len(self.modalities)
        layer = layer_shapes(c, self.ffn_size)
        shapes: dict[str, tuple[int, ...]] = {"align.weight": (self.num_bottleneck, c)}
        for modality in self.modalities:
            prefix = f"modalities.{modality.name}"
            shapes[f"{prefix}.proj.weight"] = (c, modality.feature_size)
            shapes[f"{prefix}.proj.bias"] = (c,)
            shapes[f"{prefix}.position.weight"] = (self.max_length, c)
            shapes[f"{prefix}.norm.weight"] = (c,)
            shapes[f"{prefix}.norm.bias"] = (c,)
            shapes[f"{prefix}.bottleneck"] = (self.num_bottleneck, c)
            for stage, count in (("unimodal", self.num_unimodal_layers), ("fusion", self.num_fusion_layers)):
                for i in range(count):
                    shapes |= {f"{prefix}.{stage}.{i}.{name}": shape for name, shape in layer.items()}
        shapes["head.weight"] = (self.num_classes, m * c)
        shapes["head.bias"] = (self.num_classes,)
        return shapes

    def build(self, tensor: Tensor) -> Graph:
        """The model as written (Table 1a): every window from its own features, every row of every layer.

        Output ``logits`` has a part a modality: the head is W [a_1; a_2; ...] + b, and each part is the modality's own
        columns of W times its fused rows.
        """
        encoded = [self._encoded(index, tensor) for index in range(len(self.modalities))]
        bottlenecks = merge(tuple(select(h, "prefix") for h in encoded))
        fused = [self._fused(index, h, bottlenecks, tensor) for index, h in enumerate(encoded)]
        head, c = tensor("head.weight"), self.hidden_size
        parts = tuple(linear(x, head.columns(m * c, (m + 1) * c)) for m, x in enumerate(fused))
        return Graph(self.sequences, self.modalities, (Output("logits", add(parts, tensor("head.bias")), parts),))

    def _layer(self, h: Node, tensor: Tensor, prefix: str) -> Node:
        return post_norm_layer(h, tensor, prefix, heads=self.num_heads, eps=self.layer_norm_eps)

    def _encoded(self, index: int, tensor: Tensor) -> Node:
        """Bottleneck tokens and shots of a modality after its unimodal layers."""
        modality = self.modalities[index]
        prefix, align, windowed = f"modalities.{modality.name}", tensor("align.weight"), self.task == "scene"
        x = features(index, modality.feature_size, "shots" if windowed else "latents")
        projection = (centred(tensor(f"{prefix}.proj.{part}"), 0) for part in ("weight", "bias"))
        x = linear(windows(x) if windowed else x, *projection)
        x = add_table(x, centred(tensor(f"{prefix}.position.weight"), 1))
        x = add_table(x, centred(align, 1), "slot")
        x = layer_norm(x, tensor(f"{prefix}.norm.weight"), tensor(f"{prefix}.norm.bias"), self.layer_norm_eps)
        h = prepend(x, _sum(tensor(f"{prefix}.bottleneck"), align))
        for i in range(self.num_unimodal_layers):
            h = self._layer(h, tensor, f"{prefix}.unimodal.{i}")
        return h

    def _fused(self, index: int, h: Node, bottlenecks: Node, tensor: Tensor) -> Node:
        """Shots of a modality after its fusion layers, which see the bottleneck tokens of all modalities."""
        g = select(h, "latents")
        if self.num_fusion_layers:
            g = join(bottlenecks, g)
            for i in range(self.num_fusion_layers):
                g = self._layer(g, tensor, f"modalities.{self.modalities[index].name}.fusion.{i}")
            g = select(g, "latents")
        return select(g, "sequences") if self.task == "scene" else g


def _sum(a: Weight, b: Weight) -> Weight:
    def read() -> NDArray[np.float64]:
        return a.double() + b.double()

    return Weight(a.shape, read)
