"""What differs between two results of one movie: boundaries of each track, and a person's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError

TOLERANCE = {"seconds": Fraction(2), "shots": Fraction(2)}  # up to which a boundary has moved
SAME = Fraction(1, 1000)  # seconds between times that differ by rounding only


@dataclass(frozen=True, slots=True)
class Renamed:
    """A segment that begins ``at`` a place and has another name than before; None stands for no name."""

    at: Fraction
    before: str | None
    now: str | None


@dataclass(frozen=True, slots=True)
class TrackDifferences:
    """Boundaries of a track at their places: the first shot of a segment, or the second at which it begins."""

    same: int
    moved: tuple[tuple[Fraction, Fraction], ...] = ()  # before, now
    removed: tuple[Fraction, ...] = ()
    added: tuple[Fraction, ...] = ()
    renamed: tuple[Renamed, ...] = ()

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return bool(self.moved or self.removed or self.added or self.renamed)


@dataclass(frozen=True, slots=True)
class Differences:
    """Differences by track, in ``seconds`` where both results have times, else in ``shots``."""

    unit: str
    tracks: dict[str, TrackDifferences]

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return any(track.any for track in self.tracks.values())


def differences(before: Segmentation, now: Segmentation, tolerance: Fraction | None = None) -> Differences:
    """What differs in ``now``. Boundaries up to ``tolerance`` apart (2 seconds or shots) are the same one, moved.

    Raises:
        FeatureError: results that have neither times nor as many shots, or a tolerance below 0.
    """
    timed = all(result.times is not None and result.time_base is not None for result in (before, now))
    if not timed and before.num_shots != now.num_shots:
        raise FeatureError(
            f"results: expected the same number of shots, or times in both, got {before.num_shots} "
            f"and {now.num_shots} shots"
        )
    unit = "seconds" if timed else "shots"
    within = TOLERANCE[unit] if tolerance is None else tolerance
    if within < 0:
        raise FeatureError(f"tolerance: expected 0 or more {unit}, got {float(within):g}")
    names = dict.fromkeys([*before.tracks, *now.tracks])
    return Differences(
        unit, {name: _of_track(_begins(before, name, timed), _begins(now, name, timed), within) for name in names}
    )


def nearest_pairs(before: Sequence[Fraction], now: Sequence[Fraction], within: Fraction) -> list[tuple[int, int]]:
    """Places that belong together, at most ``within`` apart, each in one pair: the nearest first."""
    near = []
    first = 0
    for i, place in enumerate(before):
        while first < len(now) and now[first] < place - within:
            first += 1
        for j in range(first, len(now)):
            if now[j] > place + within:
                break
            near.append((abs(now[j] - place), i, j))
    taken: tuple[set[int], set[int]] = set(), set()
    pairs = []
    for _, i, j in sorted(near):
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            pairs.append((i, j))
    return sorted(pairs)


def _begins(result: Segmentation, track: str, timed: bool) -> dict[Fraction, str | None]:
    """Where the segments of a track begin, the first one's place included, and a person's names for them."""
    if track not in result.tracks:
        return {}
    names = result.names.get(track, {})
    firsts = [segment.first_shot for segment in result.tracks[track].segments]
    if not timed or result.times is None or result.time_base is None:
        return {Fraction(first): names.get(first) for first in firsts}
    return {int(result.times[first, 0]) * result.time_base: names.get(first) for first in firsts}


def _of_track(
    before: dict[Fraction, str | None], now: dict[Fraction, str | None], within: Fraction
) -> TrackDifferences:
    places, others = list(before), list(now)
    pairs = nearest_pairs(places[1:], others[1:], within)
    found = [(places[i + 1], others[j + 1]) for i, j in pairs]
    moved = tuple((old, new) for old, new in found if abs(old - new) > SAME)
    starts = [(places[0], others[0])] if places and others else []
    renamed = tuple(Renamed(new, before[old], now[new]) for old, new in starts + found if before[old] != now[new])
    old, new = {old for old, _ in found}, {new for _, new in found}
    removed = tuple(place for place in places[1:] if place not in old)
    return TrackDifferences(
        len(found) - len(moved), moved, removed, tuple(place for place in others[1:] if place not in new), renamed
    )
