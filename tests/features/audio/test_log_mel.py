"""Log-mel statistics of sounds whose spectrum is known."""

from __future__ import annotations

import numpy as np

from megaseg.features.audio.log_mel import BANDS, LogMelMeasure
from megaseg.media.measures import RATE, SOUND_ROW

TIME = np.arange(SOUND_ROW) / RATE


def sine(hertz: float, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * TIME)).astype(np.float32)


def measured(*rows: np.ndarray) -> np.ndarray:
    values = LogMelMeasure().measure(np.stack(rows).astype(np.float32))
    assert values.dtype == np.float32
    assert values.shape == (len(rows), LogMelMeasure.width)
    return values


def test_silence_is_zero() -> None:
    assert not measured(np.zeros(SOUND_ROW)).any()


def test_a_higher_tone_is_in_a_higher_band() -> None:
    values = measured(*map(sine, (200, 1000, 5000)))
    bands = values[:, :BANDS].argmax(1)
    mel = 2595 * np.log10(1 + np.array([60, 200, 1000, 5000, 7600]) / 700)
    expected = (mel[1:4] - mel[0]) / (mel[4] - mel[0]) * (BANDS + 1) - 1
    np.testing.assert_allclose(bands, expected, atol=0.6)
    np.testing.assert_allclose(values[:, :BANDS].max(1), 8, atol=0.4)  # 80 dB above the floor
    assert (values[:, BANDS : 2 * BANDS].max(1) < 0.2).all()  # steady


def test_loudness_and_silence() -> None:
    loud, quiet = sine(440), sine(440, 0.001)
    half = np.where(TIME < 0.25, loud, 0)
    values = measured(loud, quiet, half)
    np.testing.assert_allclose(values[:2, -2], [7.7, 1.7076], atol=0.02)
    np.testing.assert_allclose(values[:, -1], [1, 0, 0.5], atol=0.04)
    assert values[2, BANDS : 2 * BANDS].max() > 2


def test_rows_are_apart_and_may_be_none() -> None:
    rows = [sine(300), sine(900, 0.2)]
    np.testing.assert_array_equal(measured(*rows)[1], measured(rows[1])[0])
    assert LogMelMeasure().measure(np.empty((0, SOUND_ROW), np.float32)).shape == (0, LogMelMeasure.width)
