"""Screenplays as ordered blocks: the JSONL file of TRIPOD, Fountain and plain text.

A block is one paragraph of action or one speech. Where the source names its scenes, a block carries the label 1 when it
is the last of its scene; headings, transitions and page furniture never enter the text: they give the boundary away.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.features.screenplay.script_text import parse_script

ACTION, DIALOGUE = "action", "dialogue"
_KINDS = {"a": ACTION, "d": DIALOGUE}
# A script whose dialogue or headings the source failed to recognise has no scenes worth scoring.
_MIN_DIALOGUE_SHARE, _MAX_BLOCKS_PER_SCENE = 0.05, 50


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph of action (no speaker) or one speech."""

    kind: str
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Screenplay:
    """Blocks of one movie; ``labels`` uint8 (blocks,), 1 = last block of its scene, None when not known.

    ``scenes`` int64 (blocks,) is each block's scene, from 0 to ``num_scenes - 1`` and never falling, as the source
    counts scenes: a scene without blocks is a number that no block has. None when the source names none.
    """

    name: str
    blocks: tuple[Block, ...]
    labels: NDArray[np.uint8] | None
    scenes: NDArray[np.int64] | None = None
    num_scenes: int = 0

    @property
    def num_shots(self) -> int:
        """Number of blocks, the shots of a screenplay."""
        return len(self.blocks)


def read_screenplays(path: str | Path) -> Iterator[Screenplay]:
    """Screenplays of one file: ``.jsonl``/``.jsonl.gz`` files hold many, any other suffix is one script in text form.

    Raises:
        FeatureError: unreadable, empty or malformed input; names the file and, of JSONL, the line.
    """
    path = Path(path)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _read_pack(path)
        return
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FeatureError(f"{path}: expected a readable screenplay, got {error.strerror}") from error
    yield parse_screenplay(content, path.stem, str(path))


def parse_screenplay(content: bytes | str, name: str, where: str | None = None) -> Screenplay:
    """A screenplay from its text (bytes: UTF-8), Fountain or plain; its headings say where scenes begin.

    ``where`` stands for the screenplay in messages; None takes its name.

    Raises:
        FeatureError: binary data, or a text without action and dialogue.
    """
    where = name if where is None else where
    text = content if isinstance(content, str) else content.decode("utf-8-sig", errors="replace")
    if "\0" in text:
        raise FeatureError(f"{where}: expected a text screenplay (Fountain or plain), got binary data")
    parsed = parse_script(text)
    if not parsed:
        raise FeatureError(f"{where}: expected a screenplay, found no action or dialogue")
    blocks = tuple(Block(DIALOGUE if speaker else ACTION, speaker, words) for _, speaker, words in parsed)
    numbers = np.array([scene for scene, _, _ in parsed])
    scenes = np.cumsum(np.diff(numbers, prepend=numbers[0]) > 0, dtype=np.int64)  # a heading without blocks is no scene
    labels = _last_of_scene(numbers.tolist(), blocks)
    return Screenplay(name, blocks, labels, scenes, int(scenes[-1]) + 1)


def _read_pack(path: Path) -> Iterator[Screenplay]:
    unusable = _unusable(path.with_name("movies.json"))
    found = False
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found = True
                    yield _parse_row(line, f"{path}:{number}", unusable)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise FeatureError(f"{path}: expected a readable JSONL file, got {error}") from error
    if not found:
        raise FeatureError(f"{path}: expected one screenplay a line, found an empty file")


def _unusable(path: Path) -> frozenset[str]:
    """Names that the file's ``movies.json`` (optional, beside the file) rules out for the boundary task."""
    if not path.is_file():
        return frozenset()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(row["name"] for row in rows if not row["usable_for_boundary"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FeatureError(f"{path}: expected a list of objects with name and usable_for_boundary: {error}") from error


def _parse_row(line: str, where: str, unusable: frozenset[str]) -> Screenplay:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise FeatureError(f"{where}: expected a JSON object, got {error}") from error
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
    labels = None if row["name"] in unusable else _last_of_scene(scenes, blocks)
    own = _scene_numbers(units, f"{where}: {row['name']}")
    if own is None:
        return Screenplay(row["name"], tuple(blocks), labels)
    count = int(own.max()) + 1
    if len(row["blocks"][0]) > 4:
        # TRIPOD counts one scene less than it numbers: what bears the highest number belongs to the scene before.
        headings = [heading[0] for heading in row.get("headings", ()) if heading and type(heading[0]) is int]
        count = max(1, *headings, count - 1)
    return Screenplay(row["name"], tuple(blocks), labels, np.minimum(own, count - 1), count)


def _scene_numbers(numbers: list[Any], where: str) -> NDArray[np.int64] | None:
    """Scene of each block; blocks that have none belong to the scene before them, or to the first."""
    if all(number is None for number in numbers):
        return None
    if not all(number is None or (type(number) is int and number >= 0) for number in numbers):
        raise FeatureError(f"{where}: expected scene numbers from 0 or null")
    own = np.maximum.accumulate([0 if number is None else number for number in numbers])
    if any(number is not None and number < reached for number, reached in zip(numbers, own.tolist(), strict=True)):
        raise FeatureError(f"{where}: expected scene numbers that never fall")
    return own.astype(np.int64)


def _last_of_scene(scenes: list[int | None], blocks: tuple[Block, ...] | list[Block]) -> NDArray[np.uint8] | None:
    """Labels from scene numbers; None when the source's scenes cannot be trusted."""
    count = len(set(scenes))
    if None in scenes or count < 2 or len(scenes) > _MAX_BLOCKS_PER_SCENE * count:
        return None
    if sum(block.kind == DIALOGUE for block in blocks) < _MIN_DIALOGUE_SHARE * len(blocks):
        return None
    numbers = np.array(scenes)
    return np.append(numbers[1:] != numbers[:-1], True).astype(np.uint8)
