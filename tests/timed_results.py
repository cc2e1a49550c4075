"""Results with times, for files of other programs: random tracks, clocks and names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from megaseg.engine.results.segmentation import Segmentation, joined
from megaseg.engine.results.source import Source
from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision

NASTY = 'Tom & "Jerry" <b>;#=\\ --> ]]>\r\n\tשלום \u202eabc 🎬\x0b\x07'
THREE_HOURS = 3 * 3600
# Ticks a second and of a frame: 23.976, 25 and 29.97 frames a second; variable rates by the millisecond, at 90 kHz.
CLOCKS = [(24000, 1001), (25, 1), (30000, 1001), (1000, 1), (90000, 1)]


def timed_result(
    ends: Sequence[int],
    base: Fraction,
    *,
    scores: Sequence[float] | None = None,
    scene_ends: Sequence[int] = (),
    names: Mapping[int, str] | None = None,
    act_ends: Sequence[int] = (),
    **source: Any,
) -> Segmentation:
    """Scenes over shots that end at ticks ``ends``; a scene, and an act, ends after each of these shots."""
    edges = np.array([0, *ends], dtype=np.int64)
    times, shots = np.column_stack([edges[:-1], edges[1:]]), len(ends)
    values = np.zeros(shots, np.float32)
    values[list(scene_ends)] = 1
    if scores is not None:
        values[list(scene_ends)] = np.array(scores, np.float32)[list(scene_ends)]
    threshold = float(min([0.5, *values[list(scene_ends)]]))
    results = [Segmentation.from_scores("scene", values, SceneDecision(max(threshold, 1e-6)), times, base)]
    if act_ends:
        logits = np.full((shots, len(act_ends)), -9.0, np.float32)
        logits[list(act_ends), range(len(act_ends))] = 9
        results.append(Segmentation.from_logits("act", logits, ActDecision(), times, base))
    return dataclasses.replace(
        joined(results), names={"scenes": names} if names else {}, source=Source("film.mp4", **source)
    )


@st.composite
def timed_results(draw: st.DrawFn, most: int = 12) -> Segmentation:
    """Results of films up to three hours long, some of whose scenes have names of any text."""
    rate, step = draw(st.sampled_from(CLOCKS))
    frames = draw(st.lists(st.integers(1, THREE_HOURS * rate // step // most), min_size=1, max_size=most))
    shots = len(frames)
    ends = draw(st.sets(st.integers(0, max(shots - 2, 0)))) if shots > 1 else set()
    named = draw(st.sets(st.sampled_from([0, *(end + 1 for end in ends)])))
    texts = st.text(min_size=1, max_size=30) | st.just(NASTY)
    names = {first: draw(texts) for first in named}
    ticks = np.cumsum(np.array(frames, dtype=np.int64) * step).tolist()
    return timed_result(ticks, Fraction(1, rate), scene_ends=sorted(ends), names=names)
