"""Films joined for an encoder, and the sequences that are cut of them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from shot_encoders import contextualizer, expected, film, long_range, movie_encoder, scene_encoder

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.encoder import checkpoint_of as made_of
from megaseg.training.recipes.head.encoder import encoder_of, layout_of, new_encoder
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples
from megaseg.training.recipes.head.windows import (
    all_shots,
    drawn_windows,
    marked_shots,
    means_of_films,
    neighbours,
    whole_films,
)

CONFIGS = [
    contextualizer(),
    long_range(),
    long_range("video language"),
    long_range("video audio"),
    scene_encoder(),
    scene_encoder(max_length=1),
    movie_encoder(),
]
LENGTHS = (1, 7, 8, 23, 130)  # the last of several sequences of centred windows, too


def checkpoint_of(config) -> Checkpoint:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    return made_of(new_encoder(config, 0.02).eval())


def drawing(length: int = 7, *, training: bool = False, **config: int) -> Drawing:
    return Drawing(HeadConfig(**config), length, 3, np.random.default_rng(0), training, False)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda own: f"{own.family}-{len(own.modalities)}")
def test_every_shot_is_embedded_as_the_twin_does(config) -> None:  # type: ignore[no-untyped-def]
    checkpoint = checkpoint_of(config)
    movies = {f"film-{n}": film(config, n) for n in LENGTHS}
    films = Films.of({name: Features.from_mapping(movie) for name, movie in movies.items()}, config)
    network, layout = encoder_of(checkpoint), layout_of(config)
    cut = dataclasses.replace(drawing(), length=layout[0], step=layout[1])
    own = np.concatenate([expected(checkpoint, movie)["embedding"] for movie in movies.values()])
    shots = all_shots(films, cut, torch.arange(sum(LENGTHS)))
    with torch.no_grad():
        rows, numbers = marked_shots(network.embed(films, shots.rows), shots)
        clips = whole_films(films, cut, torch.arange(len(LENGTHS)))
        means, _ = means_of_films(network.embed(films, clips.rows), clips)
    assert numbers.tolist() == list(range(sum(LENGTHS)))
    np.testing.assert_allclose(rows.numpy(), own, atol=2e-5)
    edges = np.cumsum([0, *LENGTHS])
    np.testing.assert_allclose(means, [own[a:b].mean(0) for a, b in itertools.pairwise(edges)], atol=2e-5)


def test_shuffled_shots_take_their_tokens_along() -> None:
    config = long_range()
    movie = film(config, 6, tokens=11)
    movie["language.shots"] = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3, 5, 5], np.int32)
    films = Films.of({"film": Features.from_mapping(movie)}, config)
    batch = films.batch(torch.tensor([[3, 2, 0], [2, 4, -1]]), 7)
    assert batch.token_shots is not None
    assert batch.token_shots.tolist() == [[0, 0, 0, 0, 2, 2, 2], [7] * 7]
    np.testing.assert_array_equal(batch.features["language"][0].numpy(), movie["language"][[5, 6, 7, 8, 0, 1, 2]])
    assert not batch.features["language"][1].any()
    assert batch.there["language"].tolist() == [[True] * 7, [True] + [False] * 6]
    assert batch.there["video"].tolist() == [[True] * 3, [True, True, False]]


def test_padding_changes_no_embedding() -> None:
    config = contextualizer()
    films = Films.of({"film": Features.from_mapping(film(config, 12))}, config)
    network = encoder_of(checkpoint_of(config))
    rows = torch.tensor([[[4, 5, 6, -1, -1], [-1] * 5]])
    with torch.no_grad():
        padded, alone = network.embed(films, rows), network.embed(films, torch.tensor([[[4, 5, 6]]]))
    np.testing.assert_allclose(padded[0, 0, :3], alone[0, 0], atol=1e-6)
    assert not padded[0, 0, 3:].any()
    assert not padded[0, 1].any()


def test_a_film_that_does_not_fit_is_named() -> None:
    config = contextualizer()
    right, wrong = (Features({"video": np.ones((4, width), np.float32)}) for width in (7, 3))
    with pytest.raises(FeatureError, match="bad: video: expected 7 features a shot, got 3"):
        Films.of({"good": right, "bad": wrong}, config)
    with pytest.raises(FeatureError, match="bad: features: expected at least one of the modalities"):
        Films.of({"bad": Features({"other": np.ones((4, 3), np.float32)})}, config)
    with pytest.raises(FeatureError, match="at least one, got none"):
        Films.of({}, config)
    other = dataclasses.replace(right, recipe="other/1")
    with pytest.raises(FeatureError, match="one recipe, got"):
        Films.of({"a": right, "b": other}, config)


@pytest.mark.parametrize("count", [1, 4, 5, 23])
def test_drawn_windows_cover_a_film(count: int) -> None:
    found = set()
    for seed in range(40):
        rows = drawn_windows(100, 100 + count, 5, np.random.default_rng(seed))
        assert set(rows[rows >= 0].tolist()) == set(range(100, 100 + count))
        assert (np.diff(rows, axis=1)[rows[:, 1:] >= 0] == 1).all()
        found.add(int(rows[-1, 0]))
    assert len(found) == (1 if count <= 5 else 5)


def test_runs_of_shots_stay_within_films() -> None:
    config = contextualizer()
    movies = {f"film-{n}": Features.from_mapping(film(config, n)) for n in (4, 2, 5)}
    films = Films.of(movies, config)
    assert neighbours(films, 3, drawing()).tolist() == [[0, 1, 2], [1, 2, 3], [6, 7, 8], [7, 8, 9], [8, 9, 10]]
    assert len(neighbours(films, 3, drawing(training=True, examples=2))) == 2
    assert len(neighbours(films, 3, drawing(examples=2))) == 5
    with pytest.raises(FeatureError, match="at least one of 6 shots or more, got none"):
        neighbours(films, 6, drawing())


def test_trimmed_examples_lose_padding_alone() -> None:
    rows = torch.tensor([[[0, 1, -1, -1], [-1] * 4], [[2, -1, -1, -1], [-1] * 4]])
    own = Examples(rows, torch.ones_like(rows), torch.arange(2)).trimmed()
    assert own.rows.tolist() == [[[0, 1]], [[2, -1]]]
    assert own.marks.shape == own.rows.shape
