"""Additive: a sum over modalities of what a small network of its own says of each row.

``logits = bias + sum_m V_m relu(U_m x_m)``. A row of zeros, as of a modality that is not there, adds exactly nothing;
column 0 of the others is 1 and takes the place of a bias. Context comes with the rows (recipe ``video-shots/1``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from megaseg.engine.graph.graph import Graph, Output, Weight
from megaseg.engine.graph.ops import add, features, linear, select, windows
from megaseg.engine.graph.sequences import Sequences, Windows
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig, sizes_out_of_range


@dataclass(frozen=True, slots=True)
class AdditiveConfig(ModelConfig, family="additive"):
    """The numbers that fix an additive model's function: ``hidden_size`` is the width of each modality's network."""

    task: str
    modalities: tuple[Modality, ...]
    hidden_size: int
    num_classes: int = 2
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        if self.task != "scene":
            yield f"task must be scene, got {self.task!r}"
        yield from sizes_out_of_range({"hidden_size": self.hidden_size, "num_classes": self.num_classes})
        if ids := [modality.name for modality in self.modalities if modality.type != "float32"]:
            yield f"type of {ids[0]} must be float32, got ids"

    @property
    def sequences(self) -> Sequences:
        """Each row by itself."""
        return Windows(1)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that a checkpoint of this config holds, and no other."""
        shapes: dict[str, tuple[int, ...]] = {"bias": (self.num_classes,)}
        for modality in self.modalities:
            prefix = f"modalities.{modality.name}"
            shapes[f"{prefix}.hidden.weight"] = (self.hidden_size, modality.feature_size)
            shapes[f"{prefix}.head.weight"] = (self.num_classes, self.hidden_size)
        return shapes

    def build(self, tensor: Callable[[str], Weight]) -> Graph:
        """Output ``logits`` has a part a modality."""
        parts = []
        for index, modality in enumerate(self.modalities):
            prefix = f"modalities.{modality.name}"
            x = select(windows(features(index, modality.feature_size, "shots")), "sequences")
            hidden = linear(x, tensor(f"{prefix}.hidden.weight"), activation="relu")
            parts.append(linear(hidden, tensor(f"{prefix}.head.weight")))
        return Graph(
            self.sequences, self.modalities, (Output("logits", add(tuple(parts), tensor("bias")), tuple(parts)),)
        )
