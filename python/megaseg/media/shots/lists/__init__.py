"""Lists of shots: read from and written to the files of other programs, one format a module."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError
from megaseg.media.shots.lists import edl, json_file, pyscenedetect, scenes_txt
from megaseg.media.shots.lists.clock import FilmClock
from megaseg.media.video import VideoInfo

__all__ = ["SUFFIXES", "read_shots", "write_shots"]

Spans = NDArray[np.int64]

READERS: dict[str, Callable[[str, FilmClock], Spans]] = {
    ".csv": pyscenedetect.read,
    ".edl": edl.read,
    ".json": json_file.read,
    ".txt": scenes_txt.read,
}
WRITERS: dict[str, Callable[[Spans, FilmClock], str]] = {
    ".csv": pyscenedetect.write,
    ".txt": scenes_txt.write,
    ".json": json_file.write,
}
SUFFIXES = tuple(WRITERS)
"""Suffixes of the files that are written."""


def read_shots(path: str | Path, frame_ticks: NDArray[np.int64], info: VideoInfo) -> Spans:
    """First and last frame (n, 2) of the shots of a list, in order; between two of them frames may be left out.

    The suffix says which list it is: ``.csv`` as PySceneDetect writes it, ``.edl`` (CMX 3600), ``.txt`` as TransNetV2
    writes it (``.scenes.txt``), ``.json`` as ``write_shots`` does. Frames count from the film's first one.

    Raises:
        FeatureError: a file that cannot be read, or shots that overlap or are not of this film; names the file.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FeatureError(f"{path}: expected a list of shots ({', '.join(READERS)}), got {path.suffix or path.name!r}")
    try:
        spans = reader(path.read_bytes().decode("utf-8-sig"), FilmClock(frame_ticks, info))
        return _checked(spans, len(frame_ticks) - 1)
    except OSError as error:
        raise FeatureError(f"{path}: expected a readable list of shots, got {error.strerror}") from error
    except (ValueError, OverflowError, csv.Error) as error:
        raise FeatureError(f"{path}: {error}") from error


def write_shots(path: str | Path, shots: Spans, frame_ticks: NDArray[np.int64], info: VideoInfo) -> None:
    """Write shots (n, 2) as the list that the suffix names, one of ``SUFFIXES``; whole or not at all.

    Raises:
        FeatureError: another suffix.
        OSError: the file cannot be written.
    """
    path = Path(path)
    writer = next((writer for suffix, writer in WRITERS.items() if path.name.lower().endswith(suffix)), None)
    if writer is None:
        raise FeatureError(f"{path}: expected one of {', '.join(SUFFIXES)}, got {path.name!r}")
    text = writer(shots, FilmClock(frame_ticks, info))
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def _checked(spans: Spans, frames: int) -> Spans:
    """The shots in the order of their first frames, cut at the film's end."""
    if not len(spans):
        raise FeatureError("expected shots, got none")
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    ends = np.minimum(spans[:, 1], frames - 1)
    wrong = (spans[:, 0] < 0) | (spans[:, 0] > ends)
    if wrong.any():
        first, last = spans[wrong][0].tolist()
        raise FeatureError(f"expected shots within the film's frames 0 to {frames - 1}, got {first} to {last}")
    over = np.flatnonzero(spans[1:, 0] <= ends[:-1])
    if len(over):
        (a, b), (c, d) = spans[over[0] : over[0] + 2].tolist()
        raise FeatureError(f"expected shots that do not overlap, got frames {a} to {b} and {c} to {d}")
    return np.column_stack([spans[:, 0], ends])
