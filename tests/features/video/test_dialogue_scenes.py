"""Scenes by their dialogue alone: of subtitles and of screenplays, and where there is too little of it."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg import Engine
from megaseg.errors import FeatureError
from megaseg.features.screenplay.screenplay import ACTION, DIALOGUE, Block, Screenplay
from megaseg.features.screenplay.spoken import spoken_scenes
from megaseg.features.text.dialogue import Dialogue, encoded
from megaseg.features.video.dialogue_scenes import RECIPE, TooLittleDialogue, owners, scene_features
from megaseg.media.subtitles import SubtitleLine

TIMES = np.array([[0, 10_000], [10_000, 10_000], [10_000, 40_000], [40_000, 100_000]])


def encode(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)


def dialogue(*lines: tuple[int, int, str]) -> Dialogue:
    return encoded([SubtitleLine(*line) for line in lines], encode)


def test_a_scene_owns_the_lines_whose_middle_is_in_it() -> None:
    talk = dialogue((8000, 10_900, "a"), (8000, 12_000, "bb"), (39_000, 41_000, "ccc"), (200_000, 201_000, "late"))
    assert owners(talk, TIMES).tolist() == [0, 2, 3, -1]
    assert owners(dialogue(), TIMES).tolist() == []
    found = scene_features(talk, TIMES, least=3)
    assert found.recipe == RECIPE
    np.testing.assert_array_equal(found.modalities["dialogue"], [[1, 1], [0, 0], [2, 1], [3, 1]])
    assert found.modalities["structure"].shape == (4, 30)


def test_time_is_the_clock() -> None:
    found = scene_features(dialogue((0, 10, "Yes!")), TIMES, least=1).modalities["structure"]
    middles = np.array([0.05, 0.1, 0.25, 0.7])
    bumps = np.exp(-0.5 * ((middles[:, None] - np.linspace(0, 1, 16)) / 0.06) ** 2)
    np.testing.assert_allclose(found[:, :16], bumps, atol=1e-6)
    np.testing.assert_allclose(found[3, 16] - found[2, 16], np.log(2), rtol=1e-5)


def test_what_does_not_depend_on_the_unit() -> None:
    """A film twice as slow, with its subtitles, has the same bumps and relative lengths."""
    lines = [(i * 1000, i * 1000 + 800, f"line {i}!") for i in range(90)]
    slow = [(2 * start, 2 * end, text) for start, end, text in lines]
    times = TIMES[[0, 2, 3]]
    one = scene_features(dialogue(*lines), times, least=9).modalities
    two = scene_features(dialogue(*slow), 2 * times, least=9).modalities
    np.testing.assert_array_equal(one["dialogue"], two["dialogue"])
    np.testing.assert_allclose(one["structure"], two["structure"], atol=0.1)


def test_too_little_dialogue_is_told() -> None:
    with pytest.raises(TooLittleDialogue, match="at least 100 lines to find acts by, got 2"):
        scene_features(dialogue((0, 10, "a"), (20, 30, "b")), TIMES)


@pytest.mark.parametrize("times", [np.zeros((0, 2)), np.zeros(4), np.array([[0, 10], [5, 20]]), np.array([[10, 0]])])
def test_times_that_are_no_scenes(times: np.ndarray) -> None:
    with pytest.raises(FeatureError, match="scenes one after the other"):
        scene_features(dialogue((0, 10, "a")), times, least=1)


def test_the_shipped_model_finds_five_points_in_order() -> None:
    times = np.stack([np.arange(40), np.arange(1, 41)], 1) * 120_000
    lines = [(i * 9000, i * 9000 + 4000, f"Line {i} of the talk!") for i in range(500)]
    rows = np.random.default_rng(0).standard_normal((500, 384)).astype(np.float32) / 20
    talk = encoded([SubtitleLine(*line) for line in lines], lambda texts: rows[: len(texts)])
    result = Engine.from_checkpoint("video-acts").segment(scene_features(talk, times))
    assert len(result.acts) == 6
    points = [act.last_shot for act in result.acts[:-1]]
    assert points == sorted(points)
    assert 30 < points[-1] < 40, "the climax is late"


def test_a_screenplay_as_a_film() -> None:
    blocks = (
        Block(ACTION, "", "Rain falls on the sea."),
        Block(DIALOGUE, "ANNA", "The lamp is out, and nobody has come to the island since the storm began to rise."),
        Block(ACTION, "", "She waits."),
    )
    lines, times = spoken_scenes(Screenplay("a", blocks, None), np.array([0, 0, 2]), 3)
    assert times.tolist() == [[0, 7200], [7200, 7200], [7200, 7700]]
    assert [(line.start_ms, line.end_ms) for line in lines] == [(1250, 5800), (5800, 7200)]
    assert " ".join(line.text for line in lines) == blocks[1].text
    assert max(len(line.text) for line in lines) <= 60
