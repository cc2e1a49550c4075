"""Encoders of shots of all families in the native backend, against their torch twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shot_encoders import SCENE, SIZES, Config, contextualizer, expected, film, long_range, movie_encoder, scene_encoder
from support import random_checkpoint

pytest.importorskip("torch")

from megaseg import Engine
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.extension import extension
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError

LENGTHS = (1, 6, 7, 8, 23)  # of a window of 7 shots: one shot, one less, whole, one more, many windows
TARGETS = extension().available_targets()
CONFIGS = [
    contextualizer(**SCENE),
    contextualizer("video", num_layers=0),
    long_range(**SCENE),
    long_range("video audio"),
    long_range("video language", **{**SCENE, "head_size": 0}),
    long_range(num_layers=0),
    scene_encoder(**SCENE),
    scene_encoder("video"),
    scene_encoder(max_length=1, num_layers=1),
    scene_encoder("video", num_layers=0),
    movie_encoder(),
    movie_encoder("video", num_layers=0),
]
TOLERANCE = 2e-5


def name_of(config: Config) -> str:
    return f"{config.family}-{'-'.join(m.name for m in config.modalities)}-{config.task}-{config.num_layers}"


def native(checkpoint: Checkpoint, compute_type: str = "float32", **options: Any) -> Engine:
    return Engine(checkpoint.config, NativeBackend.from_checkpoint(checkpoint, compute_type=compute_type, **options))


def odd_config(seed: int) -> Config:
    """A model of odd sizes; windows of up to 40 shots."""
    rng = np.random.default_rng(seed)
    heads, head_size = int(rng.integers(1, 4)), int(rng.choice([5, 16, 17, 32, 64]))
    length = int(rng.choice([1, 3, 16, 33, 40]))
    names = str(rng.choice(["video audio language", "video audio", "video language"]))
    sizes: dict[str, Any] = {"hidden_size": heads * head_size, "num_layers": int(rng.integers(1, 4))}
    if seed % 4 == 3:
        return movie_encoder(names, max_length=length, output_size=int(rng.integers(1, 40)), **sizes)
    sizes |= {"num_heads": heads, "ffn_size": int(rng.choice([1, 30, 65, 200])), **(SCENE if seed % 3 else {})}
    if seed % 4 == 2:
        return scene_encoder(names, max_length=length - 1 + length % 2, **sizes)
    make = (contextualizer, long_range)[seed % 4]
    return make(names, max_length=length, step=int(rng.integers(1, length + 1)), **sizes)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_every_target_and_length(config: Config) -> None:
    checkpoint = random_checkpoint(config)
    movies = [film(config, shots) for shots in LENGTHS]
    wanted = [expected(checkpoint, movie) for movie in movies]
    for target in TARGETS:
        for passes in ((), tuple(PASSES)):
            engine = native(checkpoint, target=target, passes=passes)
            for movie, want in zip(movies, wanted, strict=True):
                found = engine.outputs(movie)
                assert found.keys() == want.keys()
                for name, rows in want.items():
                    assert rows.shape == found[name].shape
                    assert np.abs(found[name] - rows).max() < TOLERANCE, (target, passes, name)


@pytest.mark.parametrize("seed", range(16))
def test_models_of_odd_sizes(seed: int) -> None:
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    movie = film(config, 2 * config.max_length + 3, tokens=90)
    want = expected(checkpoint, movie)
    for target in TARGETS:
        for name, rows in native(checkpoint, target=target).outputs(movie).items():
            assert np.abs(rows - want[name]).max() < TOLERANCE, (target, name)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("compute_type", ["bfloat16", "int8"])
def test_narrow_types_err_no_more_than_twice_a_naive_model(compute_type: str, seed: int) -> None:
    """Against a bfloat16 model in torch; int8 has seven bits like it, and a scale per row to go with them."""
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    movie = film(config, 40)
    exact, rounded = (
        Engine(config, TorchBackend(checkpoint, compute_type=kind, passes=())).outputs(movie)
        for kind in ("float64", "bfloat16")
    )
    most = 2 if compute_type == "bfloat16" else 4
    for target in TARGETS:
        if compute_type not in extension().compute_types(target):
            continue
        for name, rows in native(checkpoint, compute_type, target=target).outputs(movie).items():
            naive = np.sqrt(np.mean((rounded[name] - exact[name]) ** 2))
            assert np.sqrt(np.mean((rows - exact[name]) ** 2)) < most * naive, (target, name)


@pytest.mark.parametrize("compute_type", extension().compute_types())
@pytest.mark.parametrize("config", [contextualizer(**SCENE), long_range(**SCENE), scene_encoder(**SCENE)], ids=name_of)
def test_bits_do_not_depend_on_threads_or_on_movies_beside(config: Config, compute_type: str) -> None:
    checkpoint = random_checkpoint(config)
    sizes = zip((*LENGTHS, 3), (0, 9, 1, 4, 30, 2), strict=True)
    movies = [film(config, shots, tokens=tokens) for shots, tokens in sizes]
    engine = native(checkpoint, compute_type, num_threads=1)
    alone = [engine.outputs(movie) for movie in movies]
    for threads in (1, 3):
        other = native(checkpoint, compute_type, num_threads=threads)
        for rows, want in zip(other.embed_many(movies), alone, strict=True):
            assert np.array_equal(rows, want["embedding"])
        for movie, found in zip(movies, other.segment_many(movies), strict=True):
            assert np.array_equal(found.scores, engine.segment(movie).scores)


def test_a_wide_modality_beside_narrow_ones() -> None:
    sizes = dict(SIZES)
    config = long_range()
    modalities = tuple(type(m)(m.name, {"video": 300}.get(m.name, sizes[m.name])) for m in config.modalities)
    checkpoint = random_checkpoint(config.replaced(modalities=modalities))
    movie = film(checkpoint.config, 12)
    want = expected(checkpoint, movie)
    for name, rows in native(checkpoint).outputs(movie).items():
        assert np.abs(rows - want[name]).max() < TOLERANCE, name


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("config", [contextualizer(), long_range()], ids=name_of)
def test_what_overflows_is_named_by_movie_and_shots(config: Config, backend: str) -> None:
    engine = Engine.from_checkpoint(random_checkpoint(config), backend=backend, compute_type="float32")
    movies = [film(config, 8), film(config, 20)]
    movies[1]["video"][15] = 3e38
    with pytest.raises(FeatureError, match="features of movie 1, shots 9 to 15: expected values that give finite"):
        engine.embed_many(movies)
    with pytest.raises(FeatureError, match="features of movie 0, shots 9 to 15: expected"):
        engine.embed(movies[1])


@pytest.mark.parametrize("family", [contextualizer, long_range, scene_encoder])
def test_a_hidden_layer_does_not_hide_what_overflows(family: Any) -> None:
    config = family(task="scene", num_classes=2, head_size=8)
    movie = film(config, 12)
    movie["video"][5] = 3e38
    with pytest.raises(FeatureError, match="expected values that give finite logits"):
        native(random_checkpoint(config)).segment(movie)


def test_weights_that_two_chains_read_are_there_once(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(long_range(hidden_size=128, ffn_size=256, num_heads=4))
    for passes in ((), tuple(PASSES)):
        compile_checkpoint(checkpoint, tmp_path / "model.mseg", compute_type="float32", passes=passes)
        engine = Engine.from_checkpoint(tmp_path / "model.mseg")
        assert engine.describe()["weight_bytes"] < 1.1 * 4 * checkpoint.num_parameters  # both copies: 1.4
