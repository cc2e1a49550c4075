"""The contextualizer in torch (Xiao et al., CVPR 2022): what trains it, and the reference of every backend."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.models.shot_encoders import (
    Head,
    Projection,
    encoder_layers,
    layer_norm,
    loaded,
    padding,
    saved,
    summed,
    with_masks,
)


class Contextualizer(Head):
    """Windows of shots to their contextual rows.

    Raises:
        CheckpointError: from ``ContextualizerConfig``, for values that do not fit each other.
    """

    def __init__(self, config: ContextualizerConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities = nn.ModuleDict(
            {m.name: Projection(m.feature_size, config.hidden_size) for m in config.modalities}
        )
        self.position = nn.Embedding(config.max_length, config.hidden_size)
        self.layers = encoder_layers(config)
        self.norm = layer_norm(config)
        nn.init.normal_(self.position.weight, std=0.02)
        self.add_head(config)

    def forward(
        self,
        features: Mapping[str, Tensor],
        there: Tensor | None = None,
        masked: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:
        """Features, each (batch, n, D_m) with n <= L, to output ``embedding`` (batch, n, C).

        ``there`` (batch, n) is False for padding, which nothing attends to. At ``masked`` (batch, n) shots
        ``mask_token`` (C,) stands in for the sum of the projections.
        """
        rows = with_masks(summed(self.modalities, features), masked, mask_token)
        h = rows + self.position.weight[: rows.shape[1]]
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=padding(there))
        embedding: Tensor = self.norm(h)
        return embedding


def from_checkpoint(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Contextualizer:
    """The model of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: a model of another family, or a tensor with NaN or Inf.
    """
    return loaded(Contextualizer, ContextualizerConfig, checkpoint, dtype)


def to_checkpoint(model: Contextualizer, metadata: Mapping[str, str] | None = None) -> Checkpoint:
    """The checkpoint of a model, with a copy of its weights."""
    return saved(model, metadata)
