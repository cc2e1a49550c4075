"""Long-range multimodal pretraining in torch (Argaw et al., ICCV 2023): what trains it, and the backends' reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.models.shot_encoders import (
    Head,
    decoder_layers,
    encoder_layers,
    layer_norm,
    loaded,
    padding,
    saved,
    with_masks,
)


@dataclass(frozen=True, slots=True)
class LongRangeBatch:
    """Windows of films, everything by the name of a modality.

    ``features`` (batch, rows, D_m): k rows of shots, of language s rows of tokens. ``there`` (batch, rows) is False for
    padding, which nothing attends to; a modality without it has none. ``token_shots`` (batch, s) is the shot of each
    token, from 0 in each window; ``max_length`` is no shot. ``masked`` (batch, rows) says where a mask token stands in.
    Each window needs a row of every modality.
    """

    features: Mapping[str, Tensor]
    there: Mapping[str, Tensor] = field(default_factory=dict)
    token_shots: Tensor | None = None
    masked: Mapping[str, Tensor] = field(default_factory=dict)


class Contextual(nn.Module):
    """The contextual transformer of one modality."""

    def __init__(self, config: LongRangeConfig, feature_size: int, positions: int) -> None:
        super().__init__()
        self.proj = nn.Linear(feature_size, config.hidden_size)
        self.position = nn.Embedding(positions, config.hidden_size)
        self.layers = encoder_layers(config)
        self.norm = layer_norm(config)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(
        self,
        features: Tensor,
        places: Tensor | None,
        there: Tensor | None,
        masked: Tensor | None,
        mask_token: Tensor | None,
    ) -> Tensor:
        """Features (batch, rows, D_m), and their places (batch, rows) where they are not 0, 1, ..., to (.., C)."""
        positions = self.position.weight[: features.shape[1]] if places is None else self.position(places.long())
        h = with_masks(self.proj(features), masked, mask_token) + positions
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=padding(there))
        rows: Tensor = self.norm(h)
        return rows


class CrossModal(nn.Module):
    """The cross-modal transformer, one for both sources: video reads what an encoder made of a source."""

    def __init__(self, config: LongRangeConfig) -> None:
        super().__init__()
        self.encoder = encoder_layers(config)
        self.encoder_norm = layer_norm(config)
        self.decoder = decoder_layers(config)
        self.norm = layer_norm(config)

    def forward(
        self, source: Tensor, target: Tensor, source_there: Tensor | None = None, target_there: Tensor | None = None
    ) -> Tensor:
        """Source (batch, s, C) and target (batch, k, C) to v^source (batch, k, C)."""
        left_out = padding(source_there)
        for layer in self.encoder:
            source = layer(source, src_key_padding_mask=left_out)
        memory = self.encoder_norm(source)
        for layer in self.decoder:
            target = layer(target, memory, tgt_key_padding_mask=padding(target_there), memory_key_padding_mask=left_out)
        rows: Tensor = self.norm(target)
        return rows


class LongRange(Head):
    """Windows of shots to contextual and cross-modal rows.

    Raises:
        CheckpointError: from ``LongRangeConfig``, for values that do not fit each other.
    """

    def __init__(self, config: LongRangeConfig) -> None:
        super().__init__()
        self.config = config
        length = config.max_length
        self.modalities = nn.ModuleDict(
            {
                m.name: Contextual(config, m.feature_size, length + (m.name == config.language))
                for m in config.modalities
            }
        )
        self.cross = CrossModal(config)
        self.add_head(config)

    def contextual(self, batch: LongRangeBatch, mask_tokens: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Contextual rows (batch, rows, C) of every modality, of language of its tokens."""
        tokens = mask_tokens or {}
        return {
            name: own(
                batch.features[name],
                batch.token_shots if name == self.config.language else None,
                batch.there.get(name),
                batch.masked.get(name),
                tokens.get(name),
            )
            for name, own in self.modalities.items()
        }

    def language_of_shots(self, tokens: Tensor, batch: LongRangeBatch) -> Tensor:
        """The mean of each shot's contextual tokens (Eq. 4): (batch, k, C), zeros of a shot without any."""
        assert batch.token_shots is not None
        shots = batch.features[self.config.video].shape[1]
        member = batch.token_shots[..., None] == torch.arange(shots, device=tokens.device)  # (batch, s, k)
        there = batch.there.get(self.config.language or "")
        member = (member if there is None else member & there[..., None]).to(tokens.dtype)
        return (member / member.sum(1, keepdim=True).clamp(min=1)).transpose(1, 2) @ tokens

    def embedding(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Output ``embedding`` (batch, k, 3 C) of the others: video, one source a shot, and video across it.

        The source is audio, as in the paper (Table 3), and language where there is no audio [chosen].
        """
        source = "language" if self.config.audio is None else "audio"
        return torch.cat([outputs["context.video"], outputs[f"context.{source}"], outputs[f"cross.{source}"]], dim=-1)

    def forward(self, batch: LongRangeBatch, mask_tokens: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Windows to the model's outputs by name, each (batch, k, ...), and ``tokens.language`` (batch, s, C).

        ``mask_tokens`` (C,) of a modality stand in for its masked rows' projections.
        """
        rows = self.contextual(batch, mask_tokens)
        outputs = {f"context.{role}": rows[name] for role, name in self.config.roles.items()}
        for role in list(outputs)[1:]:
            role = role.removeprefix("context.")
            outputs[f"cross.{role}"] = self._crossed(rows, batch, self.config.roles[role])
        if self.config.language is not None:
            outputs["tokens.language"] = outputs["context.language"]
            outputs["context.language"] = self.language_of_shots(outputs["tokens.language"], batch)
        outputs["embedding"] = self.embedding(outputs)
        if self.config.num_classes:
            outputs["logits"] = self.logits(outputs["embedding"])
        return outputs

    def _crossed(self, rows: Mapping[str, Tensor], batch: LongRangeBatch, source: str) -> Tensor:
        video = self.config.video
        crossed: Tensor = self.cross(rows[source], rows[video], batch.there.get(source), batch.there.get(video))
        return crossed


def from_checkpoint(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> LongRange:
    """The model of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: a model of another family, or a tensor with NaN or Inf.
    """
    return loaded(LongRange, LongRangeConfig, checkpoint, dtype)


def to_checkpoint(model: LongRange, metadata: Mapping[str, str] | None = None) -> Checkpoint:
    """The checkpoint of a model, with a copy of its weights."""
    return saved(model, metadata)
