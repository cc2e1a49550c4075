"""Modality importance: the supplementary's formula on an independent model, in every backend, from one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import explained, odd_config, random_checkpoint, random_features, small_config

from megaseg import _C, Engine
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.results.explanation import importance
from megaseg.errors import FeatureError, UnsupportedError

TASKS = ("scene", "act")


def contributions(checkpoint: Checkpoint, features: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and W_head[k, (m, c)] a_m,c summed over c, in float64 from the trainable model's rows before its head."""
    torch = pytest.importorskip("torch")
    from megaseg.models import from_checkpoint

    config = checkpoint.config
    shots = len(next(iter(features.values())))
    windows = np.arange(shots)[None]
    if config.task == "scene":
        offsets = np.arange(config.max_length) - config.max_length // 2
        windows = (np.arange(shots)[:, None] + offsets).clip(0, shots - 1)
    model = from_checkpoint(checkpoint, torch.float64)
    with torch.inference_mode():
        rows = model.fused({name: torch.from_numpy(x[windows]).double() for name, x in features.items()}).numpy()
    rows = (rows[:, config.max_length // 2] if config.task == "scene" else rows[0]).reshape(
        shots, len(config.modalities), -1
    )
    weight = checkpoint.tensors["head.weight"].astype(float).reshape(config.num_classes, *rows.shape[1:])
    parts = np.einsum("smc,kmc->smk", rows, weight)
    return parts.sum(axis=1) + checkpoint.tensors["head.bias"], parts


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("task", TASKS)
def test_importance_is_the_formula_of_the_supplementary(task: str, backend: str) -> None:
    checkpoint = random_checkpoint(small_config(task))
    features = random_features(checkpoint.config, 30)
    logits, parts = contributions(checkpoint, features)
    engine = Engine.from_checkpoint(checkpoint, backend=backend, compute_type="float32")
    got = engine.explain(features, **({} if task == "scene" else {"ordered": False}))
    if task == "scene":
        shots, classes = np.arange(30), logits.argmax(axis=1)
        assert got.names == tuple(("no boundary", "boundary")[k] for k in classes)
        assert 0 < classes.sum() < 30
    else:
        shots, classes = logits.argmax(axis=0), np.arange(5)
        assert got.names[0] == "opportunity"
    gates = np.maximum(parts[shots, :, classes], 0)
    total = gates.sum(axis=1, keepdims=True)
    expected = np.divide(gates, total, out=np.zeros_like(gates), where=total > 0)
    assert got.shots.tolist() == shots.tolist()
    assert got.modalities == ("clip", "audio")
    assert got.importance.dtype == np.float32
    np.testing.assert_allclose(got.importance, expected, atol=2e-4)
    np.testing.assert_allclose(got.importance.sum(axis=1), (total > 0)[:, 0], atol=1e-6)


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("seed", range(9))
def test_contributions_and_bias_make_the_logits_in_every_type(seed: int, passes: bool) -> None:
    """Over more than a chunk of windows; the logits are those of a run that does not hand out contributions."""
    checkpoint = random_checkpoint(odd_config(seed), seed)
    features = random_features(checkpoint.config, 150 if checkpoint.config.task == "scene" else 20, seed)
    _, parts = contributions(checkpoint, features)
    for compute_type in _C.compute_types():
        engine = Engine.from_checkpoint(checkpoint, compute_type=compute_type, passes=passes)
        logits, got = explained(engine.backend, list(features.values()))
        assert got.shape == parts.shape
        assert np.array_equal(logits, engine.logits(features))
        np.testing.assert_allclose(got.sum(axis=1) + checkpoint.tensors["head.bias"], logits, atol=1e-5)
        if compute_type == "float32":
            np.testing.assert_allclose(got, parts, atol=3e-5)


def one_sided(checkpoint: Checkpoint, sign: float) -> Checkpoint:
    """A head in which only the modality ``clip`` has weights, and pulls every class one way."""
    tensors = dict(checkpoint.tensors)
    size = checkpoint.config.hidden_size
    tensors["modalities.clip.fusion.0.norm2.weight"] = np.zeros(size, np.float32)
    tensors["modalities.clip.fusion.0.norm2.bias"] = np.ones(size, np.float32)
    head = np.zeros_like(tensors["head.weight"])
    head[:, :size] = sign
    tensors["head.weight"] = head
    return Checkpoint(checkpoint.config, tensors)


@pytest.mark.parametrize("task", TASKS)
def test_no_modality_speaks_for_a_class_gives_zeros_and_never_nan(task: str) -> None:
    checkpoint = random_checkpoint(small_config(task))
    features = random_features(checkpoint.config, 12)
    for sign, expected in ((1.0, [1, 0]), (-1.0, [0, 0])):
        got = Engine.from_checkpoint(one_sided(checkpoint, sign)).explain(features)
        assert got.importance.tolist() == [expected] * len(got.shots)


def test_shares_of_the_positive_contributions() -> None:
    given = np.array([[1, 3, -5], [-1, -2, 0], [0, 0, 2], [1e-45, 0, 0]], np.float32)
    expected = [[0.25, 0.75, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert importance(given).tolist() == expected


@pytest.mark.parametrize("task", TASKS)
def test_it_is_the_segmentation_of_segment_and_one_run(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config(task)), compute_type="float32")
    features = {**random_features(engine.config, 25), "times": np.arange(50).reshape(25, 2), "time_base": "1/24"}
    decision: dict[str, Any] = {"num_scenes": 4} if task == "scene" else {"ordered": True}
    expected = engine.segment(features, **decision)
    runs, run = [], engine.backend.run
    monkeypatch.setattr(engine.backend, "run", lambda *given: runs.append(given) or run(*given))
    got = engine.explain(features, **decision)
    assert len(runs) == 1
    assert got.segmentation.to_json() == expected.to_json()
    if task == "act":
        assert got.shots.tolist() == [point.shot for point in expected.turning_points]
    with pytest.raises(FeatureError, match="num_scenes" if task == "scene" else "threshold"):
        engine.explain(features, **({"num_scenes": 99} if task == "scene" else {"threshold": "high"}))


def test_a_compiled_model_explains_as_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(small_config())
    compile_checkpoint(checkpoint, tmp_path / "model.mseg", compute_type="float32")
    features = random_features(checkpoint.config, 20)
    direct = Engine.from_checkpoint(checkpoint, compute_type="float32").explain(features)
    compiled = Engine.from_checkpoint(tmp_path / "model.mseg").explain(features)
    assert compiled.to_json() == direct.to_json()


def test_pooled_overflow_gives_a_decision_its_groups_importance() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config("act")), compute_type="float32", overflow="pool")
    features = random_features(engine.config, 95)  # of 40: groups of 3
    pooled = {
        name: np.stack([array[begin : begin + 3].mean(axis=0) for begin in range(0, 95, 3)])
        for name, array in features.items()
    }
    got, expected = (engine.explain(x, ordered=False) for x in (features, pooled))
    assert got.shots.tolist() == (3 * expected.shots).tolist()
    np.testing.assert_allclose(got.importance, expected.importance, atol=1e-4)
    assert got.segmentation.num_shots == 95


