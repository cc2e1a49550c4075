"""Results that earlier releases wrote: read with the same decisions, and written as version 3.

The files of ``files/`` were written by the code that had these versions; ``act-scores-1`` has no logits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from megaseg import Segmentation
from megaseg.errors import FeatureError

FILES = sorted((Path(__file__).parent / "files").glob("*.json"))


def schema() -> Any:
    return json.loads(resources.files("megaseg.engine.results").joinpath("result.schema.json").read_text())


def test_there_is_a_file_of_each_kind() -> None:
    assert [path.stem for path in FILES] == ["act-1", "act-scores-1", "movie-2", "scene-1"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_read_as_it_was_written(path: Path) -> None:
    old = json.loads(path.read_text())
    jsonschema.Draft202012Validator(schema()).validate(old)
    new = Segmentation.from_json(path.read_text()).to_dict()
    jsonschema.Draft202012Validator(schema()).validate(new)
    assert new["schema"] == "megaseg.segmentation/3"
    assert {name: value for name, value in new.items() if name not in ("schema", "tracks")} == {
        name: value for name, value in old.items() if name != "schema"
    }
    assert Segmentation.from_dict(new).to_dict() == new


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_decided_again(path: Path) -> None:
    result = Segmentation.from_json(path.read_text())
    if result.scenes:
        other = result.redecide(num_scenes=5)
        assert len(other.scenes) == 5
        assert np.array_equal(other.scores, result.scores)
    if result.acts:
        apart = result.redecide(ordered=False).tracks["acts"]
        decisive = apart.scores if apart.logits is None else apart.logits
        assert [point.shot for point in apart.points] == decisive.argmax(axis=0).tolist()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "megaseg.segmentation/3"},
        {"schema": "megaseg.segmentation/4"},
        {"task": "chapter"},
        {"task": "movie", "act_scores": [[2.0]]},
        {"scores": [0.5, 1.5]},
        {"times": [[0, 1]]},
        {"decision": {"threshold": 0.5, "min_scene_length": 0, "num_scenes": None, "ordered": False}},
    ],
    ids=str,
)
def test_a_damaged_one_is_refused(path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(FeatureError, match=r"schema|result: expected"):
        Segmentation.from_dict({**json.loads(path.read_text()), **changes})


ODD: list[Any] = [None, True, -1, 10**400, "x", [], {}, [[]], [None], {"a": 1}, float("nan"), "scene", "act", ["1", 2]]


def damaged(entries: dict[str, Any]) -> Iterator[None]:
    """Every value of the entries is odd, or missing, for a while."""
    for name, value in list(entries.items()):
        for odd in ODD:
            entries[name] = odd
            yield
        del entries[name]
        yield
        entries[name] = value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_odd_values_end_in_a_feature_error_or_a_result(path: Path) -> None:
    old, refused = json.loads(path.read_text()), 0
    for values in (old, Segmentation.from_dict(old).to_dict()):
        tracks = values.get("tracks", {})
        for entries in (
            values,
            values["decision"],
            *tracks.values(),
            *(track["decision"] for track in tracks.values()),
        ):
            for _ in damaged(entries):
                try:
                    Segmentation.from_dict(values)
                except FeatureError:
                    refused += 1
    assert refused > 100
