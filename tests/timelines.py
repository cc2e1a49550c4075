"""Results with exact times, of the user's own making, for the formats of other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from megaseg import Segmentation
from megaseg.engine.results.segmentation import joined
from megaseg.engine.results.source import Source
from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.media.timecode import FrameRate, parse

RATES = ("23.976", "24", "25", "29.97", "29.97df", "30", "50", "59.94", "59.94df", "60")
BASES = (Fraction(1, 24000), Fraction(1, 30000), Fraction(1, 12800), Fraction(1, 90000), Fraction(1, 1000))
HOSTILE = (
    'A & B <b>"quoted"</b> ]]> &amp;',
    "two\nlines\r\nand\ta tab",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202eright to left\u202c",
    "\U0001f3ac\U0001f468\u200d\U0001f469\u200d\U0001f467 emoji",
    "control \x00\x07\x1b\x85 and lone \ud800 halves",
    "=SUM(A1), a; b | c \\ ' #",
    "ends in \\",
    "* FROM CLIP NAME: other",
)


def result(
    times: Any,
    base: Fraction | None = Fraction(1, 1000),
    ends: Sequence[int] = (),
    tps: Sequence[int] = (),
    names: Mapping[str, Mapping[int, str]] | None = None,
    scores: Sequence[float] | None = None,
    **source: Any,
) -> Segmentation:
    """A result whose scenes end after the shots ``ends``, with acts where turning points ``tps`` are given.

    ``times`` are int64 (shots, 2), or the shots' ends where they follow one another from 0.
    """
    spans = np.asarray(times, dtype=np.int64)
    if spans.ndim == 1:
        spans = np.column_stack([np.r_[0, spans[:-1]], spans])
    own = (spans, base) if base is not None else (None, None)
    values = np.linspace(0.1, 0.4, len(spans)).astype(np.float32)
    values[list(ends)] += 0.5
    if scores is not None:
        values = np.array(scores, np.float32)
    made = [Segmentation.from_scores("scene", values, SceneDecision(0.5), *own)]
    if tps:
        acts = np.full((len(spans), len(tps)), 0.1, np.float32)
        acts[list(tps), range(len(tps))] = 0.9
        made.append(Segmentation.from_scores("act", acts, ActDecision(), *own))
    film = Source(**{"name": "film.mp4", **source}) if source else None
    return replace(joined(made), source=film, names=names or {})


def on_frames(rate: FrameRate, frames: Sequence[int], base: Fraction) -> np.ndarray:
    """Ends of shots at frames of a film, as ticks of a container that rounds."""
    return np.array([round(rate.seconds(frame) / base) for frame in frames], dtype=np.int64)


@st.composite
def films(draw: st.DrawFn) -> tuple[Segmentation, FrameRate, list[int]]:
    """A film of up to three hours, its rate, and the frames at which its scenes begin, with the film's end."""
    rate = parse(draw(st.sampled_from(RATES)))
    base = draw(st.sampled_from(BASES))
    last = 3 * 3600 * rate.base
    frames = sorted(draw(st.sets(st.integers(1, last), min_size=2, max_size=12)))
    ends = sorted(draw(st.sets(st.integers(0, len(frames) - 2))))
    tps = draw(st.one_of(st.just([]), st.lists(st.integers(0, len(frames) - 1), min_size=5, max_size=5)))
    made = result(on_frames(rate, frames, base), base, ends, sorted(tps), name="film.mp4", frame_rate=rate.exact)
    return made, rate, [0, *(frames[end] for end in ends), frames[-1]]


@st.composite
def named_films(draw: st.DrawFn) -> Segmentation:
    """A film of up to three hours, some of whose scenes have names of any text."""
    movie, _, _ = draw(films())
    named = draw(st.sets(st.sampled_from([scene.first_shot for scene in movie.scenes])))
    texts = st.text(min_size=1, max_size=30) | st.sampled_from(HOSTILE)
    return replace(movie, names={"scenes": {first: draw(texts) for first in named}})


STARTS = st.sampled_from(("00:00:00:00", "01:00:00:00", "00:59:58:12", "10:00:00:00"))
