"""Subtitles of another copy of a film: late, of another rate, or cut elsewhere; the cuts say where lines belong."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg.features.text.alignment import aligned, aligned_spans
from megaseg.features.text.dialogue import Dialogue
from megaseg.media.subtitles import SubtitleLine

RNG = np.random.default_rng(0)
CUTS = np.cumsum(RNG.uniform(900, 9000, 400))  # ms, a film of about 33 minutes
STARTS = np.sort(np.concatenate([CUTS[::2] + 60, RNG.uniform(0, CUTS[-1], 150)]))  # 4 of 7 lines begin at a cut
SPANS = np.stack([STARTS, STARTS + 1500], 1)


@pytest.mark.parametrize("shift", [0, 640, -4000, 9040])
def test_a_late_file_comes_back(shift: int) -> None:
    found = aligned_spans(SPANS - shift, CUTS)
    assert np.abs(np.median(found - SPANS)) <= 160
    assert (np.abs(found - SPANS) <= 160).mean() > 0.95


def test_a_file_of_another_rate_comes_back() -> None:
    faster = SPANS * 24 * 1000 / 1001 / 25
    found = aligned_spans(faster, CUTS)
    assert np.median(np.abs(found[:, 0] - STARTS)) <= 160


def test_a_copy_with_less_in_the_middle() -> None:
    late = SPANS + np.where(STARTS[200] < STARTS, 5000, 0)[:, None]
    assert (np.abs(aligned_spans(late, CUTS) - SPANS) <= 160).mean() > 0.95


def test_few_lines_and_films_without_cuts_stay_as_they_are() -> None:
    np.testing.assert_array_equal(aligned_spans(SPANS[:49] + 900, CUTS), SPANS[:49] + 900)
    np.testing.assert_array_equal(aligned_spans(SPANS + 900, CUTS[:1]), SPANS + 900)


def test_a_dialogue_keeps_lines_with_their_vectors() -> None:
    late = np.rint(SPANS + np.where(STARTS[200] < STARTS, -3000, 0)[:, None]).astype(int)
    order = np.argsort(late[:, 0], kind="stable")
    lines = tuple(SubtitleLine(*late[i].tolist(), f"line {i}") for i in order)
    found = aligned(Dialogue(lines, order[:, None].astype(np.float32)), CUTS)
    assert [line.text for line in found.lines] == [f"line {int(v)}" for v in found.vectors[:, 0]]
    assert (np.diff(found.spans[:, 0]) >= 0).all()
    assert sorted(found.vectors[:, 0].tolist()) == list(range(len(lines)))
    nobody = aligned(Dialogue((), np.zeros((0, 3), np.float32)), CUTS)
    assert nobody.lines == ()
