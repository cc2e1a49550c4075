"""A small encoder of scenes, and movies of ten shots a scene, a second each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from shot_encoders import film, scene_encoder
from support import random_checkpoint

from megaseg import Checkpoint, save_checkpoint
from megaseg.search.describing import Describer

CONFIG = scene_encoder(max_length=9)


def checkpoint() -> Checkpoint:
    return random_checkpoint(CONFIG)


def describer(**options: Any) -> Describer:
    return Describer.from_checkpoint(checkpoint(), num_threads=1, **options)


def movie(shots: int, seed: int = 0, *, labels: bool = True) -> dict[str, Any]:
    ends = np.zeros(shots, np.uint8)
    ends[9::10] = 1
    ticks = np.arange(shots + 1) * 24
    times = {"times": np.stack([ticks[:-1], ticks[1:]], axis=1), "time_base": np.array([1, 24])}
    return {**film(CONFIG, shots, seed), **times, **({"labels": ends} if labels else {})}


def write_movies(folder: Path, count: int = 5) -> Path:
    """The encoder's file, and a folder of movies m0 to m4."""
    save_checkpoint(folder / "encoder.safetensors", checkpoint())
    (folder / "movies").mkdir()
    for number in range(count):
        np.savez(folder / "movies" / f"m{number}.npz", **movie(30 + 7 * number, number))
    return folder
