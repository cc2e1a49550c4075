"""Batches of windows of consecutive shots: padded, with some tokens masked and some modalities left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from megaseg.training.recipes.pretrain.films import Films, Rows


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows, everything by modality.

    ``features`` (batch, rows, K); ``there`` (batch, rows), False for padding, only of modalities with any; ``said``
    (batch, rows), True for rows that a loss may ask for; ``masked`` (batch, rows), what a mask token stands in for;
    ``shots`` (batch, s) the shot of each token, L for none.
    """

    features: dict[str, Tensor]
    there: dict[str, Tensor]
    said: dict[str, Tensor]
    masked: dict[str, Tensor]
    shots: Tensor | None

    def __len__(self) -> int:
        return len(next(iter(self.features.values())))


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of up to ``length`` shots of ``films``.

    Masks are of whole shots where ``together``, else of each modality's tokens apart.
    """

    films: Films
    length: int
    mask_share: float
    together: bool

    def training(self, size: int, neighbours: int, drop_share: float, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch in random order: consecutive windows of every film from a random phase, as many as cover the film.

        ``neighbours`` windows of a film come in the same batch of ``size``.
        """
        groups: list[Tensor] = []
        for film in range(len(self.films.names)):
            starts = self._starts(film, int(torch.randint(self.length, (1,), generator=generator)))
            pairs = torch.stack([torch.full_like(starts, film), starts], 1)
            groups += torch.split(pairs, neighbours)
        order = torch.randperm(len(groups), generator=generator).tolist()
        for chosen in torch.split(torch.cat([groups[k] for k in order]), size):
            yield self._batch(chosen, drop_share, generator)

    def fixed(self, size: int) -> Iterator[Batch]:
        """Every film's windows from its first shot on, in order, with masks that are the same every time."""
        generator = torch.Generator().manual_seed(0)
        every = [(film, start) for film in range(len(self.films.names)) for start in self._starts(film, 0).tolist()]
        for chosen in torch.split(torch.tensor(every), size):
            yield self._batch(chosen, 0.0, generator)

    def count(self) -> int:
        """About how many windows an epoch has."""
        return sum(len(self._starts(film, self.length // 2)) for film in range(len(self.films.names)))

    def most_rows(self) -> int:
        """Most rows of a window, of whichever modality."""
        most = min(self.length, int(self.films.edges.diff().max()))
        for rows in self.films.rows.values():
            if rows.shots is not None and len(rows.shots):
                ends = torch.searchsorted(rows.shots, rows.shots + self.length)
                most = max(most, int((ends - torch.arange(len(ends))).max()))
        return most

    def _starts(self, film: int, phase: int) -> Tensor:
        """First shots of a film's windows; those that would reach over an end are moved to the end."""
        shots = int(self.films.edges[film + 1] - self.films.edges[film])
        starts = torch.arange(phase - self.length if phase else 0, shots, self.length)
        every: Tensor = torch.unique(starts.clamp(0, max(0, shots - self.length)))
        return every

    def _batch(self, chosen: Tensor, drop_share: float, generator: torch.Generator) -> Batch:
        film, start = chosen.T
        shots = (self.films.edges[film + 1] - self.films.edges[film] - start).clamp(max=self.length)
        kept = self._kept(film, drop_share, generator)
        features, there, said, token_shots = {}, {}, {}, None
        for name, rows in self.films.rows.items():
            if rows.shots is None:
                index, own = _shot_rows(rows, film, start, shots)
            else:
                index, own, token_shots = self._token_rows(rows, film, start, shots, kept[name])
            index = torch.where(kept[name][:, None], index, rows.nothing)
            features[name], said[name] = rows.values[index], rows.said[index]
            if not own.all():
                there[name] = own
        return Batch(features, there, said, self._masks(there, said, generator), token_shots)

    def _kept(self, film: Tensor, drop_share: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Which windows (batch,) keep a modality of their film: at random, and at least one of those that are there."""
        has = torch.stack([own.edges[film + 1] > own.edges[film] for own in self.films.rows.values()])
        dropped = torch.rand(has.shape, generator=generator) < drop_share
        dropped &= (has & ~dropped).any(0)
        return dict(zip(self.films.rows, has & ~dropped, strict=True))

    def _token_rows(
        self, rows: Rows, film: Tensor, start: Tensor, shots: Tensor, kept: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Row numbers (batch, s) of the windows' tokens, which of them are there, and their shots in the window.

        A window without any has one row, of nothing, at no shot.
        """
        assert rows.shots is not None
        begin = self.films.edges[film] + start
        low, high = torch.searchsorted(rows.shots, begin), torch.searchsorted(rows.shots, begin + shots)
        counts = (high - low) * kept
        places = torch.arange(max(1, int(counts.max())))
        real = places < counts[:, None]
        index = torch.where(real, low[:, None] + places, rows.nothing)
        known = torch.cat([rows.shots, rows.shots.new_zeros(1)])[index]
        local = torch.where(real, known - begin[:, None], self.length)
        return index, real | ((counts == 0)[:, None] & (places == 0)), local

    def _masks(
        self, there: dict[str, Tensor], said: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        if not self.together:
            return {name: masks(own, self.mask_share, generator) for name, own in said.items()}
        whole = torch.ones_like(next(iter(said.values())))
        own = masks(next(iter(there.values()), whole), self.mask_share, generator)
        return dict.fromkeys(said, own)


def masks(tokens: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A ``share`` of the ``tokens`` (batch, rows) of each window at random; fractions are rounded at random.

    At least one of two or more, or short films would often have nothing to predict; none at a share of 0.
    """
    every = tokens.sum(1)
    counts = (share * every + torch.rand(len(tokens), generator=generator)).floor()
    if share:
        counts = torch.maximum(counts, (every > 1).to(counts.dtype))
    drawn = torch.rand(tokens.shape, generator=generator).masked_fill(~tokens, 2.0)
    return drawn.argsort(1).argsort(1) < counts[:, None]


def _shot_rows(rows: Rows, film: Tensor, start: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers (batch, n) of the windows' shots, and which of them are there."""
    places = torch.arange(int(shots.max()))
    there = places < shots[:, None]
    has = (rows.edges[film + 1] > rows.edges[film])[:, None]
    return torch.where(there & has, (rows.edges[film] + start)[:, None] + places, rows.nothing), there
