"""``megaseg profile``: a table for people, JSON for programs, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import Run, random_checkpoint, random_features, small_config

from megaseg import _C, Features, save_features
from megaseg.engine.model.checkpoint import save_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", random_checkpoint(small_config()))
    return tmp_path / "model.safetensors"


def test_a_table_by_op_and_by_step(run: Run, checkpoint: Path) -> None:
    code, out, _ = run("profile", checkpoint, "--shots", 70, "--repeats", 2, "--compute-type", "float32")
    assert code == 0
    for told in ("ceilings: products float32", "70 shots in", "of ceiling", "linear", "between steps", "float32 24 ->"):
        assert told in out


def test_json_of_a_feature_file(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    save_features(tmp_path / "movie.npz", Features(random_features(small_config(), 9)))
    code, out, _ = run("profile", checkpoint, tmp_path / "movie.npz", "--cpu-time", "--repeats", 1, "--json")
    report = json.loads(out)
    assert (code, report["shots"], report["cpu_time"]) == (0, 9, True)
    assert report["seconds"] > 0
    assert report["target"]
    assert report["ceilings"]["products"]["float32"] > 0
    assert {"op", "what", "rows", "calls", "seconds", "least", "operations", "bytes"} == set(report["steps"][0])


def test_a_missing_model_is_named(run: Run, tmp_path: Path) -> None:
    code, _, err = run("profile", tmp_path / "none.safetensors")
    assert code == 2
    assert "none.safetensors" in err


def test_random_shots_are_no_more_than_an_act_model_takes(run: Run, tmp_path: Path) -> None:
    save_checkpoint(path := tmp_path / "act.safetensors", random_checkpoint(small_config("act")))
    code, out, err = run("profile", path, "--repeats", 1, "--compute-type", "float32", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["shots"] == 40
    code, _, err = run("profile", path, "--shots", 41)
    assert code == 2
    assert "--shots: expected at most 40" in err
    code, _, err = run("profile", path, "--shots", 10**12)
    assert code == 2
    assert "--shots" in err


def test_a_movie_longer_than_an_act_model_takes_is_pooled_on_request(run: Run, tmp_path: Path) -> None:
    save_checkpoint(path := tmp_path / "act.safetensors", random_checkpoint(small_config("act")))
    save_features(movie := tmp_path / "movie.npz", Features(random_features(small_config("act"), 70)))
    code, _, err = run("profile", path, movie)
    assert code == 2
    assert "up to 40 shots, got 70; --overflow pool" in " ".join(err.split())
    code, out, _ = run("profile", path, movie, "--overflow", "pool", "--repeats", 1, "--json")
    assert (code, json.loads(out)["shots"]) == (0, 70)


def test_a_number_of_shots_beside_features_is_refused(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    save_features(tmp_path / "movie.npz", Features(random_features(small_config(), 9)))
    code, _, err = run("profile", checkpoint, tmp_path / "movie.npz", "--shots", 5)
    assert code == 2
    assert "--shots" in err
    assert "movie.npz" in err


@pytest.mark.skipif("int8" not in _C.compute_types(), reason="no int8 products here")
def test_several_compiled_models_are_refused(run: Run, checkpoint: Path) -> None:
    code, _, err = run("profile", checkpoint, "--compute-type", "int8_checked")
    assert code == 2
    assert "the several of int8_checked" in err


def test_another_backend_is_named(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert run("compile", checkpoint, "-o", tmp_path / "model.onnx", "--target", "onnx")[0] == 0
    code, _, err = run("profile", tmp_path / "model.onnx")
    assert code == 2
    assert "expected a checkpoint or a .mseg file" in err
    assert "backend onnx" in err
