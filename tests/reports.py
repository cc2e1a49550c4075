"""Results and pictures of films that never were, for tests of reports."""

from __future__ import annotations

import base64
import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import Segmentation, joined
from megaseg.engine.results.source import Source
from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision

# One grey point: the smallest picture that a browser shows.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
WORDS = (
    "Who lit the lamp?",
    "The boat is late again.",
    "Nobody asked you to wait here all night, did they, Captain?",
    "",
)
BASE = Fraction(1001, 24000)


def random_film(
    shots: int = 90, seed: int = 0, *, acts: bool = True, timed: bool = True, words: bool = True, **decision: Any
) -> Segmentation:
    """Scenes, with acts, of a film at 23.976 frames a second, or of a text without times."""
    random = np.random.default_rng(seed)
    scores = np.where(random.random(shots) < 0.2, random.uniform(0.3, 1, shots), random.beta(0.5, 4, shots))
    ends = np.cumsum(random.integers(20, 900, shots)).astype(np.int64)
    times = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1) if timed else None
    clock = (times, BASE if timed else None)
    tracks = [Segmentation.from_scores("scene", scores.astype(np.float32), SceneDecision(**decision), *clock)]
    if acts:
        points = random.random((shots, 5)).astype(np.float32) * 1e-3
        points[(np.array([0.1, 0.25, 0.5, 0.75, 0.9]) * shots).astype(int), np.arange(5)] = 0.8
        tracks.append(Segmentation.from_scores("act", points, ActDecision(ordered=True), *clock))
    captions = tuple(WORDS[k] for k in random.integers(0, len(WORDS), shots)) if words else ()
    spans = np.sort(random.choice(int(ends[-1]), 2 * shots, replace=False)).reshape(-1, 2).astype(np.int64)
    source = Source(
        "lamp.mp4",
        1 / BASE if timed else None,
        "01:00:00:00" if timed else None,
        captions=captions,
        speech=spans[::3] if timed else np.zeros((0, 2), np.int64),
        loudness=random.uniform(-70, -10, shots).astype(np.float32) if timed else None,
    )
    return dataclasses.replace(joined(tracks), source=source)


def random_importance(result: Segmentation, seed: int = 0) -> Explanation:
    """Shares of three modalities for every shot."""
    shots = result.num_shots
    shares = np.random.default_rng(seed).dirichlet([2, 1, 1], shots).astype(np.float32)
    return Explanation(result, ("visual", "audio", "dialogue"), np.arange(shots), ("boundary",) * shots, shares)
