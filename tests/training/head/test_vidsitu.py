"""VidSitu's JSON layout and rows of events, on files written here: VidSitu's own annotations are not at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg.errors import FeatureError
from megaseg.training.recipes.head.events import rows_of_events
from megaseg.training.recipes.head.vidsitu import RELATIONS, Event, Relation, read_vidsitu, role_name


def clip(name: str = "v_a_seg_10_20") -> dict[str, Any]:
    """One annotation in the public layout."""
    relations = {"Ev1": "Causes", "Ev2": "NoRel", "Ev4": "Reaction To", "Ev5": "Enables"}
    events: dict[str, Any] = {}
    for number in range(1, 6):
        events[f"Ev{number}"] = {
            "vid_uid": "a",
            "vid_seg_int": name,
            "Verb": "throw",
            "VerbID": "throw.01",
            "Arg_List": {"Arg1 (thing thrown)": "1", "Arg0 (thrower)": "0", "Scene of the Event": "2"},
            "Args": {"Scene of the Event": "a Gym.", "Arg0 (thrower)": "boy in  red", "Arg1 (thing thrown)": ""},
        }
    for event, relation in relations.items():
        events[event]["EvRel"] = relation
    return events


def written(folder: Path, value: Any) -> Path:
    path = folder / "vsann.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_events_have_verbs_roles_in_order_and_relations_in_order_of_time(tmp_path: Path) -> None:
    (found,) = read_vidsitu(written(tmp_path, [clip()]))
    assert found.clip == "v_a_seg_10_20"
    assert found.events == 5 * (Event("throw.01", (("Arg0", "boy in red"), ("scene", "a gym"))),)
    assert found.relations == (Relation(0, 2, 2), Relation(1, 2, 3), Relation(2, 3, 1), Relation(2, 4, 0))
    assert [RELATIONS[relation.kind] for relation in found.relations] == [
        "A causes B",
        "A is unrelated to B",
        "A is a reaction to B",
        "A is enabled by B",
    ]


def test_annotations_may_be_sparse(tmp_path: Path) -> None:
    """Test files have no roles, or no relations; ``Arg_List`` and ``VerbID`` may be missing; clips may be keys."""
    bare = {f"Ev{number}": {} for number in range(1, 6)}
    bare["Ev1"] = {"Verb": "run", "Args": {"ArgM (direction)": "Away"}, "EvRel": None}
    found = read_vidsitu(written(tmp_path, {"one": bare, "two": [clip("two"), clip("two")]}))
    assert [annotation.clip for annotation in found] == ["one", "two", "two"]
    assert found[0].events == (Event("run", (("direction", "away"),)), None, None, None, None)
    assert found[0].relations == ()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("Arg0 (agent)", "Arg0"),
        ("ArgM (manner)", "manner"),
        ("Scene of the Event", "scene"),
        ("ArgM (end state)", "end-state"),
    ],
)
def test_roles_are_one_word(key: str, name: str) -> None:
    assert role_name(key, "") == name


def changed(event: str, **values: Any) -> list[Any]:
    annotation = clip()
    annotation[event].update(values)
    return [annotation]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "expected VidSitu's JSON, got"),
        ('{"a": {}, "a": {}}', "expected each key once in an object, got 'a' twice"),
        ("7", "expected a list of annotations, got int"),
        ([], "expected annotations of clips, found none"),
        ([{"Ev1": {}}], r"annotation 0: expected the objects Ev1, Ev2, Ev3, Ev4, Ev5, got \['Ev1'\]"),
        ([None], "annotation 0: expected the objects .* got NoneType"),
        ([{f"Ev{n}": {} for n in range(1, 6)}], "expected one clip in vid_seg_int of its events, got none"),
        (changed("Ev2", vid_seg_int="other"), "expected one clip .* got .'other', 'v_a_seg_10_20'."),
        (changed("Ev2", EvRel="Because"), "Ev2: expected EvRel Enables, Reaction To, Causes or NoRel, got 'Because'"),
        (changed("Ev3", EvRel="Causes"), "Ev3: expected no EvRel"),
        (changed("Ev2", VerbID=3), "Ev2: expected a verb in VerbID or Verb, got 3"),
        (changed("Ev2", Args=["boy"]), "Ev2: expected Args, an object of role and text, got .'boy'."),
        (changed("Ev2", Args={"Arg0": 1}), "Ev2: expected Args, an object of role and text"),
        (changed("Ev2", Arg_List={"Arg0": "first"}), "Ev2: expected Arg_List, an object of role and place"),
        (changed("Ev2", Args={"()": "boy"}), r"Ev2: expected a role, got '\(\)'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, value: Any, message: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(FeatureError, match=message) as caught:
        read_vidsitu(path)
    assert str(path) in str(caught.value)


def rows(shots: int, seconds: list[tuple[float, float]] | None = None) -> list[list[int]]:
    times = None if seconds is None else np.array([[24 * a, 24 * b] for a, b in seconds]).astype(np.int64)
    return [np.flatnonzero(event).tolist() for event in rows_of_events(times, shots)]


def test_events_are_fifths_of_the_rows() -> None:
    assert rows(10) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert rows(2) == [[0], [0], [0, 1], [1], [1]]
    assert rows(1) == 5 * [[0]]


def test_events_are_two_seconds_of_ten() -> None:
    seconds = [(30, 31), (31, 33), (33, 36), (36, 39.5), (39.5, 40)]
    assert rows(5, seconds) == [[0, 1], [1, 2], [2], [3], [3, 4]]


def test_no_event_is_without_a_shot() -> None:
    """A gap of four seconds: the second event's middle, 3 s, is nearest to the first shot's, 0.5 s."""
    assert rows(2, [(0, 1), (5, 10)]) == [[0], [0], [1], [1], [1]]
    assert rows(2, [(3, 3), (3, 3)]) == rows(2)
