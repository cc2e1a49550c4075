"""Sound of a film as rows of half a second, 16 kHz mono, each where its time stamps put it; gaps are silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.media.container import Film
from megaseg.media.measures import RATE, SOUND_ROW, SoundMeasure
from megaseg.media.piles import Pile

BATCH = 64  # rows that are measured at once; batches start at multiples of it
_SLACK = RATE // 10  # samples by which time stamps may differ from the count of samples
_AHEAD = 300.0  # seconds ahead of the picture and of the film's end from which a time stamp is noise
_BEHIND = 120 * RATE  # samples behind the picture from which sound counts as missing
# Without a largest sum of a mix's weights, six loud channels add up to more than full scale.
_MIX = {"rematrix_maxval": "1.0", "ochl": "mono", "osf": "flt", "osr": str(RATE)}


class Rows:
    """Samples placed into batches of rows, measured when full."""

    def __init__(self, measures: Sequence[SoundMeasure], first: int = 0) -> None:
        """``first``: the first row whose values are wanted."""
        self._measures = measures
        self._first = first
        self._batch = np.zeros(BATCH * SOUND_ROW, np.float32)
        self._number = 0  # of the batch
        self.position = 0  # samples that are settled
        self.values = {measure.name: Pile(measure.width) for measure in measures}
        self.done = first  # rows before this one are measured

    def write(self, position: int, samples: NDArray[np.float32]) -> None:
        """Place samples at a position; what is settled stays, what is skipped is silence."""
        samples = samples[max(self.position - position, 0) :]
        if not len(samples):
            return
        self.silence(position)
        while len(samples):
            at = self.position - self._number * self._batch.size
            here = min(self._batch.size - at, len(samples))
            self._batch[at : at + here] = samples[:here]
            self.position += here
            samples = samples[here:]
            self._pass()

    def silence(self, until: int) -> None:
        """Settle everything before a position."""
        while self.position < until:
            self.position = min(until, (self._number + 1) * self._batch.size)
            self._pass()

    def finish(self, rows: int) -> None:
        """Measure up to a film's last row; the rest of that row is silence."""
        self.silence(rows * SOUND_ROW)
        self._measure(max(rows - self._number * BATCH, 0))

    def _pass(self) -> None:
        if self.position == (self._number + 1) * self._batch.size:
            self._measure(BATCH)
            self._batch[:] = 0
            self._number += 1

    def _measure(self, rows: int) -> None:
        begin = self._number * BATCH
        skipped = max(self._first - begin, 0)
        if rows <= skipped:
            return
        batch = np.clip(np.nan_to_num(self._batch.reshape(BATCH, SOUND_ROW)[:rows]), -1, 1)
        for measure in self._measures:
            values = measure.measure(batch)
            self.values[measure.name].add(values[skipped:])
        self.done = begin + rows


class Sound:
    """The sound track of a film on its way into rows."""

    def __init__(self, film: Film, track: Any, rows: Rows) -> None:
        self._film, self._track = film, track
        self._rows = rows
        self._unit = float(track.time_base)  # seconds
        self._resampler: Any = None
        self._next = 0  # position of the next sample that the resampler gives
        self._taken = 0.0  # seconds of sound that the resampler took since its start
        self._begin = 0.0  # time at which it started, in seconds

    def push(self, packet: Any, picture: float) -> None:
        """Decode one packet, None at the end; ``picture`` is where the film is, in seconds."""
        for frame in self._film.decode(self._track, packet):
            self._take(frame, picture)

    def follow(self, picture: float) -> None:
        """Give up sound that has not come long after its picture."""
        self._rows.silence(int(picture * RATE) - _BEHIND)

    def finish(self, picture: float, rows: int) -> None:
        """Settle all rows of a film that has so many."""
        self.push(None, picture)
        self._flush()
        self._rows.finish(rows)

    def _take(self, frame: Any, picture: float) -> None:
        if not frame.samples or not frame.sample_rate:
            return
        due = self._begin + self._taken
        stamp = frame.pts if frame.pts is not None else frame.dts
        time = due if stamp is None else stamp * self._unit - self._film.start_seconds
        if time > max(picture, self._film.duration or 0.0) + _AHEAD:
            return
        if self._resampler is None or abs(time - due) * RATE > _SLACK:
            self._restart(time)
        for samples in self._resampled(frame, time):
            self._write(samples)
        self._taken += frame.samples / frame.sample_rate

    def _resampled(self, frame: Any, time: float) -> Iterator[NDArray[np.float32]]:
        try:
            yield from map(_mono, self._resampler.resample(frame))
        except ValueError:  # another rate, layout or format from here on
            self._restart(time)
            yield from map(_mono, self._resampler.resample(frame))

    def _restart(self, time: float) -> None:
        from av.audio.resampler import AudioResampler

        self._flush()
        self._resampler = AudioResampler(format="flt", layout="mono", rate=RATE, options=_MIX)
        self._begin, self._taken = time, 0.0
        self._next = round(time * RATE)

    def _flush(self) -> None:
        if self._resampler is not None:
            for frame in self._resampler.resample(None):
                self._write(_mono(frame))
            self._resampler = None

    def _write(self, samples: NDArray[np.float32]) -> None:
        self._rows.write(self._next, samples)
        self._next += len(samples)


def _mono(frame: Any) -> NDArray[np.float32]:
    """Samples (n,) of a frame of mono floats."""
    return np.frombuffer(frame.planes[0], np.float32, frame.samples)
