"""Files of labels for heads: LVU's lists, plain CSV and tags, one format a file.

A label file names films as their feature files are named, without the suffix.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from megaseg.training.recipes.head.labels import lvu, table
from megaseg.training.recipes.head.labels.lines import read_lines
from megaseg.training.recipes.head.labels.table import ShotLabels, read_shot_labels
from megaseg.training.recipes.head.labels.tags import Tags, read_tags

__all__ = ["ShotLabels", "Tags", "read_classes", "read_numbers", "read_shot_labels", "read_tags"]


def read_classes(path: Path) -> Mapping[str, str]:
    """Class names by film, of LVU's files or a CSV ``name,label``.

    Raises:
        FeatureError: names the file and line, what was expected and what came.
    """
    lines = read_lines(path)
    return lvu.classes(lines, path) if lvu.is_one(lines) else table.classes(lines, path)


def read_numbers(path: Path) -> Mapping[str, float]:
    """Finite numbers by film, of LVU's files or a CSV ``name,label``.

    Raises:
        FeatureError: names the file and line, what was expected and what came.
    """
    lines = read_lines(path)
    return lvu.numbers(lines, path) if lvu.is_one(lines) else table.numbers(lines, path)
