"""What the torch twins of encoders of shots share: pre-norm layers, heads, and their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.contextualizer import hidden_layers
from megaseg.errors import CheckpointError

Model = TypeVar("Model", bound=nn.Module)


class Projection(nn.Module):
    """``W x + b`` of a modality's rows."""

    def __init__(self, feature_size: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(feature_size, size)


def summed(modalities: nn.ModuleDict, features: Mapping[str, Tensor]) -> Tensor:
    """The sum (batch, n, C) of the projections of all modalities, each (batch, n, D_m)."""
    return torch.stack([own.proj(features[name]) for name, own in modalities.items()]).sum(0)  # type: ignore[operator]


def encoder_layers(config: Any) -> nn.ModuleList:
    """``num_layers`` pre-norm encoder layers."""
    return nn.ModuleList(nn.TransformerEncoderLayer(**_numbers(config)) for _ in range(config.num_layers))


def decoder_layers(config: Any) -> nn.ModuleList:
    """``num_layers`` pre-norm decoder layers."""
    return nn.ModuleList(nn.TransformerDecoderLayer(**_numbers(config)) for _ in range(config.num_layers))


def layer_norm(config: Any) -> nn.LayerNorm:
    """A layer normalisation of the model's width."""
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


def _numbers(config: Any) -> dict[str, Any]:
    return {
        "d_model": config.hidden_size,
        "nhead": config.num_heads,
        "dim_feedforward": config.ffn_size,
        "dropout": config.dropout,
        "activation": "gelu",
        "layer_norm_eps": config.layer_norm_eps,
        "batch_first": True,
        "norm_first": True,
    }


def padding(there: Tensor | None) -> Tensor | None:
    """Torch's mask of keys to leave out, of which rows are there."""
    return None if there is None else ~there


def with_masks(rows: Tensor, masked: Tensor | None, token: Tensor | None) -> Tensor:
    """Rows (batch, n, C), the masked ones (batch, n) replaced by the mask token (C,)."""
    if masked is None or token is None:
        return rows
    return torch.where(masked[..., None], token.to(rows.dtype), rows)


class Head(nn.Module):
    """Logits of an embedding: hidden layers of ``head_size`` units, if any, and one layer. Tensors have no prefix."""

    def add_head(self, config: Any) -> None:
        """Make the layers ``hidden``, ``hidden2``, ... and ``head``, as far as the config has them."""
        size, self._hidden = config.embedding_size, hidden_layers(config.head_size, config.head_layers)
        for name in self._hidden:
            self.add_module(name, nn.Linear(size, config.head_size))
            size = config.head_size
        if config.num_classes:
            self.head = nn.Linear(size, config.num_classes)

    def logits(self, embedding: Tensor) -> Tensor:
        """Logits (..., N_c) of rows (..., E); only a model with classes has any."""
        for name in self._hidden:
            embedding = nn.functional.gelu(self.get_submodule(name)(embedding))
        logits: Tensor = self.head(embedding)
        return logits


def loaded(kind: type[Model], config: type[Any], checkpoint: Checkpoint, dtype: torch.dtype) -> Model:
    """The twin of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: a model of another family.
    """
    if not isinstance(checkpoint.config, config):
        raise CheckpointError(
            f"checkpoint: expected a model of family {config.family}, got one of {checkpoint.config.family}"
        )
    with torch.device("meta"):
        model = kind(checkpoint.config)
    state = {name: torch.from_numpy(np.array(tensor)).to(dtype) for name, tensor in checkpoint.tensors.items()}
    model.load_state_dict(state, assign=True)
    return model.eval()


def saved(model: Any, metadata: Mapping[str, str] | None) -> Checkpoint:
    """The checkpoint of a twin, with a copy of its weights."""
    tensors = {name: tensor.detach().cpu().float().numpy().copy() for name, tensor in model.state_dict().items()}
    return Checkpoint(model.config, tensors, dict(metadata or {}))
