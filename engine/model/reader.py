"""The reader: a BERT that reads across the gap between two blocks of a screenplay, and says if a scene ends there.

One model a fold of its training, each with layers of its own; the result is the mean of their log-odds. A low-rank
adapter (Hu et al. 2022, Eq. 3: W x + B A x) is part of the weights here: W + B A.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph, Node, Output, Weight
from megaseg.engine.graph.layers import layer_shapes
from megaseg.engine.graph.ops import add, add_table, features, gather, layer_norm, linear, pool
from megaseg.engine.graph.sequences import Sequences, Whole
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.bert import TOKENS, encoded, fixed_problems, transformer_problems
from megaseg.engine.model.config import ModelConfig, sizes_out_of_range

SIDES = Modality("sides", 1, "int32")  # of each token: 0 before the gap, 1 after it
MAX_FOLDS = 64
Tensor = Callable[[str], Weight]


@dataclass(frozen=True, slots=True)
class ReaderConfig(ModelConfig, family="reader"):
    """The numbers that fix a reader's function: BERT's, the folds, and the width of the hidden layer that decides."""

    max_length: int
    vocab_size: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_layers: int
    num_folds: int
    head_size: int
    layer_norm_eps: float = 1e-12
    modalities: tuple[Modality, ...] = (TOKENS, SIDES)
    task: str = "gap"
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        yield from transformer_problems(self)
        yield from fixed_problems(self, (TOKENS, SIDES), "gap")
        yield from sizes_out_of_range({"num_folds": self.num_folds}, 1, MAX_FOLDS)
        yield from sizes_out_of_range({"head_size": self.head_size})

    @property
    def sequences(self) -> Sequences:
        """Each gap whole."""
        return Whole(self.max_length)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor; words, positions and the first norm are the same for all folds."""
        c = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "word.weight": (self.vocab_size, c),
            "position.weight": (self.max_length, c),
            "norm.weight": (c,),
            "norm.bias": (c,),
        }
        for fold in (f"folds.{number}" for number in range(self.num_folds)):
            shapes[f"{fold}.type.weight"] = (2, c)
            for i in range(self.num_layers):
                shapes |= {f"{fold}.layers.{i}.{name}": own for name, own in layer_shapes(c, self.ffn_size).items()}
            shapes[f"{fold}.head.0.weight"], shapes[f"{fold}.head.0.bias"] = (self.head_size, 2 * c), (self.head_size,)
            shapes[f"{fold}.head.2.weight"], shapes[f"{fold}.head.2.bias"] = (1, self.head_size), (1,)
        return shapes

    def build(self, tensor: Tensor) -> Graph:
        """Output ``logits``: the log-odds (gaps, 1), with a part a fold, its log-odds over ``num_folds``."""
        words = add_table(gather(features(0, 1, "latents"), tensor("word.weight")), tensor("position.weight"))
        folds = tuple(self._fold(words, f"folds.{number}", tensor) for number in range(self.num_folds))
        return Graph(self.sequences, self.modalities, (Output("logits", add(folds), folds),))

    def _fold(self, words: Node, prefix: str, tensor: Tensor) -> Node:
        side = features(1, 1, "latents")
        h = add((words, gather(side, tensor(f"{prefix}.type.weight"))))
        h = layer_norm(h, tensor("norm.weight"), tensor("norm.bias"), self.layer_norm_eps)
        h = encoded(h, tensor, f"{prefix}.layers", self.num_layers, heads=self.num_heads, eps=self.layer_norm_eps)
        sides = pool(h, by=side, groups=2)
        hidden = linear(sides, tensor(f"{prefix}.head.0.weight"), tensor(f"{prefix}.head.0.bias"), activation="gelu")
        return linear(hidden, *(self._share(tensor(f"{prefix}.head.2.{part}")) for part in ("weight", "bias")))

    def _share(self, weight: Weight) -> Weight:
        def read() -> NDArray[np.float64]:
            return weight.double() / self.num_folds

        return Weight(weight.shape, read)
