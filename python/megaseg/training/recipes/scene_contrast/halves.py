"""Positives of films whose scenes are known: two halves of a scene's shots, which no other film is needed for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.training.recipes.pretrain.films import Films
from megaseg.training.recipes.scene_contrast.batches import SceneBatch, kept_modalities, read, spaced
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig


@dataclass(frozen=True, slots=True)
class SceneHalves:
    """Scenes of at least two shots: those of scene s are ``begin[s]:end[s]``, counted over all ``films``.

    ``movies`` (S,) are the numbers of their movies, and ``numbers`` (S,) their own among the scenes of all movies.
    """

    films: Films
    begin: Tensor
    end: Tensor
    movies: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, films: Films, movies: Mapping[str, Features], names: Sequence[str]) -> SceneHalves:
        """The scenes of the films of these names, by their labels.

        Raises:
            FeatureError: a film without labels.
        """
        begins, ends, owners = [], [], []
        for number, (name, low) in enumerate(zip(films.names, films.edges.tolist(), strict=False)):
            labels = movies[name].labels
            if labels is None:
                raise FeatureError(f"{name}: expected labels, the last shot of every scene, to halve its scenes")
            last = np.union1d(np.flatnonzero(labels), len(labels) - 1) + 1
            begins.append(low + np.append(0, last[:-1]))
            ends.append(low + last)
            owners.append(np.full(len(last), number if name in set(names) else -1))
        begin, end, owner = (torch.from_numpy(np.concatenate(parts)) for parts in (begins, ends, owners))
        kept = ((end - begin > 1) & (owner >= 0)).nonzero()[:, 0]
        return cls(films, begin[kept], end[kept], owner[kept], kept)

    def __len__(self) -> int:
        return len(self.begin)

    def owners(self) -> Tensor:
        """The number of every scene (S, 2), twice."""
        return self.numbers[:, None].expand(-1, 2)

    def training(self, config: SceneContrastConfig, generator: torch.Generator) -> Iterator[SceneBatch]:
        """One epoch of the scenes, halved anew; ``scenes_together`` of a film come in the same batch."""
        order = torch.randperm(len(self), generator=generator)
        groups: list[Tensor] = []
        for movie in torch.unique(self.movies).tolist():
            groups += torch.split(order[self.movies[order] == movie], config.scenes_together)
        shuffled = torch.cat([groups[k] for k in torch.randperm(len(groups), generator=generator).tolist()])
        for chosen in torch.split(shuffled[: config.pairs_per_epoch or None], config.batch_size):
            halves = self._halves(chosen, config.length, generator)
            kept = [kept_modalities(self.films, len(chosen), config.drop_share, generator) for _ in halves]
            queries, keys = (read(self.films, shots, own) for shots, own in zip(halves, kept, strict=True))
            yield SceneBatch(queries, keys, self.owners()[chosen])

    def fixed(self, length: int, most: int) -> SceneBatch:
        """At most ``most`` scenes, evenly spaced, in halves that are always the same."""
        chosen = spaced(len(self), most)
        kept = torch.ones(len(self.films.rows), len(chosen), dtype=torch.bool)
        halves = self._halves(chosen, length, torch.Generator().manual_seed(0))
        queries, keys = (read(self.films, shots, kept) for shots in halves)
        return SceneBatch(queries, keys, self.owners()[chosen])

    def _halves(self, chosen: Tensor, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Shots (n, length) of two halves of each scene, at random and in order.

        A longer half is a random part of it. A shorter one stands in the middle, its ends repeated, as an encoder of
        centred windows reads a short scene.
        """
        views: tuple[list[Tensor], list[Tensor]] = [], []
        for begin, end in zip(self.begin[chosen].tolist(), self.end[chosen].tolist(), strict=True):
            drawn = begin + torch.randperm(end - begin, generator=generator)
            cut = (len(drawn) + 1) // 2
            for view, half in zip(views, (drawn[:cut], drawn[cut:]), strict=True):
                own = half[:length].sort().values
                places = torch.arange(length) - length // 2 + len(own) // 2
                view.append(own[places.clamp(0, len(own) - 1)])
        return torch.stack(views[0]), torch.stack(views[1])
