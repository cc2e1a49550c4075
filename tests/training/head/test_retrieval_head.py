"""Fine-tuning for retrieval: what a video and its sound share is learned."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from head_films import FAST, encoder
from shot_encoders import long_range

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.retrieval import paired_rows, retrieval_metrics
from megaseg.models import long_range as of_modalities
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing
from megaseg.training.recipes.head.retrieval import Retrieval
from megaseg.training.recipes.head.run import Mode, train_head

CONFIG = dataclasses.replace(FAST, epochs=8, encoder_share=0.3, train_projections=True, batch_size=16)


@cache
def random_encoder() -> Checkpoint:
    torch.manual_seed(0)
    return of_modalities.to_checkpoint(of_modalities.LongRange(long_range("video audio", hidden_size=24)))


def films(count: int, seed: int, *, shared: bool = True) -> dict[str, Features]:
    """Films whose sound is their pictures seen through a fixed matrix, and noise; or another film's."""
    through = np.random.default_rng(99).standard_normal((7, 5))
    rng, found = np.random.default_rng(seed), {}
    for film in range(count):
        mean = rng.standard_normal((1, 7))
        video = mean + 0.5 * rng.standard_normal((15, 7))
        heard = video if shared else rng.standard_normal((15, 7))
        audio = heard @ through + 0.1 * rng.standard_normal((15, 5))
        found[f"film-{seed}-{film}"] = Features({"video": video.astype("float32"), "audio": audio.astype("float32")})
    return found


def mean_rank(checkpoint: Checkpoint, movies: dict[str, Features]) -> float:
    rows = paired_rows(Engine.from_checkpoint(checkpoint, backend="torch"), movies, ("video", "audio"))
    return retrieval_metrics(*rows).mean_rank


def test_video_finds_its_sound_after_training_alone() -> None:
    test = films(30, 2)
    trained = train_head(Retrieval, random_encoder(), films(60, 0), films(10, 1), CONFIG, Mode(fine_tune=True))
    before, after = mean_rank(random_encoder(), test), mean_rank(trained.encoder, test)
    assert before > 10
    assert after < 0.5 * before
    assert trained.best.validation is not None
    assert trained.best.validation["candidates"] == 10
    other = films(60, 0, shared=False), films(10, 1, shared=False)
    nothing = train_head(Retrieval, random_encoder(), *other, CONFIG, Mode(fine_tune=True))
    assert mean_rank(nothing.encoder, test) > 9


def test_shots_without_sound_are_no_pairs() -> None:
    config = long_range("video audio")
    video, audio = np.ones((9, 7), np.float32), np.ones((9, 5), np.float32)
    audio[[2, 5]] = 0
    own = Films.of({"a": Features({"video": video, "audio": audio}), "b": Features({"video": video})}, config)
    drawing = Drawing(FAST, 7, 3, np.random.default_rng(0), training=False, frozen=False)
    examples = Retrieval().examples(own, None, drawing)
    assert sorted(examples.rows[examples.marks > 0].tolist()) == [0, 1, 3, 4, 6, 7, 8]
    with pytest.raises(FeatureError, match="expected shots that have video and audio, got none"):
        Retrieval().examples(Films.of({"b": Features({"video": video})}, config), None, drawing)
    assert Retrieval().loss(torch.nn.Identity(), torch.zeros(0, 48), torch.zeros(0), FAST) is None


def test_an_encoder_that_cannot_be_trained_for_it_is_refused() -> None:
    movies = films(3, 0), films(2, 1)
    with pytest.raises(UnsupportedError, match="expected an encoder whose weights are trained, got a frozen one"):
        train_head(Retrieval, random_encoder(), *movies, CONFIG)
    with pytest.raises(UnsupportedError, match="expected an encoder of family long_range, got contextualizer"):
        train_head(Retrieval, encoder(), *movies, CONFIG, Mode(fine_tune=True))
