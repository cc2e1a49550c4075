"""Plain CSV of labels: ``name,label`` for films or clips, ``name,shot,attribute,label`` for shots, from shot 0."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from megaseg.errors import FeatureError
from megaseg.training.recipes.head.labels.lines import read_lines

ShotLabels = Mapping[str, Mapping[int, str]]  # attribute, shot -> class

_FILMS, _SHOTS = ["name", "label"], ["name", "shot", "attribute", "label"]


def classes(lines: Sequence[str], path: Path) -> Mapping[str, str]:
    """Class names by film.

    Raises:
        FeatureError: another header, a line with other fields, an empty label, or a film twice.
    """
    found: dict[str, str] = {}
    for line, (name, label) in rows_of(lines, path, _FILMS):
        if name in found:
            raise FeatureError(f"{path}: line {line}: expected each film once, got {name} again")
        found[name] = label
    return found


def numbers(lines: Sequence[str], path: Path) -> Mapping[str, float]:
    """Finite numbers by film.

    Raises:
        FeatureError: as ``classes``, or a label that is no finite number.
    """
    found = {}
    for name, label in classes(lines, path).items():
        try:
            found[name] = float(label)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise FeatureError(f"{path}: {name}: expected a finite number, got {label!r:.40}")
    return found


def read_shot_labels(path: Path) -> Mapping[str, ShotLabels]:
    """Classes by film, attribute and shot.

    Raises:
        FeatureError: names the file and line, what was expected and what came.
    """
    found: dict[str, dict[str, dict[int, str]]] = {}
    for line, (name, shot, attribute, label) in rows_of(read_lines(path), path, _SHOTS):
        if not (shot.isascii() and shot.isdigit()):
            raise FeatureError(f"{path}: line {line}: expected the number of a shot from 0, got {shot!r:.40}")
        own = found.setdefault(name, {}).setdefault(attribute, {})
        if int(shot) in own:
            raise FeatureError(f"{path}: line {line}: expected one {attribute} a shot, got another of shot {shot}")
        own[int(shot)] = label
    return found


def rows_of(
    lines: Sequence[str], path: Path, header: list[str], *, empty_last: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line, none of which is empty but perhaps the last.

    Raises:
        FeatureError: another header, or a line with other fields.
    """
    reader = csv.reader(lines)
    first = [field.strip() for field in next(reader)]
    if first != header:
        raise FeatureError(f"{path}: expected header {','.join(header)}, got {lines[0]!r:.80}")
    count = 0
    for fields in reader:
        own = [field.strip() for field in fields]
        if not any(own):
            continue
        if len(own) != len(header) or not all(own[:-1] if empty_last else own):
            got = ",".join(fields)
            raise FeatureError(f"{path}: line {reader.line_num}: expected {','.join(header)}, got {got!r:.80}")
        count += 1
        yield reader.line_num, own
    if not count:
        raise FeatureError(f"{path}: expected labels, got a header alone")
