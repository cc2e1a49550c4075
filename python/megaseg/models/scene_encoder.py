"""The scene encoder in torch (Chen et al., CVPR 2023): what trains it, and the reference of every backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.scene_encoder import SceneEncoderConfig
from megaseg.models.shot_encoders import Head, Projection, encoder_layers, layer_norm, loaded, padding, saved, summed


class SceneEncoder(Head):
    """Scenes of a few shots to a row each: the class token's.

    Raises:
        CheckpointError: from ``SceneEncoderConfig``, for values that do not fit each other.
    """

    def __init__(self, config: SceneEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities = nn.ModuleDict(
            {m.name: Projection(m.feature_size, config.hidden_size) for m in config.modalities}
        )
        self.position = nn.Embedding(config.max_length, config.hidden_size)
        self.class_token = nn.Parameter(torch.empty(1, config.hidden_size))
        self.layers = encoder_layers(config)
        self.norm = layer_norm(config)
        nn.init.normal_(self.position.weight, std=0.02)
        nn.init.normal_(self.class_token, std=0.02)
        self.add_head(config)

    def forward(self, features: Mapping[str, Tensor], there: Tensor | None = None) -> Tensor:
        """Features, each (batch, L, D_m), to output ``embedding`` (batch, C).

        ``there`` (batch, L) is False for shots that nothing attends to.
        """
        return self._class_rows(summed(self.modalities, features), there)

    def rows(self, features: Mapping[str, Tensor], there: Tensor) -> Tensor:
        """A row (batch, n, C) a shot, of the window around it in its sequence, the sequence's edges repeated.

        Features (batch, n, D_m); ``there`` (batch, n) is False for padding behind a sequence, whose rows mean nothing.
        """
        shots = summed(self.modalities, features)
        reach = torch.arange(self.config.max_length) - self.config.max_length // 2
        place = torch.arange(shots.shape[1])[:, None] + reach  # (n, L)
        last = there.sum(1)[:, None, None] - 1
        inside = place.expand(len(shots), -1, -1).minimum(last).clamp_min(0)  # (batch, n, L)
        windows = shots.gather(1, inside.flatten(1)[..., None].expand(-1, -1, shots.shape[2]))
        found = self._class_rows(windows.view(-1, self.config.max_length, shots.shape[2]))
        return found.view(*shots.shape[:2], -1)

    def _class_rows(self, shots: Tensor, there: Tensor | None = None) -> Tensor:
        """The class token's rows (batch, C) of windows of projected shots (batch, L, C)."""
        h = shots + self.position.weight
        h = torch.cat([self.class_token.expand(len(h), 1, -1), h], dim=1)
        left_out = padding(there)
        if left_out is not None:
            left_out = nn.functional.pad(left_out, (1, 0), value=False)
        for layer in self.layers[:-1]:
            h = layer(h, src_key_padding_mask=left_out)
        for layer in self.layers[-1:]:
            h = _class_row(layer, h, left_out)
        embedding: Tensor = self.norm(h[:, 0])
        return embedding


def _class_row(layer: Any, h: Tensor, left_out: Tensor | None) -> Tensor:
    """A pre-norm layer's row (batch, 1, C) of the class token, the only row of the last layer that is read."""
    rows = layer.norm1(h)
    attended = layer.self_attn(rows[:, :1], rows, rows, key_padding_mask=left_out, need_weights=False)[0]
    own = h[:, :1] + layer.dropout1(attended)
    inner = layer.dropout(layer.activation(layer.linear1(layer.norm2(own))))
    row: Tensor = own + layer.dropout2(layer.linear2(inner))
    return row


def from_checkpoint(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> SceneEncoder:
    """The model of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: a model of another family, or a tensor with NaN or Inf.
    """
    return loaded(SceneEncoder, SceneEncoderConfig, checkpoint, dtype)


def to_checkpoint(model: SceneEncoder, metadata: Mapping[str, str] | None = None) -> Checkpoint:
    """The checkpoint of a model, with a copy of its weights."""
    return saved(model, metadata)
