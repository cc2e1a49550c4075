"""The native engine against the reference model in float64: the issue's numbers, on every target, pass by pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import odd_config, random_checkpoint, random_features, small_config

from megaseg import _C
from megaseg.engine.backends.native import NativeBackend
from megaseg.engine.checkpoint import Checkpoint, load_checkpoint
from megaseg.engine.config import Modality, ModelConfig
from megaseg.errors import ResourceLimitError, UnsupportedError

TARGETS = _C.available_targets()
TOLERANCE = 2e-5  # of max(1, |logit|)
VECTORS = ("act-one-modality", "act-small", "scene-deep", "scene-small")
# Every pass alone beside those that it needs, none, and all.
PASS_SETS = {
    "none": (),
    "project_once": ("project_once",),
    "window_tables": ("project_once", "window_tables"),
    "centre_queries": ("centre_queries",),
    "folded_query": ("centre_queries", "folded_query"),
    "latent_queries": ("latent_queries",),
    "all": tuple(_C.PASSES),
}


def error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected))))


def reference(checkpoint: Checkpoint, features: list[np.ndarray]) -> np.ndarray:
    pytest.importorskip("torch", reason="the reference model is written in torch")
    from megaseg.engine.backends.torch import TorchBackend

    return TorchBackend(checkpoint, compute_type="float64").run(features)


def shot_counts(config: ModelConfig) -> list[int]:
    if config.task == "scene":
        return [1, 2, config.max_length, 70]  # 70: more than a chunk of windows
    return [1, 2, config.max_length // 2, config.max_length]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", VECTORS)
def test_reference_vectors(shared: Path, name: str, target: str) -> None:
    checkpoint = load_checkpoint(shared / "vectors" / f"{name}.safetensors")
    with np.load(shared / "vectors" / f"{name}.npz") as vector:
        features = [np.ascontiguousarray(vector[f"features/{m.name}"]) for m in checkpoint.config.modalities]
        expected = vector["logits"]
    for names in PASS_SETS.values():
        passes = sum(_C.PASSES[name] for name in names)
        plan = _C.Plan(checkpoint.config, checkpoint.tensors, target=target, passes=passes)
        assert error(plan.run(features), expected) < TOLERANCE, names


@pytest.mark.parametrize("seed", range(20))
def test_random_models_of_odd_sizes(seed: int) -> None:
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    for shots in shot_counts(config):
        features = list(random_features(config, shots, seed).values())
        expected = reference(checkpoint, features)
        for target in TARGETS:
            plan = _C.Plan(config, checkpoint.tensors, target=target)
            assert error(plan.run(features), expected) < TOLERANCE, (target, shots, config)


@pytest.mark.parametrize("passes", PASS_SETS)
@pytest.mark.parametrize("layers", [(0, 1), (1, 0), (1, 1), (2, 2)])
@pytest.mark.parametrize("task", ["scene", "act"])
def test_a_pass_never_changes_the_function(task: str, layers: tuple[int, int], passes: str) -> None:
    config = small_config(task, num_unimodal_layers=layers[0], num_fusion_layers=layers[1])
    checkpoint = random_checkpoint(config)
    features = list(random_features(config, 31).values())
    plan = _C.Plan(config, checkpoint.tensors, passes=sum(_C.PASSES[name] for name in PASS_SETS[passes]))
    assert error(plan.run(features), reference(checkpoint, features)) < TOLERANCE


def test_passes_are_really_switched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch that did nothing would pass every equality test; the tables show in the size of the weights."""
    checkpoint = random_checkpoint(small_config())
    with_passes, without = (NativeBackend(checkpoint, passes=on).describe()["weight_bytes"] for on in (True, False))
    assert with_passes > without


@pytest.mark.parametrize("task", ["scene", "act"])
def test_results_do_not_depend_on_threads_chunks_or_movie_length_before(task: str) -> None:
    config = small_config(task, max_length=5 if task == "scene" else 300)
    tensors = random_checkpoint(config).tensors
    features = list(random_features(config, 200).values())
    plan = _C.Plan(config, tensors, num_threads=1)
    expected = plan.run(features)
    for threads in (2, 3, 5):
        assert np.array_equal(_C.Plan(config, tensors, num_threads=threads).run(features), expected)
    short = [array[:3] for array in features]
    assert np.array_equal(plan.run(short), plan.run(short))
    assert np.array_equal(plan.run(features), expected)
    if task == "scene":
        limit = plan.weight_bytes + plan.workspace_bytes // 7
        chunked = _C.Plan(config, tensors, num_threads=1, memory_limit=limit)
        assert chunked.weight_bytes + chunked.workspace_bytes <= limit
        assert np.array_equal(chunked.run(features), expected)


@pytest.mark.parametrize("task", ["scene", "act"])
def test_a_limit_too_small_is_refused_with_what_would_do(task: str) -> None:
    checkpoint = random_checkpoint(small_config(task))
    with pytest.raises(ResourceLimitError, match=r"expected at least (\d+) bytes") as caught:
        NativeBackend(checkpoint, memory_limit=1000)
    enough = int(str(caught.value).split("at least ")[1].split()[0])
    described = NativeBackend(checkpoint, memory_limit=enough).describe()
    assert described["weight_bytes"] + described["workspace_bytes"] <= enough
    with pytest.raises(ResourceLimitError):
        NativeBackend(checkpoint, memory_limit=enough - 1)


@pytest.mark.parametrize(
    "options", [{"compute_type": "int3"}, {"num_threads": -1}, {"memory_limit": 0}], ids=lambda o: next(iter(o))
)
def test_unsupported_options_name_the_argument(options: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match=next(iter(options))):
        NativeBackend(random_checkpoint(small_config()), **options)  # type: ignore[arg-type]


def test_the_binding_itself_refuses_wrong_arrays() -> None:
    """Memory safety does not rest on the Python layers above."""
    config = small_config()
    plan = _C.Plan(config, random_checkpoint(config).tensors)
    good = list(random_features(config, 4).values())
    for bad in ([good[0]], [good[0], good[1][:3]], [good[0], good[1][:, :5]], [good[0][:0], good[1][:0]], []):
        with pytest.raises(ValueError, match="features"):
            plan.run(bad)
    with pytest.raises(TypeError):
        plan.run([good[0].astype(np.float64), good[1]])


def test_sizes_beyond_any_model_are_refused_before_a_tensor_is_read() -> None:
    modalities = tuple(Modality(f"m{i}", 1) for i in range(32))
    config = small_config(modalities=modalities, num_bottleneck=1 << 20)
    with pytest.raises(ResourceLimitError, match="tokens in a sequence"):
        _C.Plan(config, {})


def test_errors_of_the_tensor_source_come_through() -> None:
    config = small_config()
    tensors = dict(random_checkpoint(config).tensors)
    with pytest.raises(ValueError, match=r"head\.bias: expected 2 values, got 1"):
        _C.Plan(config, {**tensors, "head.bias": np.zeros(1, np.float32)})
    del tensors["head.bias"]
    with pytest.raises(KeyError, match=r"head\.bias"):
        _C.Plan(config, tensors)
