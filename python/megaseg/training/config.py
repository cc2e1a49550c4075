"""Training configurations: a frozen dataclass of numbers for each recipe, read from a JSON file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from megaseg.errors import CheckpointError

Config = TypeVar("Config")


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


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("Mapping"):
        return isinstance(value, dict) and all(_fits(number, "int") for number in value.values())
    if kind.startswith("tuple[str"):
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    if kind in ("str", "bool"):
        return type(value).__name__ == kind
    return type(value) is int or (kind == "float" and type(value) is float)
