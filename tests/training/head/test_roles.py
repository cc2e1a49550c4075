"""Semantic roles on generated clips, and the decoder that writes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated_events import VERBS, Annotations, encoder, role_clips, shuffled
from torch.nn import functional

from megaseg.errors import FeatureError
from megaseg.models.role_decoder import RoleDecoder
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples
from megaseg.training.recipes.head.roles import SHOTS, Roles, fillers_of
from megaseg.training.recipes.head.run import Mode, evaluate_head, predict_head, train_head

CONFIG = HeadConfig(head_size=64, head_dropout=0.0, epochs=8, frozen_batch_size=32, learning_rate=3e-3)
SMALL = Roles(("run.01", "hit.01"), ("Arg0:", "man", "red", "scene:", "gym"), 5)


def labels(folder: Path, *parts: Annotations) -> Any:
    path = folder / "vsann.json"
    path.write_text(json.dumps([events for part in parts for events in part]))
    return Roles.read_labels(path)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode(), Mode(fine_tune=True)])
def test_texts_of_new_combinations_are_written_word_for_word(tmp_path: Path, mode: Mode) -> None:
    train, told = role_clips(120, 0, held_out=False, part="train")
    validation, known = role_clips(5, 1, held_out=False, part="validation")
    test, asked = role_clips(30, 2, held_out=True, part="test")
    own = labels(tmp_path, told, known, asked)
    trained = train_head(Roles, encoder(), train, validation, CONFIG, mode, own)
    figures = evaluate_head(trained, test, own)
    assert figures["events"] == 150
    assert figures["exact_match"] > 0.95
    (written, _), _ = predict_head(trained, test, own)
    assert torch.equal(written, predict_head(trained, test, own)[0][0])
    verbs = {event["VerbID"] for events in asked for event in events.values()}
    assert verbs == set(VERBS), "each verb has roles of its own, in an order of its own"
    others = labels(tmp_path, shuffled(asked, 1))
    assert evaluate_head(trained, test, others)["exact_match"] < 0.15


def test_shuffled_annotations_teach_nothing(tmp_path: Path) -> None:
    train, told = role_clips(20, 0, held_out=False, part="train")
    test, asked = role_clips(20, 2, held_out=True, part="test")
    own = labels(tmp_path, shuffled(told, 1), asked)
    trained = train_head(Roles, encoder(), train, test, dataclasses.replace(CONFIG, epochs=3), labels=own)
    assert evaluate_head(trained, test, own)["exact_match"] < 0.05


def test_an_example_is_an_event_and_its_verb_with_all_references(tmp_path: Path) -> None:
    """Two annotators of one clip: an event of the same verb is one example of two texts, other verbs two examples."""
    movies, (one,) = role_clips(1, 0, held_out=False)
    other = json.loads(json.dumps(one))
    other["Ev1"]["Args"] = {"Arg0 (x)": "Somebody Else", "Scene of the Event": "gym"}
    other["Ev1"]["Arg_List"] = {"Arg0 (x)": 0, "Scene of the Event": 1}
    other["Ev2"]["VerbID"] = "unheard.01"
    films = Films.of(movies, encoder().config)
    notes = labels(tmp_path, [one], [other])
    head = Roles.of(films, labels(tmp_path, [one]), CONFIG)
    drawing = Drawing(CONFIG, 16, 8, np.random.default_rng(0), training=False, frozen=True)
    examples = head.examples(films, notes, drawing)
    assert len(examples) == 6
    rows = films.rows["visual"]
    inputs, targets = head.read(rows[examples.rows.clamp_min(0)], examples)
    expected = torch.zeros(SHOTS, 18)
    expected[:2, :16], expected[:2, 16] = rows[:2], 1
    expected[:, 17] = head.verbs.index(one["Ev1"]["VerbID"]) + 1
    torch.testing.assert_close(inputs[0], expected)
    assert inputs[2, 0, 17] == 0, "the unknown verb"
    first, second = (head.tokens(text) for text in targets[0].tolist())
    assert first[0] in ("Arg0:", "Arg1:", "scene:")
    unknown = [token.removeprefix("unknown").isdigit() for token in second]
    assert unknown[1:3] == [True, True], "'somebody else' is not in the vocabulary"
    assert len(set(second)) == len(second)
    assert head.tokens(targets[1, 1].tolist()) == [], "one text only"


def test_many_shots_of_an_event_are_averaged_in_groups() -> None:
    """Eleven shots in eight groups, in order; an event of one shot is itself."""
    embedded = torch.arange(12.0).reshape(2, 1, 6, 1)
    many = embedded.reshape(1, 2, 6, 1)
    marks = torch.ones(1, 2, 6, dtype=torch.long)
    marks[0, 0, 0] = 0
    inputs, _ = SMALL.read(many, Examples(marks, 3 * marks, torch.zeros(1)))
    means = [float(np.mean([1 + n for n in range(11) if n * 8 // 11 == group])) for group in range(8)]
    torch.testing.assert_close(inputs[0, :, 0], torch.tensor(means))
    assert inputs[0, :, 1:].tolist() == 8 * [[1, 2]]
    one = torch.zeros(2, 1, 6, dtype=torch.long)
    one[:, :, 3] = 1
    inputs, _ = SMALL.read(embedded, Examples(one, one, torch.zeros(2)))
    assert inputs[:, :2].tolist() == [[[3, 1, 0], [0, 0, 0]], [[9, 1, 0], [0, 0, 0]]]


def test_figures_by_hand() -> None:
    """Ids 1 to 5 are Arg0: man red scene: gym. One text is right, one right by its second reference, one is wrong.

    Fillers: items are Arg0 and scene of event 0, Arg0 of events 1 and 2: "man", "gym", "red" and "man". Of four items
    "man" is in two, the others in one. Written: man, gym, red and red: unigram cosines 1, 1, mean of 0 and 1, 0.
    """
    targets = torch.full((3, 2, 4), -1)
    targets[0, 0] = torch.tensor([1, 2, 4, 5])
    targets[1, 0, :2], targets[1, 1, :2] = torch.tensor([1, 1000]), torch.tensor([1, 3])
    targets[2, 0, :2] = torch.tensor([1, 2])
    predictions = torch.tensor([[1, 2, 4, 5, 0], [1, 3, 0, 0, 0], [1, 3, 0, 0, 0]])
    figures = SMALL.metrics(predictions, targets, None)  # type: ignore[arg-type]
    assert figures == {
        "exact_match": pytest.approx(2 / 3),
        "cider": pytest.approx((1 + 1 + 0.5 + 0) / 4 / 4),
        "events": 3.0,
    }


def test_fillers_of_a_text() -> None:
    assert fillers_of(["lost", "Arg0:", "red", "man", "scene:", "Arg0:", "two"]) == {"Arg0": "red man", "scene": ""}


def decoder() -> RoleDecoder:
    torch.manual_seed(1)
    return RoleDecoder(3, verbs=2, words=7, longest=5, size=8, dropout=0.1).eval()


def shots() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    there = torch.tensor([[True, True, False], [True, False, False]])
    return torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)), there, torch.tensor([0, 1])


def test_greedy_texts_take_the_likeliest_token_at_each_place() -> None:
    model, (rows, there, verb) = decoder(), shots()
    written = model.greedy(rows, there, verb)
    assert written.shape == (2, 5)
    likeliest = model(rows, there, verb, written)[:, :-1].argmax(-1)
    for text, expected in zip(written.tolist(), likeliest.tolist(), strict=True):
        end = text.index(0) if 0 in text else 5
        assert text[: end + 1] == expected[: end + 1]
        assert set(text[end:]) <= {0}


def test_no_token_sees_what_is_behind_it_and_no_padding_counts() -> None:
    model, (rows, there, verb) = decoder(), shots()
    words = torch.tensor([[1, 2, 3], [4, 5, 6]])
    logits = model(rows, there, verb, words)
    other = words.clone()
    other[:, 2] = 0
    torch.testing.assert_close(model(rows, there, verb, other)[:, :3], logits[:, :3])
    rows = torch.where(there[..., None], rows, 7.0)
    torch.testing.assert_close(model(rows, there, verb, words), logits)


def test_the_loss_counts_a_texts_tokens_and_its_first_end() -> None:
    model, (rows, there, verb) = decoder(), shots()
    words = torch.tensor([[1, 2, 3], [4, 0, 0]])
    logits = model(rows, there, verb, words)
    wanted = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 3, 0), (1, 0, 4), (1, 1, 0)]
    each = [functional.cross_entropy(logits[text, place], torch.tensor(token)) for text, place, token in wanted]
    torch.testing.assert_close(model.loss(rows, there, verb, words), torch.stack(each).mean())


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    movies, annotations = role_clips(2, 0, held_out=False)
    bare = [{name: {**event, "Args": {}} for name, event in events.items()} for events in annotations]
    with pytest.raises(FeatureError, match="expected events with a verb and roles to train on, got none"):
        train_head(Roles, encoder(), movies, movies, CONFIG, labels=labels(tmp_path, bare))
    with pytest.raises(FeatureError, match="expected a head_size that 4 heads divide, got 30"):
        train_head(Roles, encoder(), movies, movies, HeadConfig(head_size=30), labels=labels(tmp_path, annotations))
    others, told = role_clips(1, 1, held_out=False, part="other")
    told = [{name: {**event, "Args": {}} for name, event in events.items()} for events in told]
    own = labels(tmp_path, annotations, told)
    with pytest.raises(FeatureError, match="expected annotated roles in some of 1 clips, got none"):
        train_head(Roles, encoder(), movies, others, CONFIG, labels=own)
