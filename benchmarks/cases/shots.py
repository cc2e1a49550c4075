"""F1 of the shot detectors on drawn films with known edits, and frames a second of their measures."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.edits import EDITS, f1, write_film
from benchmarks.rows import Row, row_of
from megaseg.features import VideoExtractor
from megaseg.media.measures import CHROMA, LUMA, SmallFrames
from megaseg.media.shots import DETECTORS, shot_detector
from megaseg.media.video import Video

SHOTS, FILMS = 16, 2
TARGETS = {("transnetv2", "cut"): 0.99, ("transnetv2", "dissolve"): 0.9, ("transnetv2", "fade"): 0.9}


def run() -> list[Row]:
    return [*accuracy(), *speed()]


def accuracy() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for edit in EDITS:
            paths = [Path(folder) / f"{edit}{seed}.mp4" for seed in range(FILMS)]
            written = [write_film(path, edit, SHOTS, seed) for seed, path in enumerate(paths)]
            for name in DETECTORS:
                scores = []
                for path, edits in zip(paths, written, strict=True):
                    reading = VideoExtractor(detector=name, features=(), cache=Path(folder)).read(Video(edit, path))
                    scores.append(f1(reading.shots.frames[1:, 0], edits.transitions))
                target = {"must": TARGETS[name, edit]} if (name, edit) in TARGETS else {}
                case = f"shots: {FILMS} drawn films of {SHOTS} shots, {edit}s"
                rows.append(row_of(case, name, "F1 at 2 frames", scores, **target))
    return rows


def speed() -> list[Row]:
    rows = []
    random = np.random.default_rng(0)
    for name in DETECTORS:
        measure = shot_detector(name).measure.make()
        count = measure.step + 2 * measure.context
        luma = random.integers(16, 236, (count, *LUMA), np.uint8)
        frames = SmallFrames(luma, random.integers(16, 240, (count, 2, *CHROMA), np.uint8))
        measure.measure(frames)
        rates, used = [], []
        for _ in range(5):
            begin, cpu = time.perf_counter(), time.process_time()
            measure.measure(frames)
            rates.append(measure.step / (time.perf_counter() - begin))
            used.append(measure.step / (time.process_time() - cpu))
        facts = {"frames_per_cpu_s": round(float(np.median(used)), 1)}
        rows.append(row_of("shots: measuring small frames", name, "frames/s", rates, **facts))
    return rows
