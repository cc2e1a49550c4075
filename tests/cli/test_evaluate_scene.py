"""``megaseg eval scene``: the compute type that scores, of checkpoints and of compiled models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import Run, random_checkpoint, random_features, small_config

from megaseg import Features, save_features
from megaseg.engine.model.checkpoint import save_checkpoint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A checkpoint, and two labelled movies."""
    save_checkpoint(tmp_path / "model.safetensors", random_checkpoint(small_config()))
    (tmp_path / "movies").mkdir()
    for seed in range(2):
        labels = (np.arange(30) % 7 == seed).astype(np.uint8)
        save_features(
            tmp_path / "movies" / f"{seed}.npz", Features(random_features(small_config(), 30, seed), labels=labels)
        )
    return tmp_path


def test_a_compiled_model_is_scored_in_its_own_type(run: Run, data: Path) -> None:
    compiled = data / "model.mseg"
    assert run("compile", data / "model.safetensors", "-o", compiled, "--compute-type", "int8_float32")[0] == 0
    own, same = (
        run("eval", "scene", data / "movies", "-c", model, *kind, "--json")
        for model, kind in ((compiled, ()), (data / "model.safetensors", ("--compute-type", "int8_float32")))
    )
    assert (own[0], own[2], same[0]) == (0, "", 0)
    assert {**json.loads(own[1]), "checkpoint": ""} == {**json.loads(same[1]), "checkpoint": ""}


def test_a_type_that_is_not_there_is_named_as_the_flag(run: Run, data: Path) -> None:
    given = ("eval", "scene", data / "movies", "-c", data / "model.safetensors", "--compute-type")
    code, _, err = run(*given, "int3")
    assert code == 2
    assert "--compute-type: expected one of auto, float32" in " ".join(err.split())


def test_another_type_of_a_compiled_model_needs_its_checkpoint(run: Run, data: Path) -> None:
    compiled = data / "model.mseg"
    assert run("compile", data / "model.safetensors", "-o", compiled, "--compute-type", "float32")[0] == 0
    code, _, err = run("eval", "scene", data / "movies", "-c", compiled, "--compute-type", "int8_checked")
    assert code == 2
    assert "expected one of auto, float32, got 'int8_checked'; for another load the checkpoint" in " ".join(err.split())
