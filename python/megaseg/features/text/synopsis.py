"""Synopses by sentence, with the sentences that annotators chose as turning points."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaseg.engine.tasks.act import TURNING_POINTS
from megaseg.errors import FeatureError
from megaseg.features.build import file_name

COUNT = len(TURNING_POINTS)


@dataclass(frozen=True, slots=True)
class Synopsis:
    """A synopsis by sentences; ``turning_points`` holds five sentence indices an annotator."""

    name: str
    sentences: tuple[str, ...]
    turning_points: tuple[tuple[int, ...], ...]


def read_synopses(path: str | Path, *, labelled: bool = True) -> dict[str, Synopsis]:
    """Labelled synopses from JSONL: ``name``, ``sentences`` and ``annotations`` [{"tp": five indices from 0}].

    Keys are feature file names without suffix. With ``labelled`` False annotations may be missing.

    Raises:
        FeatureError: names the file, the line, what was expected and what came.
    """
    path = Path(path)
    found: dict[str, Synopsis] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FeatureError(f"{path}: expected readable synopses (JSONL), got: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            synopsis = _parse(line, f"{path}:{number}", labelled)
            key = file_name(synopsis.name).removesuffix(".npz")
            if key in found:
                raise FeatureError(f"{path}:{number}: expected each movie once, got {synopsis.name!r} again")
            found[key] = synopsis
    if not found:
        raise FeatureError(f"{path}: expected a synopsis a line, found none")
    return found


def _parse(line: str, where: str, labelled: bool) -> Synopsis:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise FeatureError(f"{where}: expected a JSON object, got: {error}") from error
    if not labelled and isinstance(row, dict):
        row.setdefault("annotations", [])
    match row:
        case {"name": str(name), "sentences": list(sentences), "annotations": list(annotations)} if all(
            isinstance(sentence, str) and sentence.strip() for sentence in sentences
        ):
            pass
        case _:
            raise FeatureError(f"{where}: expected an object with name, sentences (texts) and annotations")
    if not sentences or (labelled and len(sentences) < COUNT):
        raise FeatureError(f"{where}: {name}: expected at least {COUNT} sentences, got {len(sentences)}")
    if labelled and not annotations:
        raise FeatureError(f"{where}: {name}: expected at least one annotation of its turning points, got none")
    points = []
    for annotation in annotations:
        own = annotation.get("tp") if isinstance(annotation, dict) else None
        known = range(len(sentences))
        if not isinstance(own, list) or len(own) != COUNT or any(type(i) is not int or i not in known for i in own):
            raise FeatureError(f"{where}: {name}: expected {COUNT} sentences from 0 to {len(sentences) - 1}, got {own}")
        points.append(tuple(own))
    return Synopsis(name, tuple(sentences), tuple(points))
