"""What a result tells of its movie, and what a person changed in it: kept by every way from one result to another."""

from __future__ import annotations

import json
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from megaseg import Segmentation
from megaseg.engine.results import writer
from megaseg.engine.results.schema import Decision
from megaseg.engine.results.segmentation import joined, on_shots
from megaseg.engine.results.source import Source
from megaseg.errors import FeatureError

SCORES = np.array([0.1, 0.9, 0.2, 0.6], np.float32)
SOURCE = Source(
    "harbour.mp4",
    Fraction(24000, 1001),
    "01:00:00;00",
    (1920, 800),
    ("", "Who's there?", "<b>&\n", "\u0627\u0644\u0645\u064a\u0646\u0627\u0621 \U0001f6a2"),
    np.array([[5, 9], [9, 12]], np.int64),
    np.array([-20.123, -100, -3.5, 0], np.float32),
)
NAMES = {"scenes": {0: "A <quay> & more\n", 2: "\u0645\u064a\u0646\u0627\u0621", 3: "\U0001f6a2"}}


def scenes(**decision: Any) -> Segmentation:
    own = Segmentation.from_scores("scene", SCORES, Decision(**decision))
    return Segmentation(own.tracks, own.times, own.time_base, ("a remark",), SOURCE, NAMES)


def acts() -> Segmentation:
    return Segmentation.from_scores("act", np.eye(4, 3, dtype=np.float32), Decision())


def valid(result: Segmentation) -> dict[str, Any]:
    text = resources.files("megaseg.engine.results").joinpath("result.schema.json").read_text()
    values: dict[str, Any] = json.loads(result.to_json())
    jsonschema.Draft202012Validator(json.loads(text)).validate(values)
    return values


@pytest.mark.parametrize("result", [scenes(), scenes(locked=[2, 0], barred=[1]), joined([acts(), scenes(locked=[0])])])
def test_json_reads_back(result: Segmentation) -> None:
    values = valid(result)
    back = Segmentation.from_dict(values)
    assert back.to_dict() == values
    assert back.names == NAMES
    assert back.source is not None
    assert back.source.to_dict() == SOURCE.to_dict()
    assert back.source.frame_rate == Fraction(24000, 1001)
    assert back.source.loudness is not None
    assert back.source.loudness.tolist() == SOURCE.loudness.tolist()  # type: ignore[union-attr]
    assert back.decision == result.decision


def test_json_has_only_what_there_is() -> None:
    plain = valid(acts())
    assert not {"source", "names"} & plain.keys()
    assert not {"locked", "barred"} & plain["decision"].keys()
    edited = valid(scenes(locked=np.array([2, 0, 2])))
    assert edited["decision"]["locked"] == edited["tracks"]["scenes"]["decision"]["locked"] == [0, 2]
    assert "barred" not in edited["decision"]
    assert valid(Segmentation(acts().tracks, source=Source("x")))["source"]["speech"] == []


def test_redecide_keeps_edits_names_and_source() -> None:
    result = scenes(locked=[2]).redecide(threshold=0.95)
    assert result.boundaries.tolist() == [2]
    assert result.source is SOURCE
    assert result.names == NAMES
    assert result.remarks == ("a remark",)
    moved = result.redecide(locked=[0], barred=[2], threshold=0.5)
    assert moved.boundaries.tolist() == [0, 1]
    assert moved.redecide(locked=()).boundaries.tolist() == [1]


def test_units_as_shots_keep_what_is_not_of_units() -> None:
    units = Segmentation(acts().tracks, None, None, (), SOURCE, {"acts": {0: "First", 2: "Third"}})
    found = on_shots(units, np.array([0, 3, 4, 9]))
    assert found.names == {"acts": {0: "First", 4: "Third"}}
    assert found.source is not None
    assert (found.source.name, found.source.captions) == ("harbour.mp4", ())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": Source("x", captions=("a",))}, "captions of 4 shots, got 1"),
        ({"source": Source("x", loudness=np.zeros(3, np.float32))}, "loudness of 4 shots, got 3"),
        ({"names": {"reels": {0: "a"}}}, "names for scenes, got some for 'reels'"),
        ({"names": {"scenes": {4: "a"}}}, "from 0 to 3, got 4"),
        ({"names": {"scenes": {0: 7}}}, "text for shot 0 of scenes, got 7"),
    ],
)
def test_what_does_not_fit_the_movie_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        Segmentation(scenes().tracks, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame_rate": Fraction(0)},
        {"timecode": "1:2"},
        {"size": (0, 4)},
        {"captions": (1,)},
        {"speech": np.array([[4, 3]])},
        {"speech": np.array([[3, 5], [4, 6]])},
        {"loudness": np.array([-np.inf], np.float32)},
    ],
    ids=str,
)
def test_no_source(wrong: dict[str, Any]) -> None:
    with pytest.raises(FeatureError, match="source: expected"):
        Source("x", **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": {"name": "x"}},
        {"source": {**SOURCE.to_dict(), "frame_rate": [24, 0]}},
        {"source": 7},
        {"source": {**SOURCE.to_dict(), "size": [1920.5, 1080]}},
        {"source": {**SOURCE.to_dict(), "speech": [[0.5, 2.5]]}},
        {"source": {**SOURCE.to_dict(), "captions": "abcd"}},
        {"names": {"scenes": {"first": "a"}}},
        {"names": ["a"]},
        {"decision": {**scenes().to_dict()["decision"], "locked": [3]}},
        {"decision": {**scenes().to_dict()["decision"], "locked": "12"}},
    ],
)
def test_a_file_that_says_something_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(FeatureError):
        Segmentation.from_dict({**scenes().to_dict(), **wrong})


def test_save_hands_over_to_the_writer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(writer, "_writers", [])
    writer.set_writer(lambda *given, **options: asked.append((*given, options)))
    result = scenes()
    result.save(tmp_path / "film.edl", offset=1)
    result.save("film.txt", "youtube")
    assert asked == [(result, tmp_path / "film.edl", None, {"offset": 1}), (result, "film.txt", "youtube", {})]


def test_save_writes_the_format_of_the_suffix(tmp_path: Path) -> None:
    result = scenes(locked=[2])
    result.save(tmp_path / "film.json")
    assert Segmentation.from_json((tmp_path / "film.json").read_text()).to_dict() == result.to_dict()
    result.save(tmp_path / "film.txt", "csv")
    assert (tmp_path / "film.txt").read_text().startswith("Scene Number,")
    with pytest.raises(FeatureError, match="format: expected one of"):
        result.save(tmp_path / "film.doc")
    with pytest.raises(FeatureError, match="times: expected a result with the times of its shots"):
        result.save(tmp_path / "film.chapters.vtt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.json", "film.txt"]
