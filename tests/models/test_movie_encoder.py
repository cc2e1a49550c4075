"""Family movie_encoder: the torch twin's laws, every backend against it, streams, and configs that are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from shot_encoders import expected, film, movie_encoder
from support import random_checkpoint, small_config

torch = pytest.importorskip("torch")

from megaseg import Engine, models  # noqa: E402
from megaseg.engine.model.config import ModelConfig  # noqa: E402
from megaseg.errors import CheckpointError  # noqa: E402
from megaseg.models import movie_encoder as twin  # noqa: E402

LENGTHS = (1, 6, 7, 8, 23)  # of parts of 7 shots


@pytest.mark.parametrize("changes", [{}, {"num_layers": 0}, {"output_size": 1}], ids=str)
def test_state_dict_has_the_checkpoint_names_and_shapes(changes: dict[str, Any]) -> None:
    config = movie_encoder(**changes)
    model = models.MovieEncoder(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == config.tensor_shapes()
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_preset_is_the_papers() -> None:
    config = dataclasses.asdict(models.PRESETS["movie-encoder"])
    assert config | {"max_length": 1024, "modalities": config["modalities"]} == config
    assert models.PRESETS["movie-encoder"].modalities[0].feature_size == 512


@pytest.mark.parametrize("changes", [{}, {"num_layers": 0}, {"max_length": 100}], ids=str)
@pytest.mark.parametrize("names", ["video audio", "video"])
@pytest.mark.parametrize("passes", [True, False])
def test_graph_is_the_twin(changes: dict[str, Any], names: str, passes: bool) -> None:
    checkpoint = random_checkpoint(movie_encoder(names, **changes))
    engine = Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64", passes=passes)
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        want, found = expected(checkpoint, movie), engine.outputs(movie)
        assert found.keys() == want.keys() == {"embedding", "similarity"}
        for name, rows in found.items():
            assert np.abs(rows - want[name]).max() < 1e-9


def test_onnx() -> None:
    pytest.importorskip("onnxruntime")
    checkpoint = random_checkpoint(movie_encoder())
    engine = Engine.from_checkpoint(checkpoint, backend="onnx")
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        for name, want in expected(checkpoint, movie).items():
            assert np.abs(engine.outputs(movie)[name] - want).max() < 2e-5


def test_a_row_tells_of_no_other() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(movie_encoder()), compute_type="float32")
    movie = film(engine.config, 20)
    turned = {name: rows[::-1].copy() for name, rows in movie.items()}
    for name, rows in engine.outputs(movie).items():
        assert np.abs(engine.outputs(turned)[name][::-1] - rows).max() < 1e-6


def test_a_stream_gives_what_the_whole_movie_gives() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(movie_encoder()))
    movie, stream = film(engine.config, 30), engine.embed_stream()
    rows = [stream.push({name: own[begin : begin + 4] for name, own in movie.items()}) for begin in range(0, 30, 4)]
    assert np.array_equal(np.concatenate([*rows, stream.finish()]), engine.embed(movie))


def test_a_movies_vector_is_the_mean_of_its_shots() -> None:
    model = twin.from_checkpoint(random_checkpoint(movie_encoder()), torch.float64)
    movie = {name: torch.from_numpy(rows).double()[None] for name, rows in film(model.config, 5).items()}
    padded = {name: torch.cat([rows, torch.ones_like(rows[:, :2])], dim=1) for name, rows in movie.items()}
    there = torch.tensor([[True] * 5 + [False] * 2])
    mean = model(movie)["similarity"].mean(1)
    assert torch.allclose(model.vectors(movie), mean, atol=1e-12)
    assert torch.allclose(model.vectors(padded, there), mean, atol=1e-12)
    logit = twin.pair_logits(mean, 2 * mean, 3.0, -1.0)
    assert torch.allclose(logit, torch.tensor([2.0], dtype=torch.float64))


def test_trains_and_round_trips_through_a_checkpoint() -> None:
    torch.manual_seed(0)
    config = movie_encoder(dropout=0.0)
    model = models.MovieEncoder(config)
    movies = {name: torch.from_numpy(rows.reshape(6, 7, -1)) for name, rows in film(config, 42).items()}
    similar = torch.tensor([1.0, 0.0, 1.0])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        vectors = model.vectors(movies)
        logits = twin.pair_logits(vectors[:3], vectors[3:], 8.0, 0.0)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, similar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(weight.grad is not None for weight in model.parameters())
    copy = twin.from_checkpoint(twin.to_checkpoint(model))
    assert torch.equal(copy.vectors(movies), model.eval().vectors(movies))
    with pytest.raises(CheckpointError, match="expected a model of family movie_encoder, got one of mega"):
        twin.from_checkpoint(random_checkpoint(small_config()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "scene"}, "task must be embedding, got 'scene'"),
        ({"output_size": 0}, "output_size must be from 1"),
        ({"max_length": 0}, "max_length must be from 1"),
        ({"num_layers": 1000}, "num_layers must be from 0 to 256, got 1000"),
        ({"scale": 1e301}, "scale must be finite, got inf"),
        ({"offset": float("nan")}, "offset must be finite, got"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_configs_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"config: {message}"):
        ModelConfig.from_dict({**movie_encoder().to_dict(), **changes})
