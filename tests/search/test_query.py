"""What is asked for: text to a part of a film, a part to a vector, of a stored title and of a movie that is read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from search.indexes import title, titles, write
from search.movies import describer, movie

from megaseg.errors import FeatureError
from megaseg.pipelines.scenes import scene_vectors
from megaseg.search import SceneIndex
from megaseg.search.query import Part, of_movie, of_title


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"scene": 3}, Part(scene=3)),
        ({"shots": "100:120"}, Part(shots=(100, 120))),
        ({"shots": " 7 "}, Part(shots=(7, 7))),
        ({"time": "1:02:03.5"}, Part(time=(Fraction(7447, 2),) * 2)),
        ({"time": "62:03"}, Part(time=(Fraction(3723),) * 2)),
        ({"time": "12:00-13:10.25"}, Part(time=(Fraction(720), Fraction(3161, 4)))),
        ({"time": "5 - 6.5"}, Part(time=(Fraction(5), Fraction(13, 2)))),
    ],
)
def test_text_to_a_part(given: dict, part: Part) -> None:
    assert Part.parse(**given) == part


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "part: expected one of scene, shots and time, got none"),
        ({"scene": 1, "time": "3"}, "part: .*got scene and time"),
        ({"shots": "9:4"}, "shots: expected an end that is not before the start"),
        ({"shots": "-3"}, "shots: expected first and last shot such as 100:120, got '-3'"),
        ({"shots": "1:2:3"}, "shots: expected"),
        ({"shots": "9" * 50}, "shots: expected"),
        ({"time": "9-4"}, "time: expected an end"),
        ({"time": "1-2-3"}, "time: expected a time or two"),
        ({"time": "-5"}, "time: expected a time such as 1:02:03.5 or 63.5, got '-5'"),
        ({"time": "soon"}, "time: expected a time such as 1:02:03.5 or 63.5, got 'soon'"),
        ({"time": "nan"}, "time: expected a time"),
        ({"time": ""}, "time: expected a time"),
        ({"time": "1e3"}, "time: expected a time"),
    ],
)
def test_text_that_is_no_part(given: dict, told: str) -> None:
    with pytest.raises(FeatureError, match=told):
        Part.parse(**given)


@pytest.fixture
def index(tmp_path: Path) -> SceneIndex:
    write(tmp_path, {**titles(2), "untimed": title(5, 9, timed=False)})
    return SceneIndex.open(tmp_path)


@pytest.mark.parametrize(
    ("given", "scene", "shots"),
    [
        ({"scene": 4}, 4, (9, 11)),
        ({"shots": "9:11"}, 4, (9, 11)),
        ({"time": "4.5"}, 4, (9, 11)),
        ({"time": "5.99"}, 4, (9, 11)),
        ({"time": "4.5-6"}, 4, (9, 11)),
        ({"time": "0"}, 1, (0, 2)),
    ],
)
def test_a_scene_of_a_title(index: SceneIndex, given: dict, scene: int, shots: tuple[int, int]) -> None:
    query = of_title(index, "film1", Part.parse(**given))
    assert (query.scene, query.first_shot, query.last_shot) == (scene, *shots)
    assert np.array_equal(query.vector, index.vector("film1", scene))
    assert query.seconds == (shots[0] / 2, (shots[1] + 1) / 2)


@pytest.mark.parametrize("given", [{"shots": "4:6"}, {"time": "2.1-3.2"}])
def test_shots_of_a_title_are_the_scenes_that_they_touch(index: SceneIndex, given: dict) -> None:
    query = of_title(index, "film1", Part.parse(**given))
    assert (query.scene, query.scenes, query.first_shot, query.last_shot) == (None, (2, 3), 3, 8)
    shares = (2, 1) if "shots" in given else (3, 3)  # scenes alone have times in an index
    expected = shares[0] * index.vector("film1", 2) + shares[1] * index.vector("film1", 3)
    assert np.allclose(query.vector, expected)
    assert query.to_dict()["scenes"] == [2, 3]


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("film0", {"scene": 21}, "scene: expected from 1 to 20, got 21"),
        ("film0", {"shots": "58:60"}, "shots: expected from 0 to 59, got 58 to 60"),
        ("film0", {"time": "30"}, "time: expected before 30 s, got 30 s"),
        ("untimed", {"time": "1"}, "time: expected a movie with times"),
        ("none", {"scene": 1}, "title: expected one of the 3 titles of the index"),
    ],
)
def test_parts_that_are_not_there(index: SceneIndex, name: str, given: dict, told: str) -> None:
    with pytest.raises(FeatureError, match=told):
        of_title(index, name, Part.parse(**given))


def test_parts_of_a_movie_that_is_read() -> None:
    reader = describer()
    described = reader.describe(movie(40, 3))
    scene = of_movie(reader, "m", described, Part.parse(time="12"))
    assert (scene.scene, scene.first_shot, scene.last_shot, scene.seconds) == (2, 10, 19, (10.0, 20.0))
    assert np.array_equal(scene.vector, described.vectors[1])
    for given in ({"shots": "12:24"}, {"time": "12.5-25"}):
        part = of_movie(reader, "m", described, Part.parse(**given))
        assert (part.scene, part.first_shot, part.last_shot) == (None, 12, 24)
        expected = scene_vectors(reader.engine, described.movie.features, np.array([[12, 24]]))[0]
        assert np.array_equal(part.vector, expected)
    assert of_movie(reader, "m", described, Part.parse(time="10-20")).scene == 2
    with pytest.raises(FeatureError, match="shots: expected from 0 to 39"):
        of_movie(reader, "m", described, Part.parse(shots="39:40"))
