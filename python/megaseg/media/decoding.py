"""One pass over a film, in the child: every frame is decoded once and measured, its values are written part by part."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from megaseg.errors import FeatureError
from megaseg.media.child import Tell
from megaseg.media.container import Film, opened
from megaseg.media.embedded import lines
from megaseg.media.frames import Scaler
from megaseg.media.measures import RATE, SOUND_ROW, Measures, MeasureSpec
from megaseg.media.measuring import FrameValues, Made, PictureValues, make, ring_for, taken
from megaseg.media.parts import (
    KINDS,
    SEEN,
    Part,
    Position,
    film_key,
    read_parts,
    remove_left,
    remove_oldest,
    write_part,
)
from megaseg.media.selection import Selection
from megaseg.media.sound import Rows, Sound
from megaseg.media.subtitles import SubtitleLine
from megaseg.media.thumbnails import Thumbnails, ThumbnailValues
from megaseg.media.timestamps import FrameTicks

_TELL = 0.1  # seconds from one message to the next


class NotTheSame(Exception):
    """Frames before a part that is to be gone on from are not decoded as they were."""


def probe(path: str, *, tell: Tell) -> dict[str, Any]:
    """What a film's file and its first frame say, as JSON."""
    with opened(Path(path)) as film:
        first = next(film.frames(film.packets()), None)
        if first is None:
            raise _no_frames(film)
        return film.info(first).to_json()


def record(path: str, measures: Mapping[str, Any], folder: str, size: int, *, tell: Tell) -> str:
    """Measure a film; its parts of ``size`` frames are in the folder below ``folder`` that is the result."""
    specs = {kind: tuple(MeasureSpec(**spec) for spec in measures[kind]) for kind in KINDS}
    made = make(Measures(**specs, thumbnails=measures["thumbnails"]), size)
    own = Path(folder, film_key(Path(path), made.identities, size))
    own.mkdir(parents=True, exist_ok=True)
    os.utime(own)  # in use
    remove_left(own)
    with suppress(OSError):  # another process may do the same
        remove_oldest(Path(folder))
    before: Part | None = None
    number = 0
    for before in read_parts(own):
        number += 1
        if before.position.last:
            return str(own)
    try:
        _run(path, made, own, size, tell, before, number)
    except NotTheSame:
        _run(path, made, own, size, tell, None, 0)
    return str(own)


def _run(path: str, made: Made, folder: Path, size: int, tell: Tell, before: Part | None, number: int) -> None:
    with opened(Path(path)) as film:
        Pass(film, made, folder, size, before, number).run(tell)


def _no_frames(film: Film) -> FeatureError:
    return FeatureError(f"{film.name}: expected a video with frames, got none that can be decoded")


