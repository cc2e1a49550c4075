"""LVU's label files: lines of fields with spaces between, ended by YouTube's and IMDb's id of a clip.

Source: Wu and Krähenbühl, Towards Long-Form Video Understanding (CVPR 2021). Three headers: ``class_id class_name
youtube_id imdb_id``, ``like_count dislike_count youtube_id imdb_id`` and ``view_count youtube_id imdb_id``. Targets of
the last two are as published errors have them: ten times the share of likes, and the natural logarithm of the views.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from megaseg.errors import FeatureError

_CLASSES = ("class_id", "class_name", "youtube_id", "imdb_id")
_LIKES = ("like_count", "dislike_count", "youtube_id", "imdb_id")
_VIEWS = ("view_count", "youtube_id", "imdb_id")


def is_one(lines: Sequence[str]) -> bool:
    """Whether a file has the header of one of LVU's."""
    return tuple(lines[0].split()) in (_CLASSES, _LIKES, _VIEWS)


def classes(lines: Sequence[str], path: Path) -> Mapping[str, str]:
    """Class names by YouTube id.

    Raises:
        FeatureError: a file of numbers, or a line that has other fields.
    """
    if tuple(lines[0].split()) != _CLASSES:
        raise FeatureError(f"{path}: expected classes, header {' '.join(_CLASSES)}, got {lines[0]!r:.80}")
    return {fields[2]: fields[1] for _, fields in _rows(lines, path)}


def numbers(lines: Sequence[str], path: Path) -> Mapping[str, float]:
    """Targets by YouTube id.

    Raises:
        FeatureError: a file of classes, or a line that has other fields or counts that give no number.
    """
    header = tuple(lines[0].split())
    if header not in (_LIKES, _VIEWS):
        raise FeatureError(f"{path}: expected header {' '.join(_LIKES)} or {' '.join(_VIEWS)}, got {lines[0]!r:.80}")
    target: Callable[[Sequence[str]], float] = _likes if header == _LIKES else _views
    found = {}
    for line, fields in _rows(lines, path):
        try:
            found[fields[-2]] = target(fields)
        except (ValueError, ZeroDivisionError) as error:
            raise FeatureError(f"{path}: line {line}: expected positive counts, got {fields[:-2]}") from error
    return found


def _likes(fields: Sequence[str]) -> float:
    likes, dislikes = int(fields[0]), int(fields[1])
    return 10 * likes / (likes + dislikes)


def _views(fields: Sequence[str]) -> float:
    return math.log(int(fields[0]))


def _rows(lines: Sequence[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line; a clip has one line."""
    width, seen = len(lines[0].split()), set()
    for line, text in enumerate(lines[1:], 2):
        fields = text.split()
        if not fields:
            continue
        if len(fields) != width:
            raise FeatureError(f"{path}: line {line}: expected {width} fields as in {lines[0]!r}, got {text!r:.80}")
        if fields[-2] in seen:
            raise FeatureError(f"{path}: line {line}: expected each clip once, got {fields[-2]} again")
        seen.add(fields[-2])
        yield line, fields
