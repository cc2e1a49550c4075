"""Long-range multimodal pretraining: contextual transformers, one a modality, and a cross-modal transformer.

Source: Argaw et al., Long-range Multimodal Pretraining for Movie Understanding (ICCV 2023), section 3. Norms come
before, and hidden layers are as wide as in the original Transformer [chosen here].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from megaseg.engine.graph.graph import Graph, Weight
from megaseg.engine.graph.layers import decoder_layer_shapes, layer_shapes
from megaseg.engine.graph.sequences import Sequences, Strided
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.contextualizer import encoder_problems, head_shapes, norm_shapes, stack_shapes

Tensor = Callable[[str], Weight]


@dataclass(frozen=True, slots=True)
class LongRangeConfig(ModelConfig, family="long_range"):
    """The numbers that fix a long-range model's function.

    ``video``, ``audio`` and ``language`` name modalities: video is the first of them and the target of the cross-modal
    transformer, the others, of which one may be missing, are its sources. A sequence is a window of ``max_length``
    shots (k), one every ``step`` shots. Language has a row a token, each of which falls into a shot.
    """

    absent_as_zeros: ClassVar[bool] = True

    task: str
    modalities: tuple[Modality, ...]
    video: str
    audio: str | None = None
    language: str | None = None
    max_length: int = 30
    step: int = 15
    hidden_size: int = 512
    ffn_size: int = 2048
    num_heads: int = 8
    num_layers: int = 3
    num_classes: int = 0
    head_size: int = 0
    dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        names = [modality.name for modality in self.modalities]
        if self.video != names[0]:
            yield f"video must be the first modality {names[0]!r}, got {self.video!r:.80}"
        for role, name in (("audio", self.audio), ("language", self.language)):
            if name is not None and name not in names[1:]:
                yield f"{role} must be one of the other modalities {names[1:]}, got {name!r:.80}"
        if self.audio is None and self.language is None:
            yield "audio or language must name a modality, got neither"
        if sorted(names) != sorted(name for name in self.roles.values()):
            yield f"modalities must be those of video, audio and language {self.roles}, got {names}"
        yield from encoder_problems(self)

    @property
    def roles(self) -> dict[str, str]:
        """The modality of each role that the model has: ``video``, then ``audio`` or ``language`` or both."""
        named = {"video": self.video, "audio": self.audio, "language": self.language}
        return {role: name for role, name in named.items() if name is not None}

    @property
    def token_modality(self) -> str | None:
        """The modality whose rows are tokens of shots."""
        return self.language

    @property
    def sequences(self) -> Sequences:
        """Windows of k shots that overlap."""
        return Strided(self.max_length, self.step)

    @property
    def embedding_size(self) -> int:
        """Columns of output ``embedding``: 3 C."""
        return 3 * self.hidden_size

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that a checkpoint of this config holds, and no other."""
        c, count = self.hidden_size, self.num_layers
        layer, decoder = layer_shapes(c, self.ffn_size), decoder_layer_shapes(c, self.ffn_size)
        shapes: dict[str, tuple[int, ...]] = {}
        for modality in self.modalities:
            prefix = f"modalities.{modality.name}"
            shapes[f"{prefix}.proj.weight"] = (c, modality.feature_size)
            shapes[f"{prefix}.proj.bias"] = (c,)
            shapes[f"{prefix}.position.weight"] = (self.max_length + (modality.name == self.language), c)
            shapes |= stack_shapes(f"{prefix}.layers", count, layer) | norm_shapes(f"{prefix}.norm", c)
        shapes |= stack_shapes("cross.encoder", count, layer) | norm_shapes("cross.encoder_norm", c)
        shapes |= stack_shapes("cross.decoder", count, decoder) | norm_shapes("cross.norm", c)
        return shapes | head_shapes(self)

    def build(self, tensor: Tensor) -> Graph:
        """Outputs ``context.ROLE`` and ``cross.ROLE`` (n, C), ``embedding`` (n, 3 C), and ``logits`` with classes."""
        raise NotImplementedError
