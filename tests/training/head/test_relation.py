"""Relations of events on generated clips: decided by what both events are and by their order."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated_events import EVENT_NAMES, Annotations, encoder, relation_clips, relation_of, shuffled

from megaseg.errors import CheckpointError, FeatureError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing
from megaseg.training.recipes.head.relation import EventRelation
from megaseg.training.recipes.head.run import Mode, Watch, evaluate_head, train_head
from megaseg.training.recipes.head.vidsitu import RELATIONS

CONFIG = HeadConfig(head_size=64, head_dropout=0.0, epochs=10, frozen_batch_size=32, learning_rate=1e-2)
CHANCE = 0.42  # four classes of about a quarter, 200 pairs: more than five deviations above


def labels(folder: Path, *parts: Annotations) -> Any:
    path = folder / "vsann.json"
    path.write_text(json.dumps([events for part in parts for events in part]))
    return EventRelation.read_labels(path)


def test_who_does_not_know_the_order_is_right_about_half() -> None:
    """Both orders of two symbols have the same bag and different relations, and all four relations are as frequent."""
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b]
    assert all(relation_of(a, b) != relation_of(b, a) for a, b in pairs)
    assert max(Counter(relation_of(a, b) for a, b in pairs).values()) / len(pairs) < 0.31


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode(), Mode(fine_tune=True)])
def test_the_trained_head_knows_and_the_untrained_one_guesses(tmp_path: Path, mode: Mode) -> None:
    train, told = relation_clips(200, 0, part="train")
    validation, known = relation_clips(20, 1, part="validation")
    test, asked = relation_clips(50, 2, part="test")
    own = labels(tmp_path, told, known, asked)
    trained = train_head(EventRelation, encoder(), train, validation, CONFIG, mode, own)
    figures = evaluate_head(trained, test, own)
    assert figures["pairs"] == 200
    assert figures["accuracy"] > 0.95
    assert min(figures[name] for name in RELATIONS) > 0.9
    trained.model.load_state_dict(EventRelation().model(32, CONFIG).state_dict())
    assert evaluate_head(trained, test, own)["accuracy"] < CHANCE


def test_shuffled_labels_teach_nothing(tmp_path: Path) -> None:
    (train, told), (test, asked) = relation_clips(60, 0), relation_clips(50, 1, part="test")
    own = labels(tmp_path, shuffled(told, 3), asked)
    trained = train_head(EventRelation, encoder(), train, test, CONFIG, labels=own)
    assert evaluate_head(trained, test, own)["accuracy"] < CHANCE


def test_a_pair_is_the_means_of_both_events_shots(tmp_path: Path) -> None:
    """Clips of three windows of the encoder: shots of an event are gathered from all of them, each once."""
    movies, annotations = relation_clips(1, 0)
    films = Films.of(movies, encoder().config)
    drawing = Drawing(CONFIG, 4, 2, np.random.default_rng(0), training=False, frozen=True)
    head = EventRelation()
    examples = head.examples(films, labels(tmp_path, annotations), drawing)
    rows = films.rows["visual"]
    embedded = rows[examples.rows.clamp_min(0)] * (examples.rows >= 0)[..., None]
    inputs, targets = head.read(embedded, examples)
    events = rows.reshape(5, 2, -1).mean(1)
    expected = torch.stack([torch.cat([events[a], events[b]]) for a, b in ((0, 2), (1, 2), (2, 3), (2, 4))])
    torch.testing.assert_close(inputs, expected)
    names = {"Enables": 0, "Reaction To": 1, "Causes": 2, "NoRel": 3}
    assert targets.tolist() == [names[annotations[0][event]["EvRel"]] for event in EVENT_NAMES if event != "Ev3"]


def test_figures_by_hand() -> None:
    predictions = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.6, 0.2, 0.1], [0.1, 0.6, 0.2, 0.1]])
    assert EventRelation().metrics(predictions, torch.tensor([0, 1, 3]), None) == {  # type: ignore[arg-type]
        "accuracy": pytest.approx(2 / 3),
        "mean_class_accuracy": pytest.approx(2 / 3),
        "A is enabled by B": 1.0,
        "A is a reaction to B": 1.0,
        "A is unrelated to B": 0.0,
        "pairs": 3.0,
    }


def test_labels_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    movies, annotations = relation_clips(2, 0)
    for events in annotations:
        for event in EVENT_NAMES[:2] + EVENT_NAMES[3:]:
            events[event]["EvRel"] = "Causes"
    with pytest.raises(FeatureError, match="at least two kinds of relations to train on, got .'A causes B'."):
        train_head(EventRelation, encoder(), movies, movies, CONFIG, labels=labels(tmp_path, annotations))
    (movies, told), (others, bare) = relation_clips(3, 0), relation_clips(1, 1, part="other")
    own = labels(tmp_path, told, [{name: {**event, "EvRel": None} for name, event in bare[0].items()}])
    with pytest.raises(FeatureError, match="expected annotated relations in some of 1 clips, got none"):
        train_head(EventRelation, encoder(), movies, others, CONFIG, labels=own)


def test_an_interrupted_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    movies, annotations = relation_clips(10, 0)
    own, config = labels(tmp_path, annotations), HeadConfig(epochs=3)

    def cut(epoch: Any) -> None:
        raise KeyboardInterrupt

    whole = train_head(EventRelation, encoder(), movies, movies, config, labels=own)
    with pytest.raises(KeyboardInterrupt):
        train_head(EventRelation, encoder(), movies, movies, config, labels=own, watch=Watch(tmp_path / "s", cut))
    again = train_head(EventRelation, encoder(), movies, movies, config, labels=own, watch=Watch(tmp_path / "s"))
    assert whole.history == again.history
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_a_state_is_of_its_films_and_labels_whatever_their_names(tmp_path: Path) -> None:
    movies, annotations = relation_clips(10, 0)
    own, config = labels(tmp_path, annotations), HeadConfig(epochs=2)

    def cut(epoch: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_head(EventRelation, encoder(), movies, movies, config, labels=own, watch=Watch(tmp_path / "s", cut))
    others = labels(tmp_path, shuffled(annotations, 1))
    noisy = dict(zip(movies, relation_clips(10, 5)[0].values(), strict=True))
    for films, told in ((movies, others), (noisy, own)):
        with pytest.raises(CheckpointError, match="expected the state of this configuration and these movies"):
            train_head(EventRelation, encoder(), films, films, config, labels=told, watch=Watch(tmp_path / "s"))
