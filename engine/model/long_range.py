"""Long-range multimodal pretraining: contextual transformers, one a modality, and a cross-modal transformer.

Source: Argaw et al., Long-range Multimodal Pretraining for Movie Understanding (ICCV 2023), section 3. Norms come
before, and hidden layers are as wide as in the original Transformer [chosen here].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from megaseg.engine.graph.graph import Graph, Node, Output, Weight
from megaseg.engine.graph.layers import (
    crossed,
    decoder_layer_shapes,
    layer_shapes,
    self_attended,
)
from megaseg.engine.graph.ops import add, add_table, concat, features, gather, layer_norm, scatter_mean
from megaseg.engine.graph.sequences import Sequences, Strided, Whole
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.inputs.tokens import SUFFIX
from megaseg.engine.model.config import ModelConfig, sizes_out_of_range
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
    head_layers: int | None = None
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
        yield from sizes_out_of_range({"step": self.step}, 1, self.max_length)

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
        """The model of a window (section 3), with a row a shot in every output.

        ``context.video``, ``context.audio`` and ``context.language``: contextual rows (n, C), of language the mean of a
        shot's tokens (Eq. 4), zeros of a shot without any. ``cross.audio`` and ``cross.language``: v^a and v^l (n, C),
        video that has read a source. ``embedding`` (n, 3 C): video, audio and v^a side by side (Table 3), of models
        without audio language and v^l [chosen]. ``logits`` (n, N_c) of models with classes. There is no output of a
        modality that the model does not have.
        """
        tensor = centring(tensor)
        token_shots = features(len(self.modalities), 1, "source")
        context = {role: self._contextual(role, token_shots, tensor) for role in self.roles}
        sources = tuple(role for role in self.roles if role != "video")
        cross = dict(
            zip(sources, self._crossed(context["video"], [context[role] for role in sources], tensor), strict=True)
        )
        if self.language is not None:
            context["language"] = scatter_mean(context["language"], token_shots)
        first = sources[0]
        embedding = concat((context["video"], context[first], cross[first]))
        outputs = (
            *(Output(f"context.{role}", node) for role, node in context.items()),
            *(Output(f"cross.{role}", node) for role, node in cross.items()),
            Output("embedding", embedding),
        )
        shots = () if self.language is None else (Modality(self.language + SUFFIX, 1, "int32"),)
        return Graph(Whole(self.max_length), (*self.modalities, *shots), with_logits(self, outputs, tensor))

    def _contextual(self, role: str, token_shots: Node, tensor: Tensor) -> Node:
        """Contextual rows of a modality, of language of its tokens, which have the position of their shots.

        The shot of a token that falls into none is ``max_length``.
        """
        name = self.roles[role]
        index = [modality.name for modality in self.modalities].index(name)
        prefix = f"modalities.{name}"
        positions = tensor(f"{prefix}.position.weight")
        if role == "language":
            h = add((projected(self, index, "source", tensor), gather(token_shots, positions)))
        else:
            h = add_table(projected(self, index, "latents", tensor), positions)
        h = encoded(self, h, tensor, f"{prefix}.layers")
        return layer_norm(h, *norm(tensor, f"{prefix}.norm"), self.layer_norm_eps)

    def _crossed(self, video: Node, sources: Sequence[Node], tensor: Tensor) -> Iterator[Node]:
        """Video after the cross-modal transformer, one for all sources: its decoder's first block reads video alone."""
        heads, eps = self.num_heads, self.layer_norm_eps
        first = self_attended(video, tensor, "cross.decoder.0", heads=heads, eps=eps) if self.num_layers else video
        for source in sources:
            memory = encoded(self, source, tensor, "cross.encoder")
            memory = layer_norm(memory, *norm(tensor, "cross.encoder_norm"), eps)
            h = first
            for i in range(self.num_layers):
                if i:
                    h = self_attended(h, tensor, f"cross.decoder.{i}", heads=heads, eps=eps)
                h = crossed(h, memory, tensor, f"cross.decoder.{i}", heads=heads, eps=eps)
            yield layer_norm(h, *norm(tensor, "cross.norm"), eps)
