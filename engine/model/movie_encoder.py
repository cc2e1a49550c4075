"""The movie encoder: what metadata calls similar, learnt from the shots of pairs of movies.

Source: Chen et al., Movies2Scenes: Using Movie Metadata to Learn Scene Representation (CVPR 2023), section 3.1: a model
reads a movie as up to 1,024 rows of 512 features and says whether two movies are similar; what it makes of each shot
before its last layer serves to find scenes that are similar. The paper leaves open [chosen here]: residual blocks of
each row by itself, so that a movie of any length passes, and a movie is the mean of its shots' rows of the last layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from megaseg.engine.graph.graph import Graph, Node, Output, Weight
from megaseg.engine.graph.ops import add, layer_norm, linear
from megaseg.engine.graph.sequences import Sequences, Strided, Whole
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig, sizes_out_of_range
from megaseg.engine.model.contextualizer import (
    MAX_LAYERS,
    centring,
    norm,
    norm_shapes,
    number_problems,
    projected,
    stack_shapes,
)

Tensor = Callable[[str], Weight]
SIMILARITY = "similarity"  # the output whose mean over a movie's shots is the movie


@dataclass(frozen=True, slots=True)
class MovieEncoderConfig(ModelConfig, family="movie_encoder"):
    """The numbers that fix a movie encoder's function.

    ``output_size`` is the width of a movie's vector. Two movies a and b are similar with probability
    ``sigmoid(scale * cosine(a, b) + offset)``. Training reads at most ``max_length`` shots of a movie.
    """

    absent_as_zeros: ClassVar[bool] = True

    task: str
    modalities: tuple[Modality, ...]
    max_length: int = 1024
    hidden_size: int = 512
    num_layers: int = 2
    output_size: int = 128
    scale: float = 1.0
    offset: float = 0.0
    dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        if self.task != "embedding":
            yield f"task must be embedding, got {self.task!r}"
        yield from number_problems(self)
        sizes = ("max_length", "hidden_size", "output_size")
        yield from sizes_out_of_range({name: getattr(self, name) for name in sizes})
        yield from sizes_out_of_range({"num_layers": self.num_layers}, 0, MAX_LAYERS)
        for name in ("scale", "offset"):
            if not math.isfinite(value := getattr(self, name)):
                yield f"{name} must be finite, got {value}"

    @property
    def sequences(self) -> Sequences:
        """Parts of at most L shots: a row tells of no other, so that they need not overlap."""
        return Strided(self.max_length, self.max_length)

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
        linears = {f"linear{i}.{part}": (c, c)[: 2 - (part == "bias")] for i in (1, 2) for part in ("weight", "bias")}
        blocks = stack_shapes("blocks", self.num_layers, {**norm_shapes("norm", c), **linears})
        output = {"output.weight": (self.output_size, c), "output.bias": (self.output_size,)}
        return shapes | blocks | norm_shapes("norm", c) | output

    def build(self, tensor: Tensor) -> Graph:
        """Outputs ``embedding`` (n, C), what scenes are compared by, and ``similarity`` (n, E), one row a shot."""
        tensor = centring(tensor)
        parts = tuple(projected(self, index, "latents", tensor) for index in range(len(self.modalities)))
        h = parts[0] if len(parts) == 1 else add(parts)
        for i in range(self.num_layers):
            h = self._block(h, tensor, f"blocks.{i}")
        h = layer_norm(h, *norm(tensor, "norm"), self.layer_norm_eps)
        similarity = linear(h, *norm(tensor, "output"))
        return Graph(Whole(self.max_length), self.modalities, (Output("embedding", h), Output(SIMILARITY, similarity)))

    def _block(self, h: Node, tensor: Tensor, prefix: str) -> Node:
        """``h + W2 gelu(W1 LN(h) + b1) + b2``."""
        rows = layer_norm(h, *norm(tensor, f"{prefix}.norm"), self.layer_norm_eps)
        hidden = linear(rows, *norm(tensor, f"{prefix}.linear1"), activation="gelu")
        return linear(hidden, *norm(tensor, f"{prefix}.linear2"), residual=h)
