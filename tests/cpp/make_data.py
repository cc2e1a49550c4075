"""Writes tests/cpp/data: small compiled models for target portable, features, their logits and their scenes.

PYTHONPATH=tests:tests/engine/backends/native python tests/cpp/make_data.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from programs import Program
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
    write_other(folder)
    (folder / "scenes.txt").write_text("".join(f"{scene.first_shot} {scene.last_shot}\n" for scene in scenes))


def write_other(folder: Path) -> None:
    """A model of none of the library's tasks: rows of a table by ids, and their mean."""
    program = Program((1, 40, 0))
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    ids = program.features("ids", 1, "int32")
    rows = program.step("gather", program.value("latents", 2), [ids], (), [table])
    program.output("embedding", program.step("pool", program.value("sequences", 2), [rows], [0, 1]))
    program.output("rows", rows)
    program.write(folder / "other.mseg")


if __name__ == "__main__":
    write(Path(__file__).parent / "data")
