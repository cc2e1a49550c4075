"""The contract of every backend, with a model that has nothing of MEGA's (tests/toy.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import ToyConfig, toy_checkpoint, toy_config, toy_features, worst

from megaseg import Engine, load_checkpoint, save_checkpoint
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.extension import extension
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import CheckpointError, FeatureError

TASKS = ("scene", "embedding")


def config_of(task: str) -> ToyConfig:
    return toy_config(task, 5 if task == "scene" else 60)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("passes", [True, False])
def test_torch_is_the_reference(task: str, passes: bool) -> None:
    pytest.importorskip("torch")
    checkpoint = toy_checkpoint(config_of(task))
    for compute_type, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        engine = Engine.from_checkpoint(checkpoint, backend="torch", compute_type=compute_type, passes=passes)
        assert worst(engine.backend, checkpoint) < tolerance


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("target", extension().available_targets())
def test_native_on_every_target(task: str, passes: bool, target: str) -> None:
    checkpoint = toy_checkpoint(config_of(task), 1)
    tolerances = {"float32": 2e-5, "bfloat16": 0.05, "int8": 0.1, "int8_float32": 0.05, "int8_bfloat16": 0.05}
    for compute_type in extension().compute_types(target):
        options: dict[str, Any] = {"compute_type": compute_type, "target": target}
        if not passes:
            options["passes"] = ()
        assert worst(NativeBackend.from_checkpoint(checkpoint, **options), checkpoint) < tolerances[compute_type]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("passes", [True, False])
def test_onnx(task: str, passes: bool) -> None:
    pytest.importorskip("onnxruntime")
    checkpoint = toy_checkpoint(config_of(task), 2)
    engine = Engine.from_checkpoint(checkpoint, backend="onnx", passes=passes)
    assert worst(engine.backend, checkpoint) < 2e-5


def test_a_stream_is_the_whole_movie() -> None:
    checkpoint = toy_checkpoint(toy_config())
    engine = Engine.from_checkpoint(checkpoint)
    movie = toy_features(checkpoint.config, 23)
    stream, events = engine.stream(), []
    for begin in range(0, 23, 4):
        events += stream.push({name: rows[begin : begin + 4] for name, rows in movie.items()})
    events += stream.close()
    scores = engine.segment(movie).scores
    assert [event.score for event in events] == scores.tolist()


def test_files_carry_the_family(tmp_path: Path) -> None:
    config = toy_config()
    save_checkpoint(tmp_path / "toy.safetensors", toy_checkpoint(config))
    loaded = load_checkpoint(tmp_path / "toy.safetensors")
    assert loaded.config == config
    movie = toy_features(config, 9)
    first, again = (Engine.from_checkpoint(tmp_path / "toy.safetensors") for _ in range(2))  # compiled, then kept
    assert np.array_equal(first.logits(movie), again.logits(movie))


def test_an_unknown_family_is_refused() -> None:
    values = {**toy_config().to_dict(), "family": "nobody"}
    with pytest.raises(CheckpointError, match=r"family must be one of .*mega, .*toy.*, got 'nobody'"):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize("backend", ["native", "torch", "onnx"])
def test_an_id_without_a_row_is_refused(backend: str) -> None:
    config = toy_config()
    movie = toy_features(config, 6)
    movie["place"][4] = config.num_ids
    with pytest.raises(FeatureError, match="place|id"):
        Engine.from_checkpoint(toy_checkpoint(config), backend=backend).logits(movie)
