"""JSONL files of many screenplays, one a line, gzipped or not: the form of TRIPOD."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.features.screenplay.screenplay import ACTION, DIALOGUE, Block, Screenplay, last_of_scene

_KINDS = {"a": ACTION, "d": DIALOGUE}
_GZIP = b"\x1f\x8b"
_LONGEST_LINE = 1 << 26  # characters; the largest screenplay of TRIPOD has 500,000
_MOST_SCENES = 1 << 31
_SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)
_MOST_UNPACKED = 1 << 28  # characters of a file that is given as bytes, which a stranger may have sent


def read_pack(path: Path) -> Iterator[Screenplay]:
    """Screenplays of a file; ``movies.json`` beside it may rule movies out for the boundary task.

    A malformed line is an error when all others have been read.

    Raises:
        FeatureError: unreadable, empty or malformed input; names the file and the line.
    """
    unusable = _unusable(path.with_name("movies.json"))
    try:
        with path.open("rb") as stream:
            yield from _read(stream, str(path), unusable)
    except OSError as error:
        raise FeatureError(f"{path}: expected a readable JSONL file, got {error}") from error


def parse_pack(content: bytes, where: str) -> Iterator[Screenplay]:
    """Screenplays of a file's bytes.

    Raises:
        FeatureError: as ``read_pack``.
    """
    return _read(io.BufferedReader(io.BytesIO(content)), where, frozenset(), _MOST_UNPACKED)


def _read(
    stream: io.BufferedReader, where: str, unusable: frozenset[str], most: float = float("inf")
) -> Iterator[Screenplay]:
    found, wrong = False, list[FeatureError]()
    try:
        zipped = stream.peek(2).startswith(_GZIP)  # a pipe has no beginning to go back to
        with io.TextIOWrapper(gzip.open(stream) if zipped else stream, encoding="utf-8-sig") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST_LINE), ""), 1):
                most -= len(line)
                if most < 0:
                    raise FeatureError(f"{where}: expected a JSONL file of up to {_MOST_UNPACKED >> 20} MiB unpacked")
                if line.strip():
                    found = True
                    try:
                        play = _parse_row(line, f"{where}:{number}", unusable)
                    except FeatureError as error:
                        wrong.append(error)
                        continue
                    yield play
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise FeatureError(f"{where}: expected a readable JSONL file, got {error}") from error
    if not found:
        raise FeatureError(f"{where}: expected one screenplay a line, found an empty file")
    if wrong:
        more = f"; {len(wrong) - 1} more lines are no screenplays either" if len(wrong) > 1 else ""
        raise FeatureError(f"{wrong[0]}{more}") from wrong[0]


def _unusable(path: Path) -> frozenset[str]:
    """Names that the file's ``movies.json`` (optional, beside the file) rules out for the boundary task."""
    if not path.is_file():
        return frozenset()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(row["name"] for row in rows if not row["usable_for_boundary"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise FeatureError(f"{path}: expected a list of objects with name and usable_for_boundary: {error}") from error


def _parse_row(line: str, where: str, unusable: frozenset[str]) -> Screenplay:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"{where}: expected a JSON object, got {error}") from error
    if _SURROGATE.search(line) and not _is_unicode(row):
        raise FeatureError(f"{where}: expected text, got half of a surrogate pair")
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not isinstance(row.get("blocks"), list):
        raise FeatureError(f"{where}: expected an object with name (text) and blocks (list)")
    blocks, scenes, units = [], [], []
    for index, entry in enumerate(row["blocks"]):
        match entry:
            case ["a" | "d" as kind, str(speaker), str(text), *middle, int() | None as scene]:
                blocks.append(Block(_KINDS[kind], " ".join(speaker.split()), " ".join(text.split())))
                scenes.append(scene)
                units.append(middle[0] if middle else scene)
            case _:
                raise FeatureError(
                    f'{where}: block {index}: expected ["a" or "d", speaker, text, ..., scene], got {entry!r:.80}'
                )
    labels = None if row["name"] in unusable else last_of_scene(scenes, blocks)
    own = _scene_numbers(units, f"{where}: {row['name']}")
    if own is None:
        return Screenplay(row["name"], tuple(blocks), labels)
    count = int(own.max()) + 1
    if len(row["blocks"][0]) > 4:
        # TRIPOD counts one scene less than it numbers: what bears the highest number belongs to the scene before.
        headings: Any = row.get("headings")
        listed = headings if isinstance(headings, list) else []
        numbered = [heading[0] for heading in listed if isinstance(heading, list) and heading]
        count = max(1, *(number for number in numbered if type(number) is int), count - 1)
    return Screenplay(row["name"], tuple(blocks), labels, np.minimum(own, count - 1), count)


def _is_unicode(row: Any) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _scene_numbers(numbers: list[Any], where: str) -> NDArray[np.int64] | None:
    """Scene of each block; blocks that have none belong to the scene before them, or to the first."""
    if all(number is None for number in numbers):
        return None
    if not all(number is None or (type(number) is int and 0 <= number < _MOST_SCENES) for number in numbers):
        raise FeatureError(f"{where}: expected scene numbers from 0 to {_MOST_SCENES - 1} or null")
    own = np.maximum.accumulate([0 if number is None else number for number in numbers])
    if any(number is not None and number < reached for number, reached in zip(numbers, own.tolist(), strict=True)):
        raise FeatureError(f"{where}: expected scene numbers that never fall")
    return own.astype(np.int64)
