"""Ordering and next shot: films whose order is known, and films without any."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from head_films import FAST, encoder, noise, walks

from megaseg.engine.inputs.features import Features
from megaseg.errors import CheckpointError, FeatureError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.next_shot import NextShot
from megaseg.training.recipes.head.ordering import Ordering
from megaseg.training.recipes.head.protocol import Drawing
from megaseg.training.recipes.head.run import Mode, evaluate_head, train_head

TRAIN, VALIDATION, TEST = walks(12, 0), walks(4, 1), walks(6, 2)
CONFIG = HeadConfig(epochs=12, patience=12, learning_rate=5e-3, head_dropout=0.0, frozen_batch_size=32, head_size=32)


@pytest.mark.parametrize(("head", "shots"), [(Ordering, 3), (NextShot, 9)])
def test_a_frozen_encoder_shows_the_order(head: Any, shots: int) -> None:
    trained = train_head(head, encoder(), TRAIN, VALIDATION, CONFIG)
    figures = evaluate_head(trained, TEST)
    assert figures["accuracy"] > 0.8
    assert figures["examples"] == sum(film.num_shots - shots + 1 for film in TEST.values())


def test_likeness_alone_finds_the_next_shot_from_few_films() -> None:
    few = dict(list(TRAIN.items())[:2])
    config = dataclasses.replace(CONFIG, likeness=2)
    trained = train_head(NextShot, encoder(), few, VALIDATION, config)
    assert evaluate_head(trained, TEST)["accuracy"] > 0.8
    with pytest.raises(CheckpointError, match="likeness: expected a divisor of the embedding's"):
        train_head(NextShot, encoder(), few, VALIDATION, dataclasses.replace(config, likeness=11))


@pytest.mark.slow
@pytest.mark.parametrize("head", [Ordering, NextShot])
@pytest.mark.parametrize("from_scratch", [False, True])
def test_a_trained_encoder_learns_the_order(head: Any, from_scratch: bool) -> None:
    trained = train_head(head, encoder(), TRAIN, VALIDATION, CONFIG, Mode(not from_scratch, from_scratch))
    assert evaluate_head(trained, TEST)["accuracy"] > 0.8


@pytest.mark.parametrize(("head", "chance"), [(Ordering, 1 / 6), (NextShot, 1 / 5)])
def test_shots_in_random_order_teach_nothing(head: Any, chance: float) -> None:
    rng = np.random.default_rng(0)
    parts = [{n: Features({"visual": noise(rng, 24)}) for n in part} for part in (TRAIN, VALIDATION)]
    figures = evaluate_head(train_head(head, encoder(), *parts, CONFIG), TEST)
    assert figures["chance"] == pytest.approx(chance)
    assert figures["accuracy"] < chance + 0.25


@pytest.mark.parametrize(("head", "shots", "length"), [(Ordering(), 3, 3), (NextShot(), 9, 5)])
def test_examples_are_all_arrangements_in_random_order(head: Any, shots: int, length: int) -> None:
    films = Films.of(TEST, encoder().config)

    def drawn(seed: int) -> Any:
        drawing = Drawing(FAST, 12, 6, np.random.default_rng(seed), training=False, frozen=False)
        return head.examples(films, None, drawing)

    examples = drawn(0)
    first = examples.rows[0].tolist()
    assert sorted(map(tuple, first)) == sorted(head.arrangements)  # of the first run, rows 0 to shots - 1
    right = examples.rows[torch.arange(len(examples)), examples.targets]
    assert (right.diff(dim=1) == 1).all()
    assert examples.rows.shape == (len(examples), len(head.arrangements), length)
    assert (right[:, 0].diff() >= 1).all()
    counts = examples.targets.bincount()
    assert len(counts) == len(head.arrangements)  # the right one is anywhere
    assert torch.equal(drawn(0).rows, examples.rows)
    assert not torch.equal(drawn(1).rows, examples.rows)


def test_films_that_are_too_short_are_refused() -> None:
    short = {name: Features({"visual": film.modalities["visual"][:8]}) for name, film in TEST.items()}
    with pytest.raises(FeatureError, match="films: expected at least one of 9 shots or more, got none"):
        train_head(NextShot, encoder(), short, VALIDATION, CONFIG)
    with pytest.raises(FeatureError, match="films: expected at least one, got none"):
        train_head(Ordering, encoder(), TRAIN, {}, CONFIG)


def test_equal_scores_are_right_by_chance_alone() -> None:
    same = {name: Features({"visual": np.ones((40, 6), np.float32)}) for name in TEST}
    trained = train_head(Ordering, encoder(), TRAIN, VALIDATION, HeadConfig(epochs=1))
    assert evaluate_head(trained, same)["accuracy"] == pytest.approx(1 / 6, abs=0.1)
