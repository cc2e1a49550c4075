"""The device's executor on Triton's interpreter: full batches of the rewritten graph against the model in float64."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import DRAWINGS, checkpoint_of, results_of
from host import device
from shot_encoders import SCENE, Config, film, movie_encoder, scene_encoder
from shot_encoders import expected as of_twin
from support import explained, logits_of, odd_config, random_checkpoint, random_features, small_config
from toy import toy_checkpoint, toy_config, worst

from megaseg import Engine
from megaseg.engine.backends.cuda.backend import KEPT_SHAPES, CudaBackend
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.model.checkpoint import load_checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.models import from_checkpoint

# Rows of no sequence hold whatever memory held; the interpreter's NumPy says so where a GPU would not.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning")


def movies_of(config, *lengths):
    return [list(random_features(config, shots, shots).values()) for shots in lengths]


def expected(checkpoint, movies):
    return logits_of(TorchBackend(checkpoint, compute_type="float64", passes=()), movies)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("passes", [True, False])
def test_odd_models(seed: int, passes: bool) -> None:
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    movies = movies_of(config, 1, 4)
    backend = CudaBackend(
        checkpoint, compute_type="float32", passes=tuple(PASSES) if passes else (), batch=20, device=device()
    )
    for got, want in zip(logits_of(backend, movies), expected(checkpoint, movies), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["scene", "act"])
@pytest.mark.parametrize("compute_type", ["float16", "bfloat16"])
def test_half_types_err_no_more_than_twice_what_torch_does(task: str, compute_type: str) -> None:
    config = small_config(task, hidden_size=48)
    checkpoint = random_checkpoint(config, 3)
    movies = movies_of(config, 9, 2)
    want = np.concatenate(expected(checkpoint, movies))
    got = np.concatenate(logits_of(CudaBackend(checkpoint, compute_type=compute_type, device=device()), movies))
    model = from_checkpoint(checkpoint, getattr(torch, compute_type))
    written = []
    for movie in movies:
        n, length = len(movie[0]), config.max_length
        rows = np.arange(n)[None]
        if task == "scene":
            rows = (np.arange(n)[:, None] + np.arange(length) - length // 2).clip(0, n - 1)
        inputs = {
            m.name: torch.from_numpy(x[rows]).to(model.head.weight)
            for m, x in zip(config.modalities, movie, strict=True)
        }
        with torch.inference_mode():
            logits = model(inputs).float().numpy()
        written.append(logits[:, length // 2] if task == "scene" else logits[0])
    error = np.abs(got - want).max()
    assert 0 < error <= 2 * np.abs(np.concatenate(written) - want).max()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["scene", "act"])
def test_movies_of_any_lengths_in_batches_of_few_shapes(task: str) -> None:
    config = small_config(task)
    checkpoint = random_checkpoint(config)
    backend = CudaBackend(checkpoint, compute_type="float32", batch=20, device=device())
    movies = movies_of(config, 3, 10, 1, 5)
    want = expected(checkpoint, movies)
    for _ in range(2):
        for got, rows in zip(logits_of(backend, movies), want, strict=True):
            np.testing.assert_allclose(got, rows, rtol=0, atol=2e-5)
    slots = {id(slot) for slots in backend._slots.values() for slot in slots}
    logits_of(backend, movies)
    assert {id(slot) for slots in backend._slots.values() for slot in slots} == slots
    assert len(backend._slots) <= KEPT_SHAPES
    assert all(len(slots) <= 2 for slots in backend._slots.values())


@pytest.mark.slow
@pytest.mark.parametrize("passes", [tuple(PASSES), ()])
@pytest.mark.parametrize("task", ["scene", "embedding"])
def test_a_family_without_prefix_tokens(task: str, passes: tuple[str, ...]) -> None:
    checkpoint = toy_checkpoint(toy_config(task, 5 if task == "scene" else 60), 3)
    assert worst(CudaBackend(checkpoint, compute_type="float32", passes=passes, device=device()), checkpoint) < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("windowed", [True, False])
@pytest.mark.parametrize("drawing", DRAWINGS)
def test_graphs_of_no_family(drawing: str, windowed: bool) -> None:
    checkpoint = checkpoint_of(drawing, windowed)
    expected = results_of(TorchBackend(checkpoint, compute_type="float64", passes=()), checkpoint.config)
    backend = CudaBackend(checkpoint, compute_type="float32", device=device())
    for got, want in zip(results_of(backend, checkpoint.config), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("config", [scene_encoder(**SCENE), movie_encoder()], ids=lambda config: config.family)
def test_encoders_of_scenes_and_movies(config: Config) -> None:
    checkpoint = random_checkpoint(config)
    movies = [film(config, shots) for shots in (1, 7, 12)]
    engine = Engine(config, CudaBackend(checkpoint, compute_type="float32", batch=20, device=device()))
    for movie in movies:
        found = engine.outputs(movie)
        for name, want in of_twin(checkpoint, movie).items():
            np.testing.assert_allclose(found[name], want, rtol=0, atol=2e-5)


def test_a_second_stream_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"device 'cuda': expected .*, got token, token_place with rows"):
        CudaBackend(checkpoint_of("crossed", False), compute_type="float32", device=device())


def test_contributions_add_up_to_the_logits() -> None:
    config = small_config()
    checkpoint = random_checkpoint(config)
    (movie,) = movies_of(config, 5)
    logits, contributions = explained(CudaBackend(checkpoint, compute_type="float32", device=device()), movie)
    assert contributions.shape == (5, 2, 2)
    np.testing.assert_allclose(logits, contributions.sum(axis=1) + checkpoint.tensors["head.bias"], atol=1e-5)
    np.testing.assert_allclose(logits, expected(checkpoint, [movie])[0], atol=2e-5)


def test_behind_the_engine(tmp_path: Path) -> None:
    """From a file to scenes; arrays that may not be written are read all the same."""
    config = small_config()
    checkpoint, features = random_checkpoint(config), random_features(config, 5)
    np.savez(tmp_path / "movie.npz", **features)
    for array in features.values():
        array.flags.writeable = False
    engine = Engine(config, CudaBackend(checkpoint, compute_type="float32", device=device()))
    want = Engine.from_checkpoint(checkpoint, compute_type="float32").segment(features)
    for source in (features, tmp_path / "movie.npz"):
        result = engine.segment(source)
        np.testing.assert_allclose(result.scores, want.scores, atol=2e-5)
        assert np.array_equal(result.boundaries, want.boundaries)
    report = engine.describe()
    assert (report["backend"], report["compute_type"], report["passes"]) == ("torch", "float32", list(PASSES))
    assert report["weight_bytes"] > 4 * checkpoint.num_parameters  # tables as well


def test_a_forked_process_loads_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config()
    backend = CudaBackend(random_checkpoint(config), compute_type="float32", device=device())
    parent = os.getpid()
    monkeypatch.setattr("megaseg.engine.backends.cuda.backend.os.getpid", lambda: parent + 1)
    with pytest.raises(UnsupportedError, match="forked after the model was loaded"):
        logits_of(backend, movies_of(config, 2))


def test_threads_take_turns() -> None:
    config = small_config()
    checkpoint = random_checkpoint(config)
    backend = CudaBackend(checkpoint, compute_type="float32", batch=10, device=device())
    movies = movies_of(config, 2, 3, 4)
    want = expected(checkpoint, movies)
    got: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        got[index] = logits_of(backend, [movies[index]])[0]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(3):
        np.testing.assert_allclose(got[index], want[index], atol=2e-5)


@pytest.mark.parametrize("name", ["scene-small", "act-small"])
def test_vectors(name: str, shared) -> None:
    path = shared / "vectors" / f"{name}.safetensors"
    checkpoint = load_checkpoint(path)
    shots, whole = None, None
    if checkpoint.config.task == "scene":  # the interpreter is slow: the first windows that lie within 20 shots
        shots, whole = 20, 20 - checkpoint.config.max_length // 2
    with np.load(path.with_suffix(".npz")) as vector:
        features = [vector[f"features/{modality.name}"][:shots] for modality in checkpoint.config.modalities]
        want = vector["logits"][:whole]
    got = logits_of(CudaBackend(checkpoint, compute_type="float32", device=device()), [features])[0]
    assert np.abs(got[:whole] - want).max() <= 2e-5


def test_values_beyond_float16_are_an_error_and_no_answer() -> None:
    config = small_config()
    (movie,) = movies_of(config, 3)
    movie[0][1] = 1e5
    backend = CudaBackend(random_checkpoint(config), compute_type="float16", device=device())
    with pytest.raises(FeatureError, match=r"movie 0: .* got NaN or Inf in row 0: they overflow float16"):
        logits_of(backend, [movie])


def test_unsupported() -> None:
    checkpoint = random_checkpoint(small_config())
    with pytest.raises(
        UnsupportedError, match="compute_type 'int8': device 'cuda' supports bfloat16, float16, float32"
    ):
        Engine.from_checkpoint(checkpoint, device="cuda", compute_type="int8")
    if not torch.cuda.is_available():
        with pytest.raises(UnsupportedError, match="device 'cuda': torch sees no CUDA device here"):
            Engine.from_checkpoint(checkpoint, device="cuda")
