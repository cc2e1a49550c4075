"""Scene models of encoders of shots in the commands that any scene model has: segment, eval scene, compile, info."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shot_encoders import SCENE, Config, contextualizer, film, long_range, scene_encoder
from support import Run, random_checkpoint

from megaseg import Engine, Features, Segmentation, save_checkpoint, save_features


@pytest.mark.parametrize(
    "config", [contextualizer(**SCENE), long_range(**SCENE), scene_encoder(**SCENE)], ids=lambda config: config.family
)
def test_a_scene_model_as_any_other(run: Run, tmp_path: Path, config: Config) -> None:
    model, compiled = tmp_path / "model.safetensors", tmp_path / "model.mseg"
    save_checkpoint(model, random_checkpoint(config))
    (tmp_path / "films").mkdir()
    for shots in (5, 20):
        labels = (np.arange(shots) % 4 == 3).astype(np.uint8)
        features = Features.from_mapping({**film(config, shots), "labels": labels})
        save_features(tmp_path / "films" / f"{shots}.npz", features)
    code, out, err = run("eval", "scene", tmp_path / "films", "--checkpoint", model, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["shots"] == 25 - 2  # the last shot of a film is not scored
    assert run("compile", model, "-o", compiled, "--compute-type", "float32")[0] == 0
    long = tmp_path / "films" / "20.npz"
    for path in (model, compiled):
        code, out, _ = run("segment", long, "-c", path, "--compute-type", "float32", "-o", "-")
        assert code == 0
        expected = Engine.from_checkpoint(path, compute_type="float32").segment(long)
        assert np.array_equal(Segmentation.from_json(out).scores, expected.scores)
        assert f"{config.max_length}" in run("info", path)[1]


def test_an_encoder_has_no_scenes(run: Run, tmp_path: Path) -> None:
    config = contextualizer()
    save_checkpoint(tmp_path / "model.safetensors", random_checkpoint(config))
    save_features(tmp_path / "film.npz", Features.from_mapping(film(config, 5)))
    code, _, err = run("segment", tmp_path / "film.npz", "-c", tmp_path / "model.safetensors")
    assert code
    assert "expected a scene or act model, got one of task embedding" in err
    code, out, _ = run("compile", tmp_path / "model.safetensors", "-o", tmp_path / "model.mseg")
    assert code == 0
    assert "megaseg segment" not in out
