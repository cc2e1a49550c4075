"""The scene encoder: a transformer over a few shots and a class token, whose row tells what the scene is about.

Source: Chen et al., Movies2Scenes: Using Movie Metadata to Learn Scene Representation (CVPR 2023), section 3.3: scenes
of 9 shots that similar movies share are contrasted. The paper's encoder reads frames; this one reads frozen features of
the 9 shots, their projections summed, with norms before the layers [chosen here].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from megaseg.engine.graph.graph import Graph, Output, Weight
from megaseg.engine.graph.layers import layer_shapes
from megaseg.engine.graph.ops import add, add_table, layer_norm, prepend, select
from megaseg.engine.graph.sequences import Sequences, Windows
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.contextualizer import (
    centring,
    encoded,
    encoder_problems,
    head_shapes,
    norm,
    norm_shapes,
    projected,
    stack_shapes,
    with_logits,
)

Tensor = Callable[[str], Weight]


@dataclass(frozen=True, slots=True)
class SceneEncoderConfig(ModelConfig, family="scene_encoder"):
    """The numbers that fix a scene encoder's function.

    A sequence is the window of ``max_length`` shots (odd) around a shot. Without ``num_classes`` the model embeds; with
    them it has a head, of ``head_layers`` hidden layers (None: one) of ``head_size`` units, or of none at 0.
    """

    absent_as_zeros: ClassVar[bool] = True

    task: str
    modalities: tuple[Modality, ...]
    max_length: int = 9
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
        if self.max_length % 2 == 0:
            yield f"max_length must be odd (a centred window), got {self.max_length}"

    @property
    def sequences(self) -> Sequences:
        """The centred window of L shots around each shot."""
        return Windows(self.max_length)

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
        shapes |= {"position.weight": (self.max_length, c), "class_token": (1, c)}
        layers = stack_shapes("layers", self.num_layers, layer_shapes(c, self.ffn_size))
        return shapes | layers | norm_shapes("norm", c) | head_shapes(self)

    def build(self, tensor: Tensor) -> Graph:
        """Output ``embedding`` (n, C), and ``logits`` (n, N_c) of a model with classes: a row a shot, of its window."""
        tensor = centring(tensor)
        parts = tuple(projected(self, index, "shots", tensor) for index in range(len(self.modalities)))
        h = add_table(parts[0] if len(parts) == 1 else add(parts), tensor("position.weight"))
        h = encoded(self, prepend(h, tensor("class_token")), tensor, "layers")
        h = layer_norm(h, *norm(tensor, "norm"), self.layer_norm_eps)
        embedding = select(select(h, "prefix"), "sequences")
        return Graph(self.sequences, self.modalities, with_logits(self, (Output("embedding", embedding),), tensor))
