"""MEGA in torch: multimodal alignment and aggregation (supplementary, Table 1a); the reference of every backend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from megaseg.engine.graph.sequences import alignment_slots
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.mega import MegaConfig
from megaseg.errors import CheckpointError


class ModalityEncoder(nn.Module):
    """One modality: shot encoder, bottleneck tokens, N_u unimodal layers, and its own N_f fusion layers."""

    def __init__(self, config: MegaConfig, feature_size: int) -> None:
        super().__init__()
        size = config.hidden_size
        self.proj = nn.Linear(feature_size, size)
        self.position = nn.Embedding(config.max_length, size)
        self.norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.bottleneck = nn.Parameter(torch.empty(config.num_bottleneck, size))
        self.unimodal = nn.ModuleList(_encoder_layer(config) for _ in range(config.num_unimodal_layers))
        self.fusion = nn.ModuleList(_encoder_layer(config) for _ in range(config.num_fusion_layers))
        nn.init.normal_(self.bottleneck, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)

    def encode(self, features: Tensor, align: Tensor, shots: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (batch, n, D_m) to bottleneck tokens (batch, L_n, C) and latents (batch, n, C).

        ``align`` (L_n, C) is added to bottleneck tokens and, unless ``shots`` is given in its place, to shots.
        """
        batch, n, _ = features.shape
        tokens = align.shape[0]
        shots = align if shots is None else shots
        slots = torch.from_numpy(alignment_slots(n, tokens)).to(features.device)
        latents = self.proj(features) + self.position.weight[:n] + shots[slots]
        latents = self.dropout(self.norm(latents))
        hidden = torch.cat([(self.bottleneck + align).expand(batch, -1, -1), latents], dim=1)
        for layer in self.unimodal:
            hidden = layer(hidden)
        return hidden[:, :tokens], hidden[:, tokens:]

    def fuse(self, bottlenecks: Tensor, latents: Tensor) -> Tensor:
        """Bottleneck tokens of all modalities (batch, M L_n, C) and own latents (batch, n, C) to (batch, n, C)."""
        hidden = torch.cat([bottlenecks, latents], dim=1)
        for layer in self.fusion:
            hidden = layer(hidden)
        return hidden[:, bottlenecks.shape[1] :]


class Mega(nn.Module):
    """The MEGA model of any task; inputs are windows (scene), whole movies (act) or synopses.

    Raises:
        CheckpointError: from ``MegaConfig``, for values that do not fit each other.
    """

    def __init__(self, config: MegaConfig) -> None:
        super().__init__()
        self.config = config
        self.align = nn.Embedding(config.num_bottleneck, config.hidden_size)
        self.modalities = nn.ModuleDict({m.name: ModalityEncoder(config, m.feature_size) for m in config.modalities})
        self.head = nn.Linear(len(config.modalities) * config.hidden_size, config.num_classes)
        nn.init.normal_(self.align.weight, std=0.02)

    def spread_positions(self, std: float) -> None:
        """Draw every position table anew, with standard deviation ``std``."""
        for name, parameter in self.named_parameters():
            if name.endswith("position.weight"):
                nn.init.normal_(parameter, std=std)

    def fused(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features, each (batch, n, D_m), to fused rows before the head (batch, n, M C): the embeddings of Eq. 5."""
        encoders: dict[str, ModalityEncoder] = dict(self.modalities.items())  # type: ignore[arg-type]
        encoded = {name: encoder.encode(features[name], self.align.weight) for name, encoder in encoders.items()}
        bottlenecks = torch.cat([tokens for tokens, _ in encoded.values()], dim=1)
        return torch.cat([encoders[name].fuse(bottlenecks, latents) for name, (_, latents) in encoded.items()], dim=2)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features, each (batch, n, D_m) with n <= L, to logits (batch, n, N_c)."""
        logits: Tensor = self.head(self.fused(features))
        return logits


def _encoder_layer(config: MegaConfig) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_heads,
        config.ffn_size,
        config.dropout,
        activation="gelu",
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
    )


def from_checkpoint(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Mega:
    """The model of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: a model of another family, or a tensor with NaN or Inf.
    """
    if not isinstance(checkpoint.config, MegaConfig):
        raise CheckpointError(f"checkpoint: expected a model of family mega, got one of {checkpoint.config.family}")
    with torch.device("meta"):
        model = Mega(checkpoint.config)
    state = {name: torch.from_numpy(np.array(tensor)).to(dtype) for name, tensor in checkpoint.tensors.items()}
    model.load_state_dict(state, assign=True)
    return model.eval()


def to_checkpoint(model: Mega, metadata: Mapping[str, str] | None = None) -> Checkpoint:
    """The checkpoint of a model, with a copy of its weights."""
    tensors = {name: tensor.detach().cpu().float().numpy().copy() for name, tensor in model.state_dict().items()}
    return Checkpoint(model.config, tensors, dict(metadata or {}))