@pytest.mark.parametrize("task", TASKS)
def test_json_names_every_decision(task: str) -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config(task)))
    got = engine.explain(random_features(engine.config, 8))
    values = json.loads(got.to_json(indent=1))
    assert values == got.to_dict()
    assert values["schema"] == "megaseg.explanation/1"
    assert values["modalities"] == ["clip", "audio"]
    assert values["segmentation"]["schema"] == "megaseg.segmentation/3"
    assert len(values["decisions"]) == (8 if task == "scene" else 5)
    first = values["decisions"][0]
    assert (first["name"], first["shot"]) == (got.names[0], got.shots[0])
    assert list(first["importance"].values()) == got.importance[0].tolist()


def test_a_synopsis_model_decides_nothing() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config("synopsis")))
    with pytest.raises(UnsupportedError, match="explain: expected a scene or act model"):
        engine.explain(random_features(engine.config, 3))


def test_the_binding_refuses_wrong_arrays(tmp_path: Path) -> None:
    config = small_config()
    compile_checkpoint(random_checkpoint(config), tmp_path / "model.mseg")
    plan = _C.Plan(str(tmp_path / "model.mseg"))
    good = list(random_features(config, 4).values())
    for bad in ([good[0]], [good[0], good[1][:3]], []):
        with pytest.raises(ValueError, match="features"):
            plan.run([(bad, 0, 4, None)], ["logits", "logits.parts"])
