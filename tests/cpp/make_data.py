"""Writes tests/cpp/data: a small compiled model for target portable, features, and the logits that it must give.

PYTHONPATH=tests python tests/cpp/make_data.py
"""

from __future__ import annotations

from pathlib import Path

from support import random_checkpoint, random_features, small_config

from megaseg.engine.artefact import compile_checkpoint
from megaseg.engine.backends.native import NativeBackend

SHOTS = 23


def write(folder: Path) -> None:
    config = small_config(hidden_size=12, num_heads=2, ffn_size=10, threshold=0.45)
    compile_checkpoint(random_checkpoint(config), folder / "scene.mseg", compute_type="float32", target="portable")
    features = list(random_features(config, SHOTS).values())
    for array, name in zip(features, ("clip", "audio"), strict=True):
        array.tofile(folder / f"{name}.f32")
    NativeBackend(folder / "scene.mseg").run(features).tofile(folder / "logits.f32")


if __name__ == "__main__":
    write(Path(__file__).parent / "data")
