"""Training configurations: a frozen dataclass of numbers for each recipe, read from a JSON file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from megaseg.errors import CheckpointError

Config = TypeVar("Config")
_MOST = 2**31 - 1  # of a whole number


def read_config(kind: type[Config], path: str | Path) -> Config:
    """A frozen dataclass from a JSON file; missing keys take their defaults.

    Raises:
        CheckpointError: an unreadable file, an unknown key or a value of the wrong type.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a JSON training config, got: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in types:
            raise CheckpointError(f"{path}: unknown key {key!r}, expected some of {', '.join(types)}")
        if not _fits(value, types[key]):
            raise CheckpointError(f"{path}: {key} must be {types[key]}, got {value!r}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def range_problems(
    config: Any, least: Mapping[str, int], shares: Collection[str] = (), positive: Collection[str] = ()
) -> Iterator[str]:
    """What is wrong with the numbers of a config: a sentence each.

    Args:
        config: a dataclass of numbers.
        least: least values of whole numbers; 1 of those that are not named.
        shares: names of numbers from 0 to less than 1.
        positive: names of finite numbers greater than 0.
    """
    for field in dataclasses.fields(config):
        value, floor = getattr(config, field.name), least.get(field.name, 1)
        if str(field.type) == "int" and value < floor:
            yield f"{field.name} must be at least {floor}, got {value}"
        if str(field.type) == "int" and value > _MOST:
            yield f"{field.name} must be at most {_MOST}, got {value}"
    for name in shares:
        if not 0 <= getattr(config, name) < 1:
            yield f"{name} must be from 0 to less than 1, got {getattr(config, name)}"
    for name in positive:
        if not 0 < getattr(config, name) < math.inf:
            yield f"{name} must be greater than 0, got {getattr(config, name)}"


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("Mapping"):
        return isinstance(value, dict) and all(_fits(number, "int") for number in value.values())
    if kind.startswith("tuple[str"):
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if kind in ("str", "bool"):
        return type(value).__name__ == kind
    return type(value) is int or (kind == "float" and type(value) is float)
