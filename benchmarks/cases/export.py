"""Every format of a two-hour film of 1,500 shots, from a result in memory: all to files, and each to memory."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, alternate, row_of
from megaseg.cli.delivery import File, write_files
from megaseg.engine.results.segmentation import Segmentation, joined
from megaseg.engine.results.source import Source
from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.export import Timeline, export, formats

SHOTS, SCENES, SECONDS, REPEATS = 1500, 120, 7200, 9
MUST = 200.0  # ms for all formats
BASE = Fraction(1, 90_000)


def run() -> list[Row]:
    result = film()
    with tempfile.TemporaryDirectory() as folder:
        files = [File(Path(folder) / f"film{one.suffix}", one) for one in formats()]
        all_files = f"all {len(files)}, written to files"
        subjects: dict[str, Callable[[], object]] = {all_files: lambda: write_files(Timeline.of(result), files)}
        subjects |= {one.name: partial(export, result, one.name) for one in formats()}
        measured = alternate(subjects, REPEATS)
    case = f"export: a film of {SHOTS} shots and {SCENES} scenes"
    return [
        row_of(
            case, subject, "ms", [1000 * value for value in seconds], **({"must": MUST} if subject is all_files else {})
        )
        for subject, seconds in measured.items()
    ]


def film() -> Segmentation:
    """A film with scenes, acts, first words, speech and loudness."""
    random = np.random.default_rng(0)
    cuts = np.sort(random.choice(SECONDS * 90_000, SHOTS - 1, replace=False))
    edges = np.r_[0, cuts, SECONDS * 90_000].astype(np.int64)
    times = np.column_stack([edges[:-1], edges[1:]])
    scene = SceneDecision(num_scenes=SCENES)
    scenes = Segmentation.from_scores("scene", random.random(SHOTS).astype(np.float32), scene, times, BASE)
    points = random.dirichlet(np.full(SHOTS, 0.1), 5).T.astype(np.float32)
    acts = Segmentation.from_scores("act", points, ActDecision(ordered=True), times, BASE)
    source = Source(
        "film.mp4",
        Fraction(24000, 1001),
        "01:00:00:00",
        (1920, 1080),
        tuple(f"Words of shot {shot}, the first that are said in it" for shot in range(SHOTS)),
        np.sort(random.choice(SECONDS * 90_000, 3000, replace=False)).astype(np.int64).reshape(-1, 2),
        random.uniform(-60, -10, SHOTS).astype(np.float32),
    )
    return dataclasses.replace(joined([scenes, acts]), source=source)
