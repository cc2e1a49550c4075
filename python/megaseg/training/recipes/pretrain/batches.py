"""Batches of windows of consecutive shots: padded, masked, with modalities left out and other places spliced in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from megaseg.training.recipes.pretrain.films import Films, TokenRows

_MOST_SPLICES = 3  # in a window
_SHORTEST_PIECE = 3  # shots between two splices
_NOTHING = -1  # in the place of a shot


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows, everything by modality.

    ``features`` (batch, rows, K); ``there`` (batch, rows), False for padding, only of modalities with any; ``said``
    (batch, rows), True for rows that a loss may ask for; ``masked`` (batch, rows), what a mask token stands in for;
    ``shots`` (batch, s) the shot of each token, L for none. ``gaps`` (batch, n - 1) are those between two shots, and
    ``splices`` those where the next shot is not the film's next.
    """

    features: dict[str, Tensor]
    there: dict[str, Tensor]
    said: dict[str, Tensor]
    masked: dict[str, Tensor]
    shots: Tensor | None
    gaps: Tensor
    splices: Tensor

    def __len__(self) -> int:
        return len(self.gaps)


@dataclass(frozen=True, slots=True)
class Changes:
    """What training does to windows: the share of them that is spliced, and that of modalities left out."""

    splice_share: float = 0.0
    drop_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of up to ``length`` shots of ``films``.

    Masks are of whole shots where ``together``, else of each modality's tokens apart.
    """

    films: Films
    length: int
    mask_share: float
    together: bool

    def training(self, size: int, neighbours: int, changes: Changes, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch in random order: consecutive windows of every film from a random phase, as many as cover the film.

        ``neighbours`` windows of a film come in the same batch of ``size``.
        """
        groups: list[Tensor] = []
        for film in range(len(self.films.names)):
            begins = self._begins(film, int(torch.randint(self.length, (1,), generator=generator)))
            groups += torch.split(begins, neighbours)
        order = torch.randperm(len(groups), generator=generator).tolist()
        for chosen in torch.split(torch.cat([groups[k] for k in order]), size):
            yield self._batch(chosen, changes, generator)

    def fixed(self, size: int, splice_share: float = 0.0) -> Iterator[Batch]:
        """Every film's windows from its first shot on, in order, with masks and splices that are always the same."""
        generator = torch.Generator().manual_seed(0)
        every = torch.cat([self._begins(film, 0) for film in range(len(self.films.names))])
        for chosen in torch.split(every, size):
            yield self._batch(chosen, Changes(splice_share), generator)

    def count(self) -> int:
        """About how many windows an epoch has."""
        return sum(len(self._begins(film, self.length // 2)) for film in range(len(self.films.names)))

    def most_rows(self) -> int:
        """Most rows of a window of one film, of whichever modality."""
        most = min(self.length, int(self.films.edges.diff().max()))
        for rows in self.films.rows.values():
            if isinstance(rows, TokenRows):
                last = torch.arange(len(rows.first) - 1).add(self.length).clamp(max=len(rows.first) - 1)
                most = max(most, int((rows.first[last] - rows.first[:-1]).max()))
        return most

    def _begins(self, film: int, phase: int) -> Tensor:
        """First shots of a film's windows; those that would reach over an end are moved to the end."""
        low, shots = int(self.films.edges[film]), int(self.films.edges[film + 1] - self.films.edges[film])
        starts = torch.arange(phase - self.length if phase else 0, shots, self.length)
        every: Tensor = low + torch.unique(starts.clamp(0, max(0, shots - self.length)))
        return every

    def _batch(self, begins: Tensor, changes: Changes, generator: torch.Generator) -> Batch:
        shots = self._run_of(begins, torch.full_like(begins, self.length))
        if changes.splice_share:
            shots = self._spliced(shots, changes.splice_share, generator)
        kept = self._kept(shots, changes.drop_share, generator)
        features, there, said, token_shots = {}, {}, {}, None
        for name, rows in self.films.rows.items():
            seen = torch.where(kept[name][:, None], shots, _NOTHING)
            if isinstance(rows, TokenRows):
                index, own, token_shots = self._tokens(rows, seen)
            else:
                index, own = rows.of[seen], shots != _NOTHING
            features[name], said[name] = rows.values[index], rows.said[index]
            if not own.all():
                there[name] = own
        gaps = shots[:, 1:] != _NOTHING
        masked = self._masks(shots != _NOTHING, said, generator)
        return Batch(features, there, said, masked, token_shots, gaps, gaps & (shots[:, 1:] != shots[:, :-1] + 1))

    def _run_of(self, begins: Tensor, lengths: Tensor) -> Tensor:
        """Consecutive shots (batch, n) from ``begins``, up to ``lengths`` of them and to the end of the film."""
        ends = self.films.edges[torch.searchsorted(self.films.edges, begins, right=True)]
        counts = torch.minimum(lengths, ends - begins)
        places = torch.arange(int(counts.max()))
        return torch.where(places < counts[:, None], begins[:, None] + places, _NOTHING)

    def _spliced(self, shots: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """A ``share`` of the windows (batch, n) with 1 to 3 pieces from elsewhere, half of them of the same film."""
        edges, shots = self.films.edges, shots.clone()
        for window in (torch.rand(len(shots), generator=generator) < share).nonzero()[:, 0].tolist():
            length = int((shots[window] != _NOTHING).sum())
            own = int(torch.searchsorted(edges, shots[window, :1], right=True)) - 1
            most = min(_MOST_SPLICES, length // _SHORTEST_PIECE - 1)
            if most < 1:
                continue
            number = int(torch.randint(most, (1,), generator=generator)) + 1
            slack = torch.rand(number + 1, generator=generator)
            pieces = _SHORTEST_PIECE + (slack / slack.sum() * (length - _SHORTEST_PIECE * (number + 1))).floor().long()
            cuts = [*pieces.cumsum(0)[:-1].tolist(), length]
            for low, high in itertools.pairwise(cuts):
                within = torch.rand(2, generator=generator)
                film = own if within[0] < 0.5 else int(torch.randint(len(edges) - 1, (1,), generator=generator))
                room = int(edges[film + 1] - edges[film]) - (high - low)
                if room >= 0:
                    begin = int(edges[film]) + int(within[1] * (room + 1))
                    shots[window, low:high] = torch.arange(begin, begin + high - low)
        return shots

    def _kept(self, shots: Tensor, drop_share: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Which windows (batch,) keep a modality that they have: at random, and at least one of them."""
        has = torch.stack([own.has[shots].any(1) for own in self.films.rows.values()])
        dropped = torch.rand(has.shape, generator=generator) < drop_share
        dropped &= (has & ~dropped).any(0)
        return dict(zip(self.films.rows, has & ~dropped, strict=True))

    def _tokens(self, rows: TokenRows, shots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row numbers (batch, s) of the tokens of shots (batch, n), which are there, and their places in the window.

        A window without any has one row, of nothing, at no shot.
        """
        low = torch.where(shots == _NOTHING, 0, rows.first[shots])
        counts = torch.where(shots == _NOTHING, 0, rows.first[shots + 1] - low)  # (batch, n)
        owner = torch.repeat_interleave(
            torch.arange(shots.numel()), counts.flatten()
        )  # of every token, one after another
        before = counts.flatten().cumsum(0) - counts.flatten()
        window, own = owner // shots.shape[1], counts.sum(1)
        column = torch.arange(len(owner)) - (own.cumsum(0) - own)[window]
        shape = len(shots), max(1, int(own.max()))
        index, local = torch.full(shape, len(rows.values) - 1), torch.full(shape, self.length)
        index[window, column] = low.flatten()[owner] + torch.arange(len(owner)) - before[owner]
        local[window, column] = owner % shots.shape[1]
        return index, torch.arange(shape[1]) < own.clamp_min(1)[:, None], local

    def _masks(self, there: Tensor, said: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        if self.together:
            return dict.fromkeys(said, masks(there, self.mask_share, generator))
        return {name: masks(own, self.mask_share, generator) for name, own in said.items()}


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
