"""Compiled models of every family: each target and type beside portable's float32, and the sample beside x86."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import TARGETS
from shot_encoders import SCENE, contextualizer, film, long_range, movie_encoder, scene_encoder
from support import Run, odd_config, random_checkpoint, random_features, small_config

from megaseg import _C, Engine
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.mega import MegaConfig

PACKAGE = Path(__file__).resolve().parents[2] / "python/megaseg"
# Of results near 1.
TOLERANCE = {"float32": 2e-5, "bfloat16": 5e-2, "int8": 1e-1, "int8_float32": 5e-2, "int8_bfloat16": 5e-2}
TYPES = [(target, kind) for target in TARGETS for kind in _C.compute_types(target)]
by_type = pytest.mark.parametrize(("target", "kind"), TYPES)
CONFIGS = {
    "scenes": small_config(max_length=7),
    "acts": small_config("act", max_length=90),
    "odd scenes": odd_config(3),
    "odd acts": odd_config(1),
    "contextualizer": contextualizer(**SCENE),
    "long_range": long_range(**SCENE),
    "scene_encoder": scene_encoder(**SCENE),
    "movie_encoder": movie_encoder(),
}


def compiled(folder: Path, checkpoint: Checkpoint, target: str, kind: str) -> Engine:
    path = folder / f"{target}.{kind}.mseg"
    if not path.exists():
        compile_checkpoint(checkpoint, path, compute_type=kind, target=target)
    engine = Engine.from_checkpoint(path, num_threads=2)
    assert engine.describe()["target"] == target
    return engine


def movies_of(config: ModelConfig) -> list[dict[str, np.ndarray]]:
    if isinstance(config, MegaConfig):
        most = 83 if config.task == "scene" else config.max_length
        return [random_features(config, shots) for shots in (1, min(19, most), most)]
    return [film(config, shots) for shots in (1, 19, 83)]


@pytest.mark.parametrize(("target", "kind"), [pair for pair in TYPES if pair != ("portable", "float32")])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_random_model(tmp_path: Path, name: str, target: str, kind: str) -> None:
    """Every output, and what is decided by them."""
    config = CONFIGS[name]
    checkpoint = random_checkpoint(config)
    portable, engine = (compiled(tmp_path, checkpoint, *of) for of in (("portable", "float32"), (target, kind)))
    for movie in movies_of(config):
        expected, got = portable.outputs(movie), engine.outputs(movie)
        assert expected.keys() == got.keys()
        for output, rows in expected.items():
            assert np.abs(got[output] - rows).max() <= TOLERANCE[kind] * max(1, np.abs(rows).max()), output
        if config.task != "embedding" and kind == "float32":
            mine, others = engine.segment(movie), portable.segment(movie)
            assert np.array_equal(mine.boundaries, others.boundaries)
            assert np.abs(mine.scores - others.scores).max() <= TOLERANCE[kind]


@pytest.fixture
def of_x86() -> dict[str, Any]:
    """``megaseg segment sample --json --compute-type float32`` on the machine that emulates."""
    if "MEGASEG_EXPECTED_SAMPLE" not in os.environ:
        pytest.skip("not run by tests/arm/run.sh")
    result: dict[str, Any] = json.loads(Path(os.environ["MEGASEG_EXPECTED_SAMPLE"]).read_text())
    return result


@by_type
def test_the_sample_begins_as_on_x86(tmp_path: Path, of_x86: dict[str, Any], target: str, kind: str) -> None:
    """Its first shots, of which the last see others than in the whole sample."""
    checkpoint = load_checkpoint(PACKAGE / "checkpoints/screenplay-scenes.safetensors")
    shots = 40
    with np.load(PACKAGE / "samples/sample.npz") as sample:
        movie = {m.name: sample[m.name][: shots + checkpoint.config.max_length] for m in checkpoint.config.modalities}
    got = compiled(tmp_path, checkpoint, target, kind).segment(movie)
    assert np.abs(got.scores[:shots] - of_x86["scores"][:shots]).max() <= TOLERANCE[kind]
    if kind == "float32":
        expected = [shot for shot in of_x86["boundaries"] if shot < shots]
        assert expected
        assert [shot for shot in got.boundaries if shot < shots] == expected


def test_segment_sample_is_that_of_x86(run: Run, of_x86: dict[str, Any]) -> None:
    """The whole of it, by the command line."""
    code, out, err = run("segment", "sample", "--json", "--compute-type", "float32")
    assert (code, err) == (0, "")
    got = json.loads(out)
    assert len(got["scenes"]) > 100
    bounds = [[(scene["first_shot"], scene["last_shot"]) for scene in result["scenes"]] for result in (got, of_x86)]
    assert bounds[0] == bounds[1]
    assert np.abs(np.subtract(got["scores"], of_x86["scores"])).max() <= TOLERANCE["float32"]
