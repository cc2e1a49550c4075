"""The additive model in torch: a small network a modality; the reference of every backend."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from megaseg.engine.model.additive import AdditiveConfig
from megaseg.engine.model.checkpoint import Checkpoint


class ModalityNetwork(nn.Module):
    """One modality's network: without biases, so that rows of zeros give zeros."""

    def __init__(self, feature_size: int, config: AdditiveConfig, dropout: tuple[float, float]) -> None:
        super().__init__()
        self.hidden = nn.Linear(feature_size, config.hidden_size, bias=False)
        self.head = nn.Linear(config.hidden_size, config.num_classes, bias=False)
        self.dropout, self.hidden_dropout = (nn.Dropout(share) for share in dropout)

    def forward(self, rows: Tensor) -> Tensor:
        """The modality's part of the logits (..., num_classes) of rows (..., D_m)."""
        part: Tensor = self.head(self.hidden_dropout(torch.relu(self.hidden(self.dropout(rows)))))
        return part


class Additive(nn.Module):
    """The sum of the modalities' parts. ``dropout`` is that of columns and of hidden units, in training only."""

    def __init__(self, config: AdditiveConfig, dropout: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.config = config
        networks = {m.name: ModalityNetwork(m.feature_size, config, dropout) for m in config.modalities}
        self.modalities = nn.ModuleDict(networks)
        self.bias = nn.Parameter(torch.zeros(config.num_classes))

    def forward(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Logits (..., num_classes) of rows (..., D_m) a modality."""
        total: Tensor = self.bias + sum(network(rows[name]) for name, network in self.modalities.items())
        return total


def from_checkpoint(checkpoint: Checkpoint) -> Additive:
    """The model of a checkpoint."""
    assert isinstance(checkpoint.config, AdditiveConfig)
    model = Additive(checkpoint.config)
    model.load_state_dict({name: torch.from_numpy(checkpoint.tensors[name]) for name in checkpoint.tensors})
    return model.eval()
