"""The input streams that a model names."""

from __future__ import annotations

from dataclasses import dataclass

TYPES = ("float32", "int32")


@dataclass(frozen=True, slots=True)
class Modality:
    """One input stream: its name, its feature width D_m, and the type of its values (int32: ids of table rows)."""

    name: str
    feature_size: int
    type: str = "float32"
