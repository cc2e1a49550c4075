"""Rules of ad breaks, and the best breaks that keep them: pure functions of arrays, no format.

All arithmetic is float64 in the order that the docstrings give, so that the report's page decides the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError

HOUR = 3600.0
LOUD, SOFT = -20.0, -60.0  # dB of full scale: quietness 0 and 1
QUIET_WEIGHT, ACT_WEIGHT = 0.5, 0.25  # in units of a boundary's score

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AdRules:
    """What ad breaks must keep, in seconds.

    Two breaks are at least ``spacing`` apart and at least an hour divided by ``per_hour``, so that no 60 minutes hold
    more than ``per_hour``. None is within the first ``head`` or the last ``tail`` seconds. ``length`` is how long a
    break shall last; it is written into files and decides nothing.

    Raises:
        FeatureError: a value that is negative or no finite number; names it.
    """

    spacing: float = 600.0
    head: float = 300.0
    tail: float = 300.0
    per_hour: float = 6.0
    length: float = 120.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise FeatureError(f"ads.{field.name}: expected a finite number of at least 0, got {value!r:.40}")


def allowed(rules: AdRules, times: Floats, speech: Floats, duration: float) -> NDArray[np.bool_]:
    """Which of the ``times`` (n,) are outside head, tail and the open intervals of ``speech`` (spans, 2).

    head <= t, t <= duration - tail, and no span with begin < t < end.
    """
    inside = np.zeros(len(times), dtype=np.bool_)
    if len(speech):
        before = np.searchsorted(speech[:, 0], times, side="left")  # spans that begin before t
        inside = (before > 0) & (times < speech[np.maximum(before - 1, 0), 1])
    return (times >= rules.head) & (times <= duration - rules.tail) & ~inside


def worth(scores: Floats, loudness: Floats | None, act_ends: NDArray[np.bool_]) -> Floats:
    """Worth (n,) of breaks: score + 0.5 quietness - 0.25 where an act ends.

    Quietness is (-20 dB - loudness) / 40 dB, held within 0 and 1; 0 where no loudness is known.
    """
    quiet = np.zeros(len(scores))
    if loudness is not None:
        quiet = np.clip(np.nan_to_num((LOUD - loudness) / (LOUD - SOFT), nan=0.0), 0.0, 1.0)
    return (scores + QUIET_WEIGHT * quiet) - ACT_WEIGHT * act_ends


def choose(rules: AdRules, times: Floats, values: Floats, duration: float) -> NDArray[np.int64]:
    """Indices of the breaks, among increasing ``times`` (n,), whose ``values`` (n,) have the largest sum.

    Two breaks are at least max(spacing, 3600 / per_hour) apart; there are at most floor(per_hour duration / 3600).
    With ``best[c, k]`` the largest sum of at most c of the first k, and ``before[k]`` the number of those that are far
    enough before k: best[c, k + 1] = max(best[c, k], best[c - 1, before[k]] + values[k]). Read back from the last, k is
    a break where best[c, k + 1] > best[c, k]: of equal sums the earlier breaks stay, and none is worth 0 or less.
    """
    most = math.floor(min(rules.per_hour * duration / HOUR, len(times)))
    if most < 1:
        return np.zeros(0, dtype=np.int64)
    gap = max(rules.spacing, HOUR / rules.per_hour)
    before = [int(np.count_nonzero(time - times[:k] >= gap)) for k, time in enumerate(times)]
    best = np.zeros((most + 1, len(times) + 1))
    for k, value in enumerate(values):
        best[1:, k + 1] = np.maximum(best[1:, k], best[:-1, before[k]] + value)
    chosen, count, k = [], most, len(times)
    while k and count:
        if best[count, k] > best[count, k - 1]:
            chosen.append(k - 1)
            count, k = count - 1, before[k - 1]
        else:
            k -= 1
    return np.array(chosen[::-1], dtype=np.int64)
