"""Heads of clips: classes, numbers, and attributes of shots, with known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from head_films import FAST, clips, encoder

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.training.recipes.head.attributes import Attributes
from megaseg.training.recipes.head.classes import accuracies
from megaseg.training.recipes.head.classify import Classify
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.regress import Regress
from megaseg.training.recipes.head.run import Mode, evaluate_head, train_head

PARTS = [clips(60, 0), clips(20, 1), clips(40, 2)]
TRAIN, VALIDATION, TEST = (films for films, _ in PARTS)
NUMBERS = {name: number for _, numbers in PARTS for name, number in numbers.items()}
CLASSES = {name: "low" if number < 0 else "high" for name, number in NUMBERS.items()}
MODES = [Mode(), Mode(fine_tune=True), Mode(from_scratch=True)]
ATTRIBUTES = HeadConfig(epochs=8, patience=8, learning_rate=2e-2, frozen_batch_size=128)


def shuffled(labels: dict[str, Any], seed: int) -> dict[str, Any]:
    values = list(labels.values())
    return {
        name: values[k] for name, k in zip(labels, np.random.default_rng(seed).permutation(len(values)), strict=True)
    }


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_classes_are_learned(mode: Mode) -> None:
    trained = train_head(Classify, encoder(), TRAIN, VALIDATION, FAST, mode, CLASSES)
    figures = evaluate_head(trained, TEST, CLASSES)
    assert figures["accuracy"] > 0.85
    assert figures["clips"] == len(TEST)
    assert trained.head == Classify(("high", "low"))


def test_shuffled_classes_are_not() -> None:
    trained = train_head(Classify, encoder(), TRAIN, VALIDATION, FAST, labels=shuffled(CLASSES, 4))
    assert evaluate_head(trained, TEST, CLASSES)["accuracy"] < 0.75


@pytest.mark.parametrize("mode", MODES[:2], ids=str)
def test_numbers_are_learned(mode: Mode) -> None:
    trained = train_head(Regress, encoder(), TRAIN, VALIDATION, FAST, mode, NUMBERS)
    figures = evaluate_head(trained, TEST, NUMBERS)
    assert figures["mse"] < 0.3 * figures["mse_of_mean"]
    assert figures["mse_of_mean"] > 1


def test_shuffled_numbers_are_not() -> None:
    trained = train_head(Regress, encoder(), TRAIN, VALIDATION, FAST, labels=shuffled(NUMBERS, 4))
    figures = evaluate_head(trained, TEST, NUMBERS)
    assert figures["mse"] > 0.8 * figures["mse_of_mean"]


def shot_labels(films: dict[str, Features], seed: int | None = None) -> dict[str, dict[str, dict[int, str]]]:
    """Two attributes by the signs of two features; every fifth shot has no size, and no film's last shot any label."""
    rng, found = np.random.default_rng(seed), {}
    for name, film in films.items():
        rows = film.modalities["visual"]
        rows = rows if seed is None else rng.permutation(rows)
        shots = range(film.num_shots - 1)
        size = {shot: "wide" if rows[shot, 2] > 0 else "close" for shot in shots if shot % 5}
        motion = {shot: "pan" if rows[shot, 3] > 0 else "still" for shot in shots}
        found[name] = {"size": size, "motion": motion}
    return found


@pytest.mark.parametrize("mode", MODES[:2], ids=str)
def test_attributes_are_learned_at_once(mode: Mode) -> None:
    labels = shot_labels({**TRAIN, **VALIDATION, **TEST})
    trained = train_head(Attributes, encoder(), TRAIN, VALIDATION, ATTRIBUTES, mode, labels)
    figures = evaluate_head(trained, TEST, labels)
    assert min(figures["size"], figures["motion"]) > 0.75
    assert figures["average"] == pytest.approx((figures["size"] + figures["motion"]) / 2)
    assert figures["shots"] == sum(film.num_shots - 1 for film in TEST.values())


def test_shuffled_attributes_are_not() -> None:
    labels = shot_labels({**TRAIN, **VALIDATION}, 7)
    trained = train_head(Attributes, encoder(), TRAIN, VALIDATION, ATTRIBUTES, labels=labels)
    assert evaluate_head(trained, TEST, shot_labels(TEST))["average"] < 0.6


def test_accuracy_is_a_mean_over_classes() -> None:
    rng = np.random.default_rng(0)
    found, truth = rng.integers(0, 4, 200), rng.integers(0, 3, 200)
    by_class = [np.mean(found[truth == label] == label) for label in np.unique(truth)]
    got = accuracies(torch.from_numpy(found), torch.from_numpy(truth))
    assert got == (pytest.approx(np.mean(found == truth)), pytest.approx(np.mean(by_class)))


def test_errors_of_numbers_by_hand() -> None:
    head = Regress(mean=1.0, spread=2.0)
    figures = head.metrics(torch.tensor([1.0, 4.0]).double(), torch.tensor([2.0, 2.0]).double(), None)  # type: ignore[arg-type]
    assert figures == {"mse": 2.5, "mae": 1.5, "mse_of_mean": 1.0, "clips": 2}


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        (Classify, dict.fromkeys(NUMBERS, "same"), "at least two classes in the training films, got .'same'"),
        (Classify, {}, "expected some of the films clip-0-0, clip-0-1, clip-0-2, got none"),
        (Classify, {**CLASSES, **dict.fromkeys(VALIDATION, "other")}, "label of clip-1-0: expected one of .*'other'"),
        (Regress, dict.fromkeys(NUMBERS, 3.0), "targets that differ in the training films, got only 3.0"),
        (Regress, {**NUMBERS, "clip-0-3": math.nan}, "label of clip-0-3: expected a finite number, got nan"),
        (Regress, {**NUMBERS, "clip-1-3": math.inf}, "label of clip-1-3: expected a finite number, got inf"),
        (Attributes, {n: {"size": {0: "wide"}} for n in NUMBERS}, "attribute size: expected at least two classes"),
    ],
)
def test_labels_that_teach_nothing_are_refused(kind: Any, labels: dict[str, Any], expected: str) -> None:
    with pytest.raises(FeatureError, match=expected):
        train_head(kind, encoder(), TRAIN, VALIDATION, FAST, labels=labels)


def test_labels_of_shots_that_are_not_there_are_refused() -> None:
    labels = shot_labels({**TRAIN, **VALIDATION})
    labels["clip-1-0"]["size"][500] = "wide"
    with pytest.raises(FeatureError, match=r"clip-1-0: expected labels of shots 0 to \d+, got shot 500"):
        train_head(Attributes, encoder(), TRAIN, VALIDATION, FAST, labels=labels)
    labels["clip-1-0"] = {"colour": {0: "red"}}
    with pytest.raises(FeatureError, match="clip-1-0: expected attributes motion, size, got 'colour'"):
        train_head(Attributes, encoder(), TRAIN, VALIDATION, FAST, labels=labels)
