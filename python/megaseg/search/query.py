"""What is asked for: a scene of a film, some of its shots, or what is shown at a time, as a vector to search with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.search.describing import Described, Describer
from megaseg.search.index import SceneIndex
from megaseg.search.segment import NO_TIME

_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)|(\d{1,9}(?:\.\d{1,9})?)")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a film: a scene by its number from 1, shots from first to last, or seconds, which may be one moment.

    Raises:
        FeatureError: none of these or several, or an end before its start.
    """

    scene: int | None = None
    shots: tuple[int, int] | None = None
    time: tuple[Fraction, Fraction] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("scene", "shots", "time") if getattr(self, name) is not None]
        if len(given) != 1:
            raise FeatureError(f"part: expected one of scene, shots and time, got {' and '.join(given) or 'none'}")
        span = self.shots or self.time
        if span is not None and span[1] < span[0]:
            raise FeatureError(f"{given[0]}: expected an end that is not before the start, got one that is")

    @classmethod
    def parse(cls, scene: int | None = None, shots: str | None = None, time: str | None = None) -> Part:
        """A part as a user writes it: ``12``, ``100:120`` (both shots inside), ``1:02:03`` or ``12:00-13:10.5``.

        Raises:
            FeatureError: as the class, or text of another form.
        """
        return cls(scene, None if shots is None else _shots(shots), None if time is None else _time(time))


def _shots(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", text.strip())
    if found is None:
        raise FeatureError(f"shots: expected first and last shot such as 100:120, got {text!r:.40}")
    return int(found[1]), int(found[2] or found[1])


def _time(text: str) -> tuple[Fraction, Fraction]:
    ends = [_seconds(part.strip(), text) for part in text.split("-")]
    if len(ends) > 2:
        raise FeatureError(f"time: expected a time or two with - between, got {text!r:.40}")
    return ends[0], ends[-1]


def _seconds(part: str, text: str) -> Fraction:
    found = _CLOCK.fullmatch(part)
    if found is None:
        raise FeatureError(f"time: expected a time such as 1:02:03.5 or 63.5, got {text!r:.40}")
    if found[4] is not None:
        return Fraction(found[4])
    return int(found[1] or 0) * 3600 + int(found[2]) * 60 + Fraction(found[3])


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched with: a vector (E,), and of which film and which of its shots it is.

    ``scene`` is the number of a scene, None of other shots; ``scenes`` are the numbers of those that the vector is the
    mean of, where a stored title is asked for shots that are no scene.
    """

    name: str
    vector: NDArray[np.float32]
    scene: int | None
    first_shot: int
    last_shot: int
    seconds: tuple[float, float] | None
    scenes: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Values of JSON, the vector left out."""
        values: dict[str, Any] = {"name": self.name}
        if self.scene is not None:
            values["scene"] = self.scene
        if self.scenes:
            values["scenes"] = list(self.scenes)
        values |= {"first_shot": self.first_shot, "last_shot": self.last_shot}
        if self.seconds is not None:
            values |= {"start_seconds": self.seconds[0], "end_seconds": self.seconds[1]}
        return values


def of_title(index: SceneIndex, name: str, part: Part) -> Query:
    """A part of a title of an index, by its stored vectors: shots or times that are no scene are the scenes that they
    touch, each as often as they have shots of it.

    Raises:
        FeatureError: an unknown title, a part that is not there, or times of a title without them.
    """
    title, table = index.title(name), index.scenes(name)
    base = Fraction(title.time_base) if title.time_base else None
    scene, (first, last) = _located(part, table, base, None)
    if scene is not None:
        return Query(name, index.vector(name, scene), scene, first, last, _span(table[scene - 1], base))
    shared = np.minimum(table[:, 1], last) - np.maximum(table[:, 0], first) + 1
    touched = np.flatnonzero(shared > 0)
    mean = (index.vectors(name)[touched] * shared[touched, None]).sum(axis=0)
    rows = table[touched]
    seconds = None if base is None else _span(np.array([0, 0, rows[0, 2], rows[-1, 3]]), base)
    numbers = tuple((touched + 1).tolist())
    return Query(name, mean.astype(np.float32), None, int(rows[0, 0]), int(rows[-1, 1]), seconds, numbers)


def of_movie(describer: Describer, name: str, described: Described, part: Part) -> Query:
    """A part of a movie that has been read; shots that are no scene are read by the encoder as a scene of their own.

    Raises:
        FeatureError: a part that is not there, or times of a movie without them.
    """
    table, movie = described.kept().scenes, described.movie
    ticks, base = movie.times
    scene, (first, last) = _located(part, table, base, ticks)
    vector = described.vectors[scene - 1] if scene is not None else describer.vector(movie, first, last)
    seconds = None if ticks is None else _span(np.array([0, 0, ticks[first, 0], ticks[last, 1]]), base)
    return Query(name, vector, scene, first, last, seconds)


def _located(
    part: Part, table: NDArray[np.int64], base: Fraction | None, ticks: NDArray[np.int64] | None
) -> tuple[int | None, tuple[int, int]]:
    """The number of the scene that a part is, or None, and its first and last shot."""
    if part.scene is not None:
        if not 1 <= part.scene <= len(table):
            raise FeatureError(f"scene: expected from 1 to {len(table)}, got {part.scene}")
        return part.scene, _shots_of(table[part.scene - 1])
    if part.shots is not None:
        first, last = part.shots
        if last > table[-1, 1]:
            raise FeatureError(f"shots: expected from 0 to {table[-1, 1]}, got {first} to {last}")
        same = np.flatnonzero((table[:, 0] == first) & (table[:, 1] == last))
        return (int(same[0]) + 1 if len(same) else None), (first, last)
    assert part.time is not None
    return _at(part.time, table, base, ticks)


def _at(
    time: tuple[Fraction, Fraction], table: NDArray[np.int64], base: Fraction | None, ticks: NDArray[np.int64] | None
) -> tuple[int | None, tuple[int, int]]:
    """The scene that is shown at a moment, or the shots that are shown in a span: of scenes where no shot has times."""
    if base is None or table[0, 2] == NO_TIME:
        raise FeatureError("time: expected a movie with times, got one without; a scene or shots can be asked for")
    begin, end = (float(seconds / base) for seconds in time)
    if begin < table[0, 2]:
        raise FeatureError(f"time: expected from {float(table[0, 2] * base):g} s on, got {float(time[0]):g} s")
    if begin >= table[-1, 3]:
        raise FeatureError(f"time: expected before {float(table[-1, 3] * base):g} s, got {float(time[0]):g} s")
    if time[0] == time[1]:
        scene = int(np.searchsorted(table[:, 2], begin, "right"))
        return scene, _shots_of(table[scene - 1])
    spans = table[:, 2:] if ticks is None else ticks
    touched = np.flatnonzero((spans[:, 0] < end) & (spans[:, 1] > begin))
    first, last = (int(touched[0]), int(touched[-1])) if len(touched) else (0, 0)
    if ticks is None:
        first, last = int(table[first, 0]), int(table[last, 1])
    same = np.flatnonzero((table[:, 0] == first) & (table[:, 1] == last))
    return (int(same[0]) + 1 if len(same) else None), (first, last)


def _shots_of(row: NDArray[np.int64]) -> tuple[int, int]:
    return int(row[0]), int(row[1])


def _span(row: NDArray[np.int64], base: Fraction | None) -> tuple[float, float] | None:
    """Start and end in seconds of a row of a table."""
    if base is None or row[2] == NO_TIME:
        return None
    return float(int(row[2]) * base), float(int(row[3]) * base)
