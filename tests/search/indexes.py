"""Small indexes for tests: titles of random unit vectors, and what every search must give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from megaseg.search.manifest import Manifest
from megaseg.search.writer import IndexWriter, TitleScenes, table

WIDTH = 12
NEW = Manifest("e" * 64, "encoder.safetensors", WIDTH)


def title(count: int, seed: int, *, timed: bool = True) -> TitleScenes:
    """Scenes of three shots each, half a second a shot."""
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    firsts = 3 * np.arange(count)
    shots = np.stack([firsts, firsts + 2], axis=1)
    ticks = np.stack([12 * firsts, 12 * (firsts + 3)], axis=1) if timed else None
    return TitleScenes(vectors, table(shots, ticks), 3 * count, "1/24" if timed else "", "labels")


def titles(count: int, scenes: int = 20, first: int = 0) -> dict[str, TitleScenes]:
    return {f"film{number}": title(scenes + number % 7, number) for number in range(first, first + count)}


def write(folder: Path, films: Mapping[str, TitleScenes]) -> None:
    with IndexWriter.opened(folder, NEW) as writer:
        for name, own in films.items():
            writer.add(name, own, source=f"/films/{name}.mp4", content=name)


def oracle(films: Mapping[str, TitleScenes], vector: np.ndarray, without: str = "") -> list[tuple[str, int, float]]:
    """Title, number of the scene and distance of every scene, nearest first, in float64."""
    found = [
        (float(np.linalg.norm(row.astype(np.float64) - vector)), name, number)
        for name, own in films.items()
        if name != without
        for number, row in enumerate(own.vectors, 1)
    ]
    return [(name, number, distance) for distance, name, number in sorted(found)]
