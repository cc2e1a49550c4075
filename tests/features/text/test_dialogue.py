"""Dialogue by shot: every line that overlaps, each text encoded once; and the first words of a scene."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg.errors import FeatureError
from megaseg.features.text.dialogue import Dialogue, encoded, first_words, shot_rows
from megaseg.media.subtitles import SubtitleLine

LINES = (
    SubtitleLine(4000, 6000, "Is anybody there?"),
    SubtitleLine(0, 1000, "[wind]"),
    SubtitleLine(500, 2500, "- (whispers) The lamp is out."),
    SubtitleLine(9000, 9500, "Is anybody there?"),
)
SHOTS = np.array([[0, 500], [500, 1000], [1000, 4000], [4000, 4000], [4000, 9000], [9000, 20000]])


def encode(texts: list[str]) -> np.ndarray:
    assert len(set(texts)) == len(texts), "each text once"
    return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)


def test_a_shot_owns_every_line_that_overlaps_it() -> None:
    dialogue = encoded(LINES, encode)
    assert [line.text for line in dialogue.lines] == ["- The lamp is out.", "Is anybody there?", "Is anybody there?"]
    lamp, there = [18, 1], [17, 1]
    expected = np.array([[0, 0], lamp, lamp, [0, 0], there, there], np.float32)
    np.testing.assert_array_equal(shot_rows(dialogue, SHOTS), expected)
    both = shot_rows(dialogue, np.array([[0, 20000]]))
    np.testing.assert_allclose(both, [[52 / 3, 1]])


def test_shots_of_any_times_against_the_rule_itself() -> None:
    rng = np.random.default_rng(0)
    edges = np.sort(rng.integers(0, 500, 41))
    shots = np.stack([edges[:-1], edges[1:]], 1)
    spans = rng.integers(0, 500, (30, 1)) + np.stack([np.zeros(30, int), rng.integers(1, 40, 30)], 1)
    lines = [SubtitleLine(begin, end, str(i)) for i, (begin, end) in enumerate(spans.tolist())]
    vectors = rng.standard_normal((30, 4)).astype(np.float32)
    dialogue = encoded(lines, lambda texts: vectors[[int(text) for text in texts]])
    for row, (begin, end) in zip(shot_rows(dialogue, shots), shots, strict=True):
        own = [vectors[int(x.text)] for x in lines if x.start_ms < end and x.end_ms > begin]
        np.testing.assert_allclose(row, np.mean(own, 0) if own else np.zeros(4), rtol=1e-5, atol=1e-6)


def test_nobody_speaks() -> None:
    dialogue = encoded([SubtitleLine(0, 10, "[wind]")], encode)
    assert not shot_rows(dialogue, SHOTS).any()
    with pytest.raises(FeatureError, match="expected 1 sentence vectors"):
        Dialogue(LINES[:1], np.zeros((2, 4), np.float32))


@pytest.mark.parametrize(
    ("start", "end", "most", "words"),
    [
        (0, 4000, 48, "The lamp is out."),
        (0, 5000, 48, "The lamp is out. Is anybody there?"),
        (0, 5000, 24, "The lamp is out. Is…"),
        (0, 5000, 16, "The lamp is out…"),
        (0, 5000, 2, "T…"),
        (6000, 9000, 48, ""),
    ],
)
def test_first_words(start: int, end: int, most: int, words: str) -> None:
    assert first_words(LINES, start, end, most) == words
