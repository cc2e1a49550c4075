"""Rhythm rows: what each column says of a cut, on lines and shots small enough to tell by hand."""

from __future__ import annotations

import numpy as np

from megaseg.features.movienet.rhythm import RHYTHM, SPEECH, rhythm_rows, speech_rows

TIMES = np.array([[0, 2000], [2000, 4000], [4000, 12_000], [12_000, 14_000]], float)
SPANS = np.array([[500, 1500], [3500, 5000], [11_000, 12_000]], float)
VECTORS = np.array([[1, 0], [1, 0], [0, 1]], np.float32)


def rows_of(times: np.ndarray, spans: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    rhythm, speech = rhythm_rows(times), speech_rows(times, spans, vectors)
    assert (rhythm.shape, speech.shape) == ((len(times), RHYTHM), (len(times), SPEECH))
    assert rhythm.dtype == speech.dtype == np.float32
    return np.concatenate([rhythm, speech], 1)


ROWS = rows_of(TIMES, SPANS, VECTORS)


def test_lengths_are_against_the_median() -> None:
    np.testing.assert_allclose(ROWS[:, 0], [0, 0, np.log(4), 0], atol=1e-6)
    np.testing.assert_allclose(ROWS[:, 1], np.log(2))
    np.testing.assert_allclose(ROWS[1, 2:4], [0, np.log(4) / 2], atol=1e-6)  # means of two before and after
    np.testing.assert_allclose(ROWS[:, 10], [0, np.log(4), 0, 0], atol=1e-6)  # the next length
    np.testing.assert_allclose(ROWS[:, 11], [1 / 8, 3 / 8, 5 / 8, 7 / 8])


def test_silence_about_cuts() -> None:
    before, after, across, spanned, near_before, near_after = ROWS[:, 12:18].T
    np.testing.assert_allclose(np.expm1(before), [0.5, 0, 0, 2], atol=1e-5)
    np.testing.assert_allclose(np.expm1(after)[:3], [1.5, 7, 60], atol=1e-4)  # nobody speaks after the third cut
    np.testing.assert_allclose(np.expm1(across), [2, 0, 60, 60], rtol=1e-5)
    np.testing.assert_array_equal(spanned, [0, 1, 0, 0])
    np.testing.assert_allclose(near_before, [0.5, -1, 0, 1])
    np.testing.assert_allclose(near_after, [1, 1, 1, 1])


def test_shares_of_speech() -> None:
    np.testing.assert_allclose(ROWS[:, 18], [0.5, 0.25, 0.5, 0], atol=1e-6)  # 2 s before each cut
    np.testing.assert_allclose(ROWS[:, 22], [0.25, 0.5, 0, 0], atol=1e-6)  # 2 s after
    np.testing.assert_allclose(ROWS[:, 26], [0.5, 0.25, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(np.expm1(ROWS[:, 27]), [1, 1, 1, 0], atol=1e-6)


def test_overlapping_lines_count_once() -> None:
    twice = np.concatenate([SPANS, SPANS + 100])
    order = np.argsort(twice[:, 0])
    rows = rows_of(TIMES, twice[order], np.tile(VECTORS, (2, 1))[order])
    np.testing.assert_allclose(rows[0, 26], 1100 / 2000, atol=1e-6)


def test_alike_before_and_after() -> None:
    centred = VECTORS - VECTORS.mean(0)
    first, second, third = centred
    cosine = first @ second / np.sqrt((first @ first) * (second @ second))
    np.testing.assert_allclose(ROWS[0, 28], cosine, rtol=1e-4)
    cosine = (first + second) @ third / np.sqrt(((first + second) @ (first + second)) * (third @ third))
    np.testing.assert_allclose(ROWS[1, 29], cosine, rtol=1e-4)


def test_a_film_without_lines() -> None:
    rows = rows_of(TIMES, np.zeros((0, 2)), np.zeros((0, 2), np.float32))
    np.testing.assert_array_equal(rows[:, :12], ROWS[:, :12])
    assert not rows[:, 12:].any()
