"""``log_mel``: the spectrum of half a second of sound, how it changes, and how loud it is."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from megaseg.media.measures import RATE

BANDS = 40
WINDOW, HOP, POINTS = 400, 200, 512  # 25 ms every 12.5 ms
LOWEST, HIGHEST = 60.0, 7600.0  # Hz
FLOOR = 1e-8  # power of the quietest sound that counts: 80 dB below a full one
SILENT = 1e-5  # power below which a window is silent: 50 dB below a full one


class LogMelMeasure:
    """Log-mel statistics of half seconds of sound.

    Columns 0 to 39 are the mean and 40 to 79 the standard deviation over time of log10(1 + power / ``FLOOR``) of 40 mel
    bands, 80 is the loudness of the row in the same unit, 81 the share of its windows that are not silent. Digital
    silence is zero everywhere.
    """

    name = "log_mel"
    width = 2 * BANDS + 2
    identity = "log_mel/1"

    def measure(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (k, 82); see ``SoundMeasure``."""
        windows = np.lib.stride_tricks.sliding_window_view(rows, WINDOW, axis=1)[:, ::HOP]
        spectra = np.fft.rfft(windows * _hann(), POINTS)
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32) @ _filters()
        bands = np.log10(1 + power / FLOOR)
        loudness = np.log10(1 + np.square(rows).mean(1, keepdims=True) / FLOOR)
        heard = (np.square(windows).mean(2) > SILENT).mean(1, keepdims=True)
        return np.concatenate([bands.mean(1), bands.std(1), loudness, heard], 1).astype(np.float32)


def decibels(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Loudness (k,) of rows of the measure in dB of full scale, silence -80."""
    return np.asarray(10 * (values[:, 2 * BANDS].astype(np.float64) + np.log10(FLOOR)), np.float64)


@cache
def _hann() -> NDArray[np.float32]:
    """Hann's window, scaled so that a sine of amplitude 1 has a power of about 1 at its frequency."""
    window = np.hanning(WINDOW + 1)[:-1]
    return np.asarray(window * 2 / window.sum(), np.float32)


@cache
def _filters() -> NDArray[np.float32]:
    """Triangular filters (257, 40), equally spaced in mel (O'Shaughnessy's formula)."""

    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2) / 2595) - 1)
    at = np.fft.rfftfreq(POINTS, 1 / RATE)[:, None]
    rise = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)
