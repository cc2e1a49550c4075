"""CSV of tags: ``name,label`` for films, ``name,first,last,label`` for scenes by their shots, from shot 0.

Several tags are several lines, or ``a|b`` in one; an empty label says that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from megaseg.errors import FeatureError
from megaseg.training.recipes.head.labels.lines import read_lines
from megaseg.training.recipes.head.labels.table import rows_of

Span = tuple[int, int]  # first and last shot of a scene
Tags = Mapping[Span | None, tuple[str, ...]]  # of a film's scenes, or under None of all of it

_FILMS, _SCENES = ["name", "label"], ["name", "first", "last", "label"]


def read_tags(path: Path) -> Mapping[str, Tags]:
    """Tags by film and scene, in order and each once.

    Raises:
        FeatureError: names the file and line, what was expected and what came.
    """
    lines = read_lines(path)
    scenes = lines[0].replace(" ", "") == ",".join(_SCENES)
    found: dict[str, dict[Span | None, tuple[str, ...]]] = {}
    for line, (name, *shots, label) in rows_of(lines, path, _SCENES if scenes else _FILMS, empty_last=True):
        span = _span(shots, f"{path}: line {line}") if scenes else None
        own = found.setdefault(name, {})
        tags = (tag.strip() for tag in label.split("|"))
        own[span] = tuple(sorted({*own.get(span, ()), *(tag for tag in tags if tag)}))
    return {name: dict(sorted(own.items(), key=lambda item: item[0] or (0, 0))) for name, own in found.items()}


def _span(shots: list[str], where: str) -> Span:
    if not all(shot.isascii() and shot.isdigit() for shot in shots) or int(shots[0]) > int(shots[1]):
        raise FeatureError(f"{where}: expected the first and last shot of a scene, from 0, got {','.join(shots)!r:.40}")
    return int(shots[0]), int(shots[1])
