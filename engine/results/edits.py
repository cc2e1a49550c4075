"""A person's edits of a result, put on the shots of another run over the same movie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.errors import FeatureError

NEAR = Fraction(1)  # seconds within which the end of a shot is the one that was edited


@dataclass(frozen=True)
class Shots:
    """Shots of a movie: how many, and their times where they have some, as of a ``Segmentation``."""

    count: int
    times: NDArray[np.int64] | None = None
    time_base: Fraction | None = None

    def ends(self) -> list[Fraction] | None:
        """End of each shot in seconds, exact; None without times."""
        if self.times is None or self.time_base is None:
            return None
        return [tick * self.time_base for tick in self.times[:, 1].tolist()]


def edits_of(edited: Segmentation) -> SceneDecision:
    """The decision with a person's locked and barred boundaries; none without scenes."""
    track = edited.tracks.get("scenes")
    return SceneDecision() if track is None else track.decision


def locked_seconds(edited: Segmentation) -> tuple[Fraction, ...]:
    """Times of locked boundaries, at which shots of another run are to end too; none without times."""
    ends = _shots_of(edited).ends()
    return () if ends is None else tuple(ends[shot] for shot in edits_of(edited).locked)


def edits_on(edited: Segmentation, shots: Shots) -> dict[str, tuple[int, ...]]:
    """The locked and barred boundaries as options of a decision on other shots: each at the nearest end of a shot.

    A barred boundary that no shot's end is ``NEAR``, or that is locked now, is left out.

    Raises:
        FeatureError: neither both movies have times nor as many shots.
    """
    own = edits_of(edited)
    if not (own.locked or own.barred):
        return {}
    at = _places(edited, shots)
    locked = {at(shot)[0] for shot in own.locked} - {shots.count - 1}
    barred = {place for place, apart in map(at, own.barred) if apart <= NEAR} - locked - {shots.count - 1}
    return {"locked": tuple(sorted(locked)), "barred": tuple(sorted(barred))}


def with_edits(result: Segmentation, edited: Segmentation) -> Segmentation:
    """A new result with the names that a person gave, and remarks on what could not be kept where it was.

    Raises:
        FeatureError: as ``edits_on``.
    """
    if not (edited.names or edits_of(edited).locked):
        return result
    at, remarks = _places(edited, _shots_of(result)), list(result.remarks)
    for shot in edits_of(edited).locked:
        place, apart = at(shot)
        if place == result.num_shots - 1:
            remarks.append(f"keep: the boundary locked after shot {shot} has no place before the movie's end now")
        elif apart > NEAR:
            remarks.append(f"keep: the boundary locked after shot {shot} is {float(apart):.1f} s away, at shot {place}")
    names: dict[str, dict[int, str]] = {}
    for track, own in edited.names.items():
        for first, name in own.items():
            place, apart = at(first - 1) if first else (-1, Fraction(0))
            if track in result.tracks and apart <= NEAR and place + 1 < result.num_shots:
                names.setdefault(track, {})[place + 1] = name
            else:
                remarks.append(f"keep: {name!r:.40} has no place in {track} now")
    return dataclasses.replace(result, names=names, remarks=tuple(remarks))


def _shots_of(result: Segmentation) -> Shots:
    return Shots(result.num_shots, result.times, result.time_base)


def _places(edited: Segmentation, shots: Shots) -> Callable[[int], tuple[int, Fraction]]:
    """From a shot of the edited movie to the one of ``shots`` whose end is nearest, and the seconds between the two."""
    before, now = _shots_of(edited).ends(), shots.ends()
    if before is None or now is None:
        if edited.num_shots != shots.count:
            raise FeatureError(
                f"keep: expected an edited result of the same {shots.count} shots, or times in both, "
                f"got one of {edited.num_shots} shots"
            )
        return lambda shot: (shot, Fraction(0))
    ends = np.array([float(end) for end in now])

    def nearest(shot: int) -> tuple[int, Fraction]:
        after = int(np.searchsorted(ends, float(before[shot])))
        around = range(max(0, after - 1), min(after + 2, len(now)))
        return min(((place, abs(now[place] - before[shot])) for place in around), key=lambda found: found[1])

    return nearest
