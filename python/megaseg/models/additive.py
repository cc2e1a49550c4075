"""The additive model in torch: networks side by side, which a checkpoint holds as the one that is their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from megaseg.engine.inputs.modality import Modality

_PRIOR = -2.0  # log-odds of a boundary before training


class Additive(nn.Module):
    """``members`` networks, each of ``size`` hidden units a modality and two classes; rows pass through all of them.

    ``dropout`` is that of columns, ``hidden_dropout`` of hidden units, in training only.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        members: int,
        size: int,
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.members, self.dropout, self.hidden_dropout = members, dropout, hidden_dropout
        spread = {m.name: 1 / math.sqrt(m.feature_size) for m in modalities}
        self.hidden = nn.ParameterDict(
            {m.name: spread[m.name] * torch.randn(m.feature_size, members, size) for m in modalities}
        )
        self.head = nn.ParameterDict({m.name: torch.randn(members, size) / math.sqrt(size) for m in modalities})
        self.bias = nn.Parameter(torch.full((members,), _PRIOR))

    def forward(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Log-odds (rows, members) of a boundary, of rows (rows, D_m) a modality."""
        total: Tensor = self.bias
        for name, weight in self.hidden.items():
            own = functional.dropout(rows[name], self.dropout, self.training)
            hidden = torch.relu(own @ weight.flatten(1)).reshape(-1, *weight.shape[1:])  # one product for all members
            kept = functional.dropout(hidden, self.hidden_dropout, self.training)
            total = total + (kept * self.head[name]).sum(2)
        return total

    @torch.no_grad()
    def tensors(self, members: slice) -> dict[str, NDArray[np.float32]]:
        """The tensors of one network that gives the mean log-odds of some members: all their hidden units together."""
        bias = self.bias[members].numpy()
        count, half = len(bias), bias.mean() / 2  # log-odds are the difference of two logits
        found = {"bias": np.array([-half, half], np.float32)}
        for name, weight in self.hidden.items():
            units = weight[:, members].flatten(1).T.numpy()  # (members * size, D_m)
            head = self.head[name][members].flatten().numpy() / (2 * count)
            found[f"modalities.{name}.hidden.weight"] = units.copy()
            found[f"modalities.{name}.head.weight"] = np.stack([-head, head])
        return found
