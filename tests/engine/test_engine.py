"""The Engine's contract, the same for every backend that runs here."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import random_checkpoint, random_features, small_config
from toy import toy_checkpoint, toy_config, toy_features, toy_outputs

import megaseg
from megaseg import _C, Engine, Features, Segmentation, save_features
from megaseg.engine.live.scheduler import Scheduler
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.tasks.decoding import softmax, turning_points
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.act import predicted_scenes

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
BACKENDS = ["native", pytest.param("torch", marks=needs_torch), pytest.param("onnx", marks=needs_onnx)]
CONFIG = small_config(threshold=0.4)


def engine(backend: str = "native", **changes: Any) -> Engine:
    config = small_config(**{"threshold": 0.4, **changes})
    return Engine.from_checkpoint(random_checkpoint(config), backend=backend, compute_type="float32")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", ["scene", "act", "synopsis"])
@pytest.mark.parametrize("shots", [1, 2, 5, 23])
def test_logits_are_float32_one_row_a_shot(backend: str, task: str, shots: int) -> None:
    model = engine(backend, task=task, max_length=39 if task != "scene" else 5, num_classes=2)
    logits = model.logits(random_features(CONFIG, shots))
    assert logits.dtype == np.float32
    assert logits.shape == (shots, 2)
    assert np.isfinite(logits).all()


@needs_torch
@pytest.mark.parametrize("task", ["scene", "act"])
@pytest.mark.parametrize("shots", [1, 3, 31])
def test_backends_agree_with_the_float64_reference(task: str, shots: int) -> None:
    checkpoint = random_checkpoint(small_config(task, max_length=33))
    features = random_features(checkpoint.config, shots)
    exact = Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64").logits(features)
    for backend in ("native", "torch"):
        logits = Engine.from_checkpoint(checkpoint, backend=backend, compute_type="float32").logits(features)
        assert (np.abs(logits - exact) <= 2e-5 * np.maximum(1, np.abs(exact))).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_edge_shots_are_repeated(backend: str) -> None:
    features = random_features(CONFIG, 6)
    padded = {name: np.concatenate([array[:1]] * 2 + [array] + [array[-1:]] * 2) for name, array in features.items()}
    model = engine(backend)
    np.testing.assert_allclose(model.logits(features), model.logits(padded)[2:-2], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_segment_decides_on_the_softmax_of_the_logits(backend: str) -> None:
    model = engine(backend)
    features = random_features(CONFIG, 40)
    result = model.segment(features)
    scores = softmax(model.logits(features), axis=1)[:, 1]
    np.testing.assert_allclose(result.scores, scores, rtol=1e-6)
    assert result.decision.threshold == 0.4
    assert result.boundaries.tolist() == np.flatnonzero(scores[:-1] >= 0.4).tolist()
    assert model.segment(features, num_scenes=4).redecide(num_scenes=7).boundaries.size == 6
    assert len(model.segment(features, threshold=0.0, min_scene_length=10).scenes) == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_acts(backend: str) -> None:
    model = Engine.from_checkpoint(random_checkpoint(small_config("act")), backend=backend)
    result = model.segment(random_features(CONFIG, 30))
    shots = [point.shot for point in result.turning_points]
    assert shots == sorted(set(shots))
    assert len(shots) == 5
    np.testing.assert_allclose(result.scores.sum(axis=0), 1, rtol=1e-5)
    assert [act.first_shot for act in result.acts] == [0] + [shot + 1 for shot in shots]
    assert len(result.acts) == 6
    features = random_features(CONFIG, 30)
    apart = [point.shot for point in model.segment(features, ordered=False).turning_points]
    assert apart == model.logits(features).argmax(axis=0).tolist()
    short = model.segment(random_features(CONFIG, 5))
    assert not short.decision.ordered
    with pytest.raises(FeatureError, match="ordered: expected at least 6 shots"):
        model.segment(random_features(CONFIG, 5), ordered=True)


def test_features_from_a_mapping_a_file_and_themselves_agree(tmp_path: Path) -> None:
    model, arrays = engine(), random_features(CONFIG, 12)
    times = np.arange(24).reshape(12, 2)
    mapping = {**arrays, "times": times, "time_base": "1/24", "labels": np.zeros(12, int)}
    save_features(tmp_path / "movie.npz", Features.from_mapping(mapping))
    results = [model.segment(source) for source in (mapping, tmp_path / "movie.npz", Features.from_mapping(mapping))]
    assert results[0].to_json() == results[1].to_json() == results[2].to_json()
    assert json.loads(results[0].to_json())["scenes"][0]["start_seconds"] == 0.0


def test_describe_says_what_runs() -> None:
    report = engine().describe()
    assert report["backend"] == "native"
    assert report["device"] == "cpu"
    assert report["compute_type"] == "float32"
    assert report["target"] in _C.available_targets()
    assert report["num_threads"] >= 1
    assert report["weight_bytes"] > 0
    assert report["modalities"] == {"clip": 13, "audio": 7}
    json.dumps(report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device: expected one of auto, cpu, cuda, got 'tpu'"),
        ({"compute_type": "int3"}, "compute_type: expected one of .*float32.*, got 'int3'"),
        ({"compute_type": "float64"}, "compute_type 'float64': CPU target .* supports float32"),
        ({"backend": "jax"}, "backend: expected one of auto, native, torch, onnx, tensorrt, got 'jax'"),
        ({"device": "cuda", "backend": "native"}, "expected one of auto, cpu, got 'cuda'"),
        pytest.param({"device": "cuda"}, "device 'cuda': torch sees no CUDA device here", marks=needs_torch),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(options: dict[str, str], message: str) -> None:
    if options == {"device": "cuda"}:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
    with pytest.raises(UnsupportedError, match=message):
        Engine.from_checkpoint(random_checkpoint(CONFIG), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", ["scene", "act", "synopsis"])
def test_outputs_by_name(backend: str, task: str) -> None:
    model = engine(backend, task=task, max_length=5 if task == "scene" else 39)
    movie = random_features(CONFIG, 7)
    got = model.outputs(movie)
    assert list(got) == ["logits"]
    assert np.array_equal(got["logits"], model.logits(movie))
    both = model.outputs(movie, ["logits.parts", "logits"])
    assert list(both) == ["logits.parts", "logits"]
    assert both["logits.parts"].shape == (7, 2, model.config.num_classes)
    with pytest.raises(UnsupportedError, match="outputs: expected some of logits, logits.parts, got 'embedding'"):
        model.outputs(movie, ["embedding"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", ["scene", "embedding"])
def test_an_output_of_another_family_is_a_row_a_shot_or_one_in_all(backend: str, task: str) -> None:
    config = toy_config(task, 5 if task == "scene" else 60)
    checkpoint, movie = toy_checkpoint(config), toy_features(config, 8)
    model = Engine.from_checkpoint(checkpoint, backend=backend, compute_type="float32")
    got = model.outputs(movie)
    assert list(got) == ["logits", "embedding"]
    assert got["embedding"].shape == ((8, 7) if task == "scene" else (1, 7))
    for rows, expected in zip(got.values(), toy_outputs(checkpoint, movie), strict=True):
        np.testing.assert_allclose(rows, expected, atol=2e-5)
    with pytest.raises(UnsupportedError, match="outputs: expected some of logits, embedding, got 'logits.parts'"):
        model.outputs(movie, ["logits.parts"])
    if task == "embedding":
        with pytest.raises(UnsupportedError, match="segment: expected a scene or act model, got one of task embedding"):
            model.segment(movie)


def test_outputs_of_a_pooled_movie_have_a_row_a_shot() -> None:
    model = Engine.from_checkpoint(random_checkpoint(small_config("act")), overflow="pool")
    movie = random_features(CONFIG, 95)
    got = model.outputs(movie, ["logits", "logits.parts"])
    assert np.array_equal(got["logits"], model.logits(movie))
    assert got["logits.parts"].shape == (95, 2, 5)


@pytest.mark.parametrize(
    ("task", "option", "taken"),
    [
        ("scene", {"ordered": True}, "threshold, min_scene_length, num_scenes, locked, barred"),
        ("scene", {"ordered": False}, "threshold, min_scene_length, num_scenes, locked, barred"),
        ("act", {"threshold": 0.5}, "ordered"),
        ("act", {"min_scene_length": 1}, "ordered"),
        ("act", {"num_scenes": 3}, "ordered"),
    ],
)
def test_an_option_of_another_task_is_refused(task: str, option: dict[str, Any], taken: str) -> None:
    model = engine(task=task, max_length=5 if task == "scene" else 39)
    (name,) = option
    for call in (model.segment, model.explain, lambda movie, **given: model.segment_many([movie], **given)):
        with pytest.raises(FeatureError, match=rf"{name}: expected an option of task {task} \({taken}\), got"):
            call(random_features(CONFIG, 9), **option)


def test_a_keyword_of_no_task_is_refused_and_none_is_not_given() -> None:
    model, movie = engine(), random_features(CONFIG, 9)
    for call in (model.segment, model.explain, lambda movie, **given: model.segment_many([movie], **given)):
        with pytest.raises(TypeError, match="'treshold'"):
            call(movie, treshold=0.5)
    nothing = {"threshold": None, "min_scene_length": None, "num_scenes": None, "ordered": None}
    assert model.segment(movie, **nothing).to_json() == model.segment(movie).to_json()


@pytest.mark.parametrize(
    "movies", [None, 3, "sample", random_features(CONFIG, 3), Features(random_features(CONFIG, 3))]
)
def test_what_is_not_several_movies_is_refused(movies: Any) -> None:
    with pytest.raises(FeatureError, match=f"movies: expected .* got {type(movies).__name__}"):
        engine().segment_many(movies)


def test_a_synopsis_model_has_nothing_to_segment() -> None:
    model = engine(task="synopsis", num_classes=5)
    with pytest.raises(UnsupportedError, match="got one of task synopsis; use logits"):
        model.segment(random_features(CONFIG, 3))


def test_a_movie_longer_than_an_act_model(act_checkpoint: Path) -> None:
    with pytest.raises(FeatureError, match="the model takes up to 40 shots, got 41"):
        Engine.from_checkpoint(act_checkpoint).segment(random_features(CONFIG, 41))


@pytest.mark.parametrize("backend", BACKENDS)
def test_pooled_overflow_gives_each_shot_the_logits_of_its_group(backend: str) -> None:
    checkpoint = random_checkpoint(small_config("act"))
    model = Engine.from_checkpoint(checkpoint, backend=backend, compute_type="float32", overflow="pool")
    features = random_features(CONFIG, 95)  # of 40: groups of 3, the last of 2
    groups = [slice(begin, begin + 3) for begin in range(0, 95, 3)]
    pooled = {name: np.stack([array[g].mean(axis=0) for g in groups]) for name, array in features.items()}
    logits = model.logits(features)
    assert logits.shape == (95, 5)
    np.testing.assert_allclose(logits, model.logits(pooled).repeat(3, axis=0)[:95], atol=1e-5)
    points = [point.shot for point in model.segment(features, ordered=False).turning_points]
    assert points == [3 * point.shot for point in model.segment(pooled, ordered=False).turning_points]
    short = random_features(CONFIG, 40)
    exact = Engine.from_checkpoint(checkpoint, backend=backend, compute_type="float32").logits(short)
    assert np.array_equal(model.logits(short), exact)


@pytest.mark.parametrize("backend", BACKENDS[:2])  # ONNX Runtime's products may differ in the last bit with their rows
@pytest.mark.parametrize("task", ["scene", "act"])
def test_several_movies_at_once_are_each_segmented_as_alone(backend: str, task: str) -> None:
    model = engine(backend, task=task, max_length=39 if task == "act" else 5)
    movies = [random_features(CONFIG, shots, shots) for shots in (7, 1, 39, 12)]
    options: dict[str, Any] = {"threshold": 0.3} if task == "scene" else {"ordered": False}
    together = model.segment_many(movies, **options)
    assert [result.to_json() for result in together] == [model.segment(movie, **options).to_json() for movie in movies]


@pytest.mark.parametrize("task", ["scene", "act"])
def test_onnx_decides_on_several_movies_as_on_each_alone(task: str) -> None:
    """Its products may differ in the last bits with their rows, so that scores are close and decisions the same."""
    pytest.importorskip("onnxruntime")
    model = engine("onnx", task=task, max_length=39 if task == "act" else 5)
    movies = [random_features(CONFIG, shots, shots) for shots in (7, 1, 39, 12)]
    for together, movie in zip(model.segment_many(movies), movies, strict=True):
        alone = model.segment(movie)
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-6)
        assert together.boundaries.tolist() == alone.boundaries.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ordered", [False, True])
def test_saturated_acts_are_decided_on_logits_wherever_they_are_read(backend: str, ordered: bool) -> None:
    checkpoint = random_checkpoint(small_config("act"))
    tensors = {**checkpoint.tensors, "head.weight": checkpoint.tensors["head.weight"] * np.float32(1e4)}
    model = Engine.from_checkpoint(Checkpoint(checkpoint.config, tensors), backend=backend, compute_type="float32")
    movie = random_features(CONFIG, 30)
    result = model.segment(movie, ordered=ordered)
    assert (result.scores == 0).mean() > 0.8
    shots = [point.shot for point in result.turning_points]
    assert shots == turning_points(model.logits(movie), ordered=ordered).tolist()
    assert shots == predicted_scenes(model, {"a": Features(movie)}, ordered=ordered)["a"]
    back = Segmentation.from_json(result.to_json())
    assert back.redecide(ordered=not ordered).redecide(ordered=ordered).to_dict() == result.to_dict()


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), "0.5"])
@pytest.mark.parametrize("task", ["scene", "act"])
def test_a_threshold_that_is_no_probability_is_refused(task: str, threshold: float) -> None:
    model, movie = engine("native", task=task, max_length=39 if task == "act" else 5), random_features(CONFIG, 7)
    for decide in (model.segment, model.explain):
        with pytest.raises(FeatureError, match="threshold: expected"):
            decide(movie, threshold=threshold)
    with Scheduler(model) as scheduler, pytest.raises(FeatureError, match="threshold: expected"):
        scheduler.segment(movie, threshold=threshold)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "option",
    [
        *({"num_threads": value} for value in (-1, 1.5, 2**31, 2**70, None, True, "2", float("nan"))),
        *({"memory_limit": value} for value in (0, -1, 1.5e9, float("nan"), float("inf"), 2**70, True, "1 GB")),
        *({"passes": value} for value in (None, "all", 2)),
        *({name: value} for name in ("device", "compute_type", "backend", "overflow") for value in (None, 3, [])),
    ],
    ids=str,
)
def test_an_odd_option_is_named(backend: str, option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(UnsupportedError, match=f"{name}: expected"):
        Engine.from_checkpoint(random_checkpoint(CONFIG), **{"backend": backend, **option})


def test_numbers_of_numpy_are_numbers() -> None:
    options = {"num_threads": np.int32(1), "memory_limit": np.uint64(1 << 30), "passes": np.bool_(True)}
    model = Engine.from_checkpoint(random_checkpoint(CONFIG), backend="native", **options)
    assert model.describe()["num_threads"] == 1
    assert len(model.segment(random_features(CONFIG, 9), num_scenes=np.int64(3)).scenes) == 3


def test_the_public_names() -> None:
    assert all(hasattr(megaseg, name) for name in megaseg.__all__)
