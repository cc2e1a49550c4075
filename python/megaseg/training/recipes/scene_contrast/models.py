"""What is trained: a scene encoder with a projection, and the encoder of keys with their queue."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.engine.model.scene_encoder import SceneEncoderConfig
from megaseg.models.scene_encoder import SceneEncoder
from megaseg.training.dropout import use_byte_dropout
from megaseg.training.objectives.momentum_contrast import follow
from megaseg.training.recipes.scene_contrast.start import begin_as_mean
from megaseg.training.state import Groups


@dataclass(frozen=True, slots=True)
class Related:
    """Which owners give each other no negatives: each itself, and those that ``also`` (owners, owners) says."""

    also: Tensor | None = None

    def allowed(self, owners: Tensor, others: Tensor) -> Tensor:
        """Which ``others`` (K,) are related to neither owner of the pairs (n, 2): bool (n, K)."""
        same = (owners[:, :1] == others) | (owners[:, 1:] == others)
        if self.also is None:
            return ~same
        return ~(same | (self.also[owners[:, 0]] | self.also[owners[:, 1]])[:, others])


class SceneProjection(nn.Module):
    """A scene encoder and up to two layers [chosen] to ``size`` columns of unit length."""

    def __init__(
        self, config: SceneEncoderConfig, projection_size: int, projection_layers: int = 2, start: str = "random"
    ) -> None:
        super().__init__()
        self.encoder = SceneEncoder(config)
        if start == "mean":
            begin_as_mean(self.encoder)
        self.size = projection_size if projection_layers else config.embedding_size
        self.projection = _projection(config.embedding_size, projection_size, projection_layers)
        use_byte_dropout(self.encoder)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scenes, each modality (n, length, K), to rows (n, size)."""
        return functional.normalize(self.projection(self.encoder(features)), dim=1)


def _projection(size: int, projection_size: int, layers: int) -> nn.Sequential:
    """From the embedding to what is contrasted, which is the embedding itself where there are no layers."""
    if not layers:
        return nn.Sequential()
    hidden = [nn.Linear(size, size), nn.GELU()] if layers == 2 else []
    return nn.Sequential(*hidden, nn.Linear(size, projection_size))


class Keys:
    """The encoder of keys, which follows that of queries, and the queue of the last keys with their owners."""

    def __init__(self, model: SceneProjection, size: int, related: Related, momentum: float) -> None:
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        self._rows, self._owners = torch.zeros(size, model.size), torch.full((size,), -1)
        self._place, self._filled = 0, 0
        self._related, self._momentum = related, momentum

    @torch.no_grad()
    def next(self, model: SceneProjection, features: Mapping[str, Tensor], owners: Tensor) -> Tensor:
        """Follow ``model``, and encode keys (n, E) of owners (n,), which join the queue in place of its oldest."""
        follow(self._model, model, self._momentum)
        keys: Tensor = self._model(features)
        size = len(self._rows)
        places = (self._place + torch.arange(len(keys)))[-size:] % size
        self._rows[places], self._owners[places] = keys[-size:], owners[-size:]
        self._place = (self._place + len(keys)) % size
        self._filled = min(size, self._filled + len(keys))
        return keys

    def negatives(self, owners: Tensor) -> tuple[Tensor, Tensor]:
        """The queue (K, E), and which of it positives of these owners (n, 2) may have, (n, K)."""
        return self._rows[: self._filled], self._related.allowed(owners, self._owners[: self._filled])

    def state(self) -> Groups:
        """The key encoder's weights, and the queue."""
        numbers = torch.tensor([self._place, self._filled])
        return {
            "keys": self._model.state_dict(),
            "queue": {"rows": self._rows, "owners": self._owners, "numbers": numbers},
        }

    def restore(self, groups: Groups) -> None:
        """Put back what ``state`` gave."""
        self._model.load_state_dict(groups["keys"])
        self._rows.copy_(groups["queue"]["rows"])
        self._owners.copy_(groups["queue"]["owners"])
        self._place, self._filled = groups["queue"]["numbers"].tolist()
