"""Ad breaks of a timeline: the ends of its scenes that the rules choose."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.results.segmentation import Segmentation
from megaseg.export.ads.rules import allowed, choose, worth
from megaseg.export.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Break:
    """One ad break, right before the first frame of a scene."""

    number: int  # from 1
    seconds: Fraction  # on the timeline's clock
    shot: int  # the last before the break
    score: float  # of the boundary
    loudness: float | None  # dB of full scale, around the shot's end
    act_end: bool
    worth: float


def breaks(timeline: Timeline) -> tuple[Break, ...]:
    """The best breaks by the timeline's rules, which hold on the film's own clock; none for a result without times."""
    result, base = timeline.result, timeline.result.time_base
    if result.times is None or base is None:
        return ()
    segments = next(iter(result.tracks.values())).segments[:-1]
    shots = np.array([segment.last_shot for segment in segments], dtype=np.int64)
    ticks = result.times[shots + 1, 0]
    scores = np.array([segment.score for segment in segments], dtype=np.float64)
    loudness = None
    if result.source is not None and result.source.loudness is not None:
        loudness = result.source.loudness[shots].astype(np.float64)
    ends = _act_ends(result)
    worths = worth(scores, loudness, ends)
    times, duration = _seconds(ticks, base), float(int(result.times[-1, 1]) * base)
    speech = np.zeros((0, 2)) if result.source is None else _seconds(result.source.speech, base)
    free = np.flatnonzero(allowed(timeline.ads, times, speech, duration))
    chosen = free[choose(timeline.ads, times[free], worths[free], duration)]
    kept = [k for k in chosen if int(ticks[k]) * base + timeline.offset >= 0]
    return tuple(
        Break(
            number=number,
            seconds=int(ticks[k]) * base + timeline.offset,
            shot=int(shots[k]),
            score=float(scores[k]),
            loudness=None if loudness is None else float(loudness[k]),
            act_end=bool(ends[k]),
            worth=float(worths[k]),
        )
        for number, k in enumerate(kept, 1)
    )


def _act_ends(result: Segmentation) -> NDArray[np.bool_]:
    """Whether an act ends with, or within, each scene but the last: the next scene begins in another act."""
    track = next(iter(result.tracks.values()))
    acts = [act.last_shot for act in result.acts[:-1]] if track.name != "acts" else []
    begins = [bisect_left(acts, segment.first_shot) for segment in track.segments]
    return np.array([a != b for a, b in pairwise(begins)], dtype=np.bool_)


def _seconds(ticks: NDArray[np.int64], base: Fraction) -> NDArray[np.float64]:
    """Ticks of any shape as float64: ticks times numerator, divided by denominator."""
    return np.asarray(ticks * float(base.numerator) / float(base.denominator), dtype=np.float64)
