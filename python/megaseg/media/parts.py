"""A film's values, part by part, in files of a folder: a pass that was killed goes on at the part under way."""

from __future__ import annotations

import hashlib
import json
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.arrays import read_members
from megaseg.engine.inputs.files import atomic_write
from megaseg.media.measures import RATE, SOUND_ROW, Recording
from megaseg.media.subtitles import SubtitleLine
from megaseg.media.thumbnails import Thumbnails
from megaseg.media.video import VideoInfo

SIZE = 6000  # frames of every part but the last, where nothing else is asked for
SEEN = 64  # frames before a part that a resumed pass decodes again, to compare them
VERSION = 2  # raised whenever values of the same measures would differ
KEPT = 8 << 30  # bytes of films that a cache keeps
_FILM = re.compile(r"[0-9a-f]{32}")  # name of a film's folder
_LEFT = 3600  # seconds after which a temporary file is one that a killed process left, and a film is in no use
_EDGE = 1 << 16  # bytes of a file's head and of its tail that tell it from others
KINDS = ("frames", "pictures", "sound")

Values = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a pass stands at the end of a part, with all that the next one needs to go on."""

    info: VideoInfo
    row: int  # the next row of sound
    end: int  # tick of the next frame's start, or of the film's end
    last: bool
    lines: int  # subtitle lines so far
    packet: int  # video packet from which decoding gives the next frames and the ``SEEN`` before them
    late: int | None  # of the film's ``Delay``
    selection: tuple[int, int]
    damaged: bool  # whether anything so far could not be read or decoded
    digest: str  # of the small frames of the latest ``SEEN`` frames


@dataclass(frozen=True, slots=True)
class Part:
    """Values of consecutive frames, and of the pictures, sound and subtitles of that time."""

    position: Position
    ticks: NDArray[np.int64]
    frames: Values
    picture_ticks: NDArray[np.int64]
    pictures: Values
    sound: Values
    lines: tuple[SubtitleLine, ...]
    thumbnails: Thumbnails


def film_key(path: Path, identities: Sequence[tuple[str, int, str]], size: int) -> str:
    """Name of a film's folder: changes with the file, with ``Made.identities`` and with the size of parts."""
    state = path.stat()
    with path.open("rb") as file:
        head = file.read(_EDGE)
        file.seek(max(state.st_size - _EDGE, 0))
        edges = hashlib.sha256(head + file.read(_EDGE)).hexdigest()
    told = json.dumps([VERSION, size, state.st_size, state.st_mtime_ns, edges, identities])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def write_part(folder: Path, number: int, part: Part) -> None:
    """Write one part; a reader sees all of it or nothing."""
    position = {name: getattr(part.position, name) for name in Position.__slots__}
    told = {
        "position": {**position, "info": part.position.info.to_json()},
        "lines": [[line.start_ms, line.end_ms, line.text] for line in part.lines],
        "thumbnail_size": part.thumbnails.size,
    }
    arrays = {f"{kind}/{name}": values for kind in KINDS for name, values in getattr(part, kind).items()}
    with atomic_write(_path(folder, number)) as path:
        np.savez(
            path,
            ticks=part.ticks,
            picture_ticks=part.picture_ticks,
            thumbnail_ticks=part.thumbnails.ticks,
            thumbnail_ends=np.cumsum([len(picture) for picture in part.thumbnails.pictures], dtype=np.int64),
            thumbnails=np.frombuffer(b"".join(part.thumbnails.pictures), np.uint8),
            told=np.frombuffer(json.dumps(told).encode(), np.uint8),
            **arrays,
        )


def remove_left(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote."""
    for left in folder.glob(".part-*.npz"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT:
                left.unlink()


def remove_oldest(cache: Path, limit: int = KEPT) -> None:
    """Remove films that were read longest ago until the others take ``limit`` bytes; those of the last hour stay."""
    films = [(folder.stat().st_mtime, folder) for folder in cache.iterdir() if _FILM.fullmatch(folder.name)]
    sizes = {folder: sum(part.stat().st_size for part in folder.glob("part-*.npz")) for _, folder in films}
    total = sum(sizes.values())
    for read, folder in sorted(films):
        if total <= limit or time.time() - read < _LEFT:
            return
        for part in folder.glob("part-*.npz"):
            part.unlink(missing_ok=True)
        folder.rmdir()
        total -= sizes[folder]


def read_parts(folder: Path) -> Iterator[Part]:
    """The parts of a folder from the first on, up to one that is missing or damaged."""
    number = 0
    while (part := _read_part(_path(folder, number))) is not None:
        yield part
        number += 1


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05}.npz"


def _read_part(path: Path) -> Part | None:
    try:
        arrays = read_members(path)
        told = json.loads(arrays["told"].tobytes())
        position = {**told["position"], "info": VideoInfo.from_json(told["position"]["info"])}
        position["selection"] = tuple(position["selection"])
        kinds = {
            kind: {name.partition("/")[2]: values for name, values in arrays.items() if name.startswith(f"{kind}/")}
            for kind in KINDS
        }
        lines = tuple(SubtitleLine(*line) for line in told["lines"])
        return Part(
            position=Position(**position),
            ticks=arrays["ticks"],
            picture_ticks=arrays["picture_ticks"],
            lines=lines,
            thumbnails=_thumbnails(arrays, told["thumbnail_size"]),
            **kinds,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None  # missing or damaged


def _thumbnails(arrays: dict[str, NDArray[Any]], size: Sequence[int]) -> Thumbnails:
    data, ends = arrays["thumbnails"].tobytes(), arrays["thumbnail_ends"].tolist()
    pictures = tuple(data[begin:end] for begin, end in zip([0, *ends], ends, strict=False))
    return Thumbnails(arrays["thumbnail_ticks"], pictures, size=(size[0], size[1]))


def recording(parts: Sequence[Part]) -> Recording:
    """A whole film of its parts."""
    final = parts[-1].position
    return Recording(
        info=final.info,
        frame_ticks=np.concatenate([*(part.ticks for part in parts), [np.int64(final.end)]]),
        frames=_joined([part.frames for part in parts]),
        picture_ticks=np.concatenate([part.picture_ticks for part in parts]),
        pictures=_joined([part.pictures for part in parts]),
        sound_ticks=_sound_ticks(final),
        sound=_joined([part.sound for part in parts]),
        lines=tuple(line for part in parts for line in part.lines),
        damaged=final.damaged,
        thumbnails=Thumbnails.joined([part.thumbnails for part in parts]),
    )


def _joined(values: Sequence[Values]) -> Values:
    return {name: np.concatenate([part[name] for part in values]) for name in values[0]}


def _sound_ticks(final: Position) -> NDArray[np.int64]:
    """Start and end (rows, 2) of each row of sound."""
    return sound_ticks(final.row, final.info.time_base)


def sound_ticks(rows: int, time_base: Fraction) -> NDArray[np.int64]:
    """Start and end (rows, 2), in ticks, of the first rows of sound."""
    tick = Fraction(SOUND_ROW, RATE) / time_base
    edges = np.arange(rows + 1, dtype=np.int64) * tick.numerator // tick.denominator
    return np.stack([edges[:-1], edges[1:]], axis=1)