class Pass:
    """One pass from a film's start, or from the end of the part ``before``, of which there are ``number``."""

    def __init__(self, film: Film, made: Made, folder: Path, size: int, before: Part | None, number: int) -> None:
        self._film, self._folder, self._size, self._number = film, folder, size, number
        first = number * size
        self._position = before.position if before else None
        self._expected = deque(before.ticks[-SEEN:].tolist() if before else [])
        self._ring = ring_for(made, first - len(self._expected))
        self._frames = {measure.name: FrameValues(measure, self._ring, first) for measure in made.frames}
        self._pictures = PictureValues(made.pictures)
        size_before = before.thumbnails.size if before else (0, 0)
        self._thumbnails = ThumbnailValues(size_before, film.time_base) if made.thumbnails else None
        self._selection = Selection(film.time_base, before.position.selection if before else None)
        self._scaler = Scaler()
        # Rows of sound and lines that parts have taken.
        self._row, self._line = (before.position.row, before.position.lines) if before else (0, 0)
        self._rows = Rows(made.sound, self._row)
        self._sound = Sound(film, film.audio, self._rows) if film.audio is not None and made.sound else None
        if film.delay and before:
            film.delay.late = before.position.late
        self._stamps = FrameTicks(film.start, film.frame_step)
        self._ticks: list[int] = []  # of frames that no part has taken yet
        self._lines: list[SubtitleLine] = []
        self._seen_lines = 0
        self._packets = 0  # video packets so far
        self._keys: deque[tuple[int, int]] = deque()  # number and tick of key packets
        self._closed: deque[tuple[Position, int]] = deque()  # parts that wait for values, and their pictures
        self._info = before.position.info if before else None
        self._now = before.position.end if before else 0
        self._step = film.frame_step
        self._unit = float(film.time_base)

    def run(self, tell: Tell) -> None:
        """Read the file to its end."""
        film, told = self._film, 0.0
        by_stream = {film.video.index: self._video}
        if self._sound is not None and film.audio is not None:
            by_stream[film.audio.index] = self._audio
        if film.subtitles is not None:
            by_stream[film.subtitles.index] = self._subtitles
        for packet in film.packets():
            take = by_stream.get(packet.stream_index)
            if take is not None:
                take(packet)
            if time.monotonic() - told > _TELL:
                told = time.monotonic()
                tell([self._seconds, self._info.duration if self._info else None])
        self._finish()

    @property
    def _seconds(self) -> float:
        return self._now * self._unit

    def _video(self, packet: Any) -> None:
        self._packets += 1
        tick = self._film.packet_tick(packet)
        if packet.is_keyframe and tick is not None:
            self._keys.append((self._packets - 1, tick))
        if self._position is None or self._packets > self._position.packet:
            self._decode(packet)

    def _decode(self, packet: Any | None) -> None:
        for frame in self._film.decode(self._film.video, packet):
            tick = self._stamps.next(self._film.stamp(frame))
            if self._expected:
                self._compare(frame, tick)
            else:
                self._frame(frame, tick)

    def _compare(self, frame: Any, tick: int) -> None:
        """Pass over frames up to those that the part before ended with; they must be what they were."""
        if tick < self._expected[0] and self._ring.count % self._size == self._size - SEEN:
            return
        if tick != self._expected.popleft():
            raise NotTheSame
        self._ring.push(frame)
        self._selection.show(self._ring.latest())
        if not self._expected and self._position is not None and self._digest() != self._position.digest:
            raise NotTheSame
        # What is missing at a start in the middle is no damage; the part before tells of its own.
        self._film.damaged = 0

    def _frame(self, frame: Any, tick: int) -> None:
        if self._info is None:
            self._info = self._film.info(frame)
        if self._ticks and self._ring.count % self._size == 0:
            self._close(tick, last=False)
        self._film.damaged += frame.is_corrupt
        self._ring.push(frame)
        self._ticks.append(tick)
        self._now, self._step = tick, frame.duration or self._film.frame_step
        if self._selection.wants(self._ring.latest(), tick):
            self._picture(frame, tick)
        for values in self._frames.values():
            values.advance()
        if self._sound is not None:
            self._sound.follow(self._seconds)
        self._write_ready()

    def _picture(self, frame: Any, tick: int) -> None:
        if self._pictures.values or self._thumbnails is not None:
            picture = self._scaler.picture(frame)
            if self._pictures.values:
                self._pictures.push(picture, tick)
            if self._thumbnails is not None:
                self._thumbnails.push(picture, tick, self._film.shape(frame))

    def _audio(self, packet: Any) -> None:
        if self._sound is not None:
            self._sound.push(packet, self._seconds)

    def _subtitles(self, packet: Any) -> None:
        for line in lines(self._film, packet):
            self._seen_lines += 1
            if self._seen_lines > self._line + len(self._lines):
                self._lines.append(line)

    def _finish(self) -> None:
        self._decode(None)
        if self._expected or (self._number and not self._ticks):
            raise NotTheSame
        if not self._ticks:
            raise _no_frames(self._film)
        self._film.damaged += self._film.cut_short
        end = self._now + max(self._step, 1)
        for values in self._frames.values():
            values.finish()
        if self._sound is not None:
            self._sound.finish(self._seconds, self._rows_before(end))
        self._close(end, last=True)
        self._write_ready()

    def _rows_before(self, tick: int) -> int:
        if self._sound is None:
            return 0
        return max(math.ceil(tick * self._film.time_base * RATE / SOUND_ROW), 0)

    def _digest(self) -> str:
        window = self._ring.window(self._ring.count - SEEN, self._ring.count)
        return hashlib.sha256(window.luma.tobytes() + window.chroma.tobytes()).hexdigest()

    def _close(self, end: int, *, last: bool) -> None:
        """Mark the end of a part, before the frame at ``end``."""
        assert self._info is not None
        self._pictures.flush()
        if self._thumbnails is not None:
            self._thumbnails.close()
        seen = self._ticks[-SEEN:][0]
        while len(self._keys) > 1 and self._keys[1][1] <= seen:
            self._keys.popleft()
        known = self._keys and self._keys[0][1] <= seen
        position = Position(
            info=self._info,
            row=self._rows_before(end),
            end=end,
            last=last,
            lines=self._seen_lines,
            packet=self._keys[0][0] if known else 0,
            late=self._film.delay.late if self._film.delay else None,
            selection=self._selection.state,
            damaged=self._film.damaged > 0 or (self._position is not None and self._position.damaged),
            digest=self._digest(),
        )
        before = sum(pictures for _, pictures in self._closed)
        self._closed.append((position, len(self._pictures.ticks) - before))

    def _write_ready(self) -> None:
        while self._closed and self._is_ready(self._closed[0][0]):
            position, pictures = self._closed.popleft()
            frames = len(self._ticks) if position.last else self._size
            rows, texts = position.row - self._row, position.lines - self._line
            part = Part(
                position=position,
                ticks=np.array(self._ticks[:frames], np.int64),
                frames=taken({name: values.values for name, values in self._frames.items()}, frames),
                picture_ticks=np.array(self._pictures.ticks[:pictures], np.int64),
                pictures=taken(self._pictures.values, pictures),
                sound=taken(self._rows.values, rows),
                lines=tuple(self._lines[:texts]),
                thumbnails=self._thumbnails.take(position.end) if self._thumbnails else Thumbnails.none(),
            )
            write_part(self._folder, self._number, part)
            self._number += 1
            self._row, self._line = position.row, position.lines
            del self._ticks[:frames], self._lines[:texts], self._pictures.ticks[:pictures]

    def _is_ready(self, position: Position) -> bool:
        if position.last:
            return True
        framed = all(len(values.values) >= self._size for values in self._frames.values())
        return framed and (self._sound is None or self._rows.done >= position.row)
