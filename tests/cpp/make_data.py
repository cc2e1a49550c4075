"""Writes tests/cpp/data: a small compiled model for target portable, features, their logits and their scenes.

PYTHONPATH=tests python tests/cpp/make_data.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.engine.backends.native.artefact import compile_checkpoint

SHOTS = 23


def write(folder: Path) -> None:
    config = small_config(hidden_size=12, num_heads=2, ffn_size=10, threshold=0.45)
    compile_checkpoint(random_checkpoint(config), folder / "scene.mseg", compute_type="float32", target="portable")
    features = random_features(config, SHOTS)
    for name, array in features.items():
        np.save(folder / f"{name}.npy", array)
    engine = Engine.from_checkpoint(folder / "scene.mseg")
    np.save(folder / "logits.npy", engine.logits(features))
    scenes = engine.segment(features).scenes
    (folder / "scenes.txt").write_text("".join(f"{scene.first_shot} {scene.last_shot}\n" for scene in scenes))


if __name__ == "__main__":
    write(Path(__file__).parent / "data")
