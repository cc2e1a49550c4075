"""The native engine against the reference model in float64: the issue's numbers, on every target, pass by pass."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import logits_of, odd_config, random_checkpoint, random_features, small_config

from megaseg import _C
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.protocol import LOGITS, Backend, Excerpt
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import ResourceLimitError, UnsupportedError

TARGETS = _C.available_targets()
TOLERANCE = 2e-5  # of max(1, |logit|)
VECTORS = ("act-one-modality", "act-small", "scene-deep", "scene-small")


def error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected))))


def reference(checkpoint: Checkpoint, features: list[np.ndarray]) -> np.ndarray:
    return logits_of(TorchBackend(checkpoint, compute_type="float64", passes=()), [features])[0]


def native(checkpoint: Checkpoint, compute_type: str = "float32", **options: Any) -> NativeBackend:
    return NativeBackend.from_checkpoint(checkpoint, compute_type=compute_type, **options)


def sizes(backend: NativeBackend) -> tuple[int, int]:
    report = backend.describe()
    return report["weight_bytes"], report["workspace_bytes"]


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
    for passes in ((), tuple(PASSES)):
        assert error(logits_of(native(checkpoint, target=target, passes=passes), [features])[0], expected) < TOLERANCE


@pytest.mark.parametrize("seed", range(20))
def test_random_models_on_every_target(seed: int) -> None:
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    movies = [list(random_features(config, shots, seed).values()) for shots in shot_counts(config)]
    expected = [reference(checkpoint, movie) for movie in movies]
    for target in TARGETS:
        backend = native(checkpoint, target=target)
        for movie, own in zip(movies, expected, strict=True):
            assert error(logits_of(backend, [movie])[0], own) < TOLERANCE, (target, len(movie[0]))


@pytest.mark.parametrize("passes", [(), *[(name,) for name in PASSES], tuple(PASSES)], ids="+".join)
@pytest.mark.parametrize("task", ["scene", "act"])
def test_every_pass_by_itself(task: str, passes: tuple[str, ...]) -> None:
    config = small_config(task, num_unimodal_layers=2, num_fusion_layers=2)
    checkpoint = random_checkpoint(config)
    for shots in shot_counts(config):
        features = list(random_features(config, shots).values())
        assert (
            error(logits_of(native(checkpoint, passes=passes), [features])[0], reference(checkpoint, features))
            < TOLERANCE
        )


@pytest.mark.parametrize("seed", range(12))
def test_narrow_types_err_no_more_than_twice_a_naive_model(seed: int) -> None:
    """Against a bfloat16 model in torch; int8 has seven bits like it, and a scale per row to go with them.

    Weights in ten bits are promised to cost less than 1.5 times bfloat16.
    """
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    features = list(random_features(config, 30 if config.task == "scene" else config.max_length, seed).values())
    expected = reference(checkpoint, features)

    def rms(backend: Backend) -> float:
        return float(np.sqrt(np.mean((logits_of(backend, [features])[0] - expected) ** 2)))

    naive = rms(TorchBackend(checkpoint, compute_type="bfloat16", passes=()))
    for target in TARGETS:
        ways = ((), tuple(PASSES)) if target == _C.target() else (tuple(PASSES),)
        for kind, passes in itertools.product(set(_C.compute_types(target)) - {"float32"}, ways):
            found = rms(native(checkpoint, target=target, compute_type=kind, passes=passes))
            assert found < {"bfloat16": 2, "int8": 4}.get(kind, 1.5) * naive, (target, kind, passes)


@pytest.mark.parametrize("target", [target for target in TARGETS if "int8" in _C.compute_types(target)])
def test_wide_layers_of_windows_multiply_int8(target: str) -> None:
    """All but those that read features or make logits; results depend on neither threads nor how a movie is cut."""
    config = small_config(hidden_size=256, num_heads=4, ffn_size=300, modalities=(Modality("clip", 310),))
    checkpoint = random_checkpoint(config)
    features = list(random_features(config, 70).values())
    plan = native(checkpoint, target=target, compute_type="int8", num_threads=1)
    _, steps = plan.timed([Excerpt.whole(features)], (LOGITS,), cpu_time=True)
    linear = {(step["in_width"], step["out_width"], step["product"]) for step in steps if step["op"] == "linear"}
    assert {product for width, out, product in linear if width != 310 and out != 2} == {"int8"}
    assert "int8" not in {product for width, out, product in linear if width == 310 or out == 2}
    got, expected = logits_of(plan, [features])[0], reference(checkpoint, features)
    assert np.sqrt(np.mean((got - expected) ** 2)) < 0.02 * expected.std()
    other = native(checkpoint, target=target, compute_type="int8", num_threads=3)
    for shots in (1, 23):  # the first windows reach two shots on
        cut = logits_of(other, [[features[0][: shots + 2]]])
        assert np.array_equal(cut[0][:shots], got[:shots])


@pytest.mark.parametrize("compute_type", _C.compute_types())
@pytest.mark.parametrize("task", ["scene", "act"])
def test_results_do_not_depend_on_threads_chunks_or_movie_length_before(task: str, compute_type: str) -> None:
    config = small_config(task, max_length=5 if task == "scene" else 300)
    checkpoint = random_checkpoint(config)
    features = list(random_features(config, 200).values())
    plan = native(checkpoint, compute_type=compute_type, num_threads=1)
    expected = logits_of(plan, [features])[0]
    for threads in (2, 3, 5):
        other = native(checkpoint, compute_type=compute_type, num_threads=threads)
        assert np.array_equal(logits_of(other, [features])[0], expected)
    short = [array[:3] for array in features]
    assert np.array_equal(logits_of(plan, [short])[0], logits_of(plan, [short])[0])
    assert np.array_equal(logits_of(plan, [features])[0], expected)
    if task == "scene":
        limit = sizes(plan)[0] + sizes(plan)[1] // 2
        chunked = native(checkpoint, compute_type=compute_type, num_threads=1, memory_limit=limit)
        assert sum(sizes(chunked)) <= limit
        assert np.array_equal(logits_of(chunked, [features])[0], expected)


@pytest.mark.parametrize("task", ["scene", "act"])
def test_targets_agree_pairwise(task: str) -> None:
    checkpoint = random_checkpoint(small_config(task))
    features = list(random_features(checkpoint.config, 30).values())
    for kind in _C.compute_types():
        logits = {
            target: logits_of(native(checkpoint, target=target, compute_type=kind), [features])[0]
            for target in TARGETS
            if kind in _C.compute_types(target)
        }
        close = {"float32": 1e-5, "bfloat16": 2e-2, "int8": 5e-2}.get(kind, 2e-2)
        for a, b in itertools.combinations(logits, 2):
            assert np.abs(logits[a] - logits[b]).max() < close, (kind, a, b)


@pytest.mark.parametrize("task", ["scene", "act"])
def test_a_limit_too_small_is_refused_with_what_would_do(task: str) -> None:
    checkpoint = random_checkpoint(small_config(task))
    with pytest.raises(ResourceLimitError, match=r"expected at least (\d+) bytes") as caught:
        native(checkpoint, memory_limit=1000)
    enough = int(str(caught.value).split("at least ")[1].split()[0])
    assert sum(sizes(native(checkpoint, memory_limit=enough))) <= enough
    with pytest.raises(ResourceLimitError):
        native(checkpoint, memory_limit=enough - 1)


@pytest.mark.parametrize("compute_type", _C.compute_types())
@pytest.mark.parametrize("task", ["scene", "act"])
def test_movies_run_together_get_what_they_get_alone(task: str, compute_type: str) -> None:
    """Lengths that share chunks of windows, span several, and (act) fill batches to the brim."""
    config = small_config(task, max_length=5 if task == "scene" else 60)
    backend = native(random_checkpoint(config), compute_type=compute_type, num_threads=2)
    lengths = [1, 2, 60, 33, 3, 1, 1, 1, 59, 17, 60, 5, 4]
    movies = [list(random_features(config, n, seed).values()) for seed, n in enumerate(lengths)]
    together = logits_of(backend, movies)
    assert [len(logits) for logits in together] == lengths
    for movie, logits in zip(movies, together, strict=True):
        assert np.array_equal(logits_of(backend, [movie])[0], logits)
    assert logits_of(backend, []) == []


@pytest.mark.parametrize(
    "options", [{"compute_type": "int3"}, {"num_threads": -1}, {"memory_limit": 0}], ids=lambda o: next(iter(o))
)
def test_unsupported_options_name_the_argument(options: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match=next(iter(options))):
        native(random_checkpoint(small_config()), **options)  # type: ignore[arg-type]


def test_the_binding_itself_refuses_wrong_arrays(tmp_path: Path) -> None:
    """Memory safety does not rest on the Python layers above."""
    config = small_config()
    compile_checkpoint(random_checkpoint(config), tmp_path / "model.mseg")
    plan = _C.Plan(str(tmp_path / "model.mseg"))
    good = list(random_features(config, 4).values())
    for bad in ([good[0]], [good[0], good[1][:3]], [good[0], good[1][:, :5]], [good[0], good[1][0]], []):
        with pytest.raises(ValueError, match="features"):
            plan.run([(good, 0, 4, None), (bad, 0, 4, None)], ["logits"])
    with pytest.raises(TypeError):
        plan.run([([good[0].astype(np.float64), good[1]], 0, 4, None)], ["logits"])


def test_sizes_beyond_any_model_are_refused_before_a_tensor_is_read() -> None:
    modalities = tuple(Modality(f"m{i}", 1) for i in range(32))
    config = small_config(modalities=modalities, num_bottleneck=1 << 20)
    with pytest.raises(ResourceLimitError, match="tokens in a sequence"):
        native(Checkpoint(config, {}))


def test_errors_of_the_tensor_source_come_through() -> None:
    config = small_config()
    tensors = dict(random_checkpoint(config).tensors)
    del tensors["head.bias"]
    with pytest.raises(KeyError, match=r"head\.bias"):
        native(Checkpoint(config, tensors))
