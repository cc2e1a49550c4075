"""Next shot: four shots, and the five that follow them, shuffled; which comes next (Argaw et al., Sec. 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from megaseg.training.recipes.head.choice import Choice


@dataclass(frozen=True)
class NextShot(Choice):
    """The shot that comes after four others, among the next five."""

    kind: ClassVar[str] = "next-shot"
    length: ClassVar[int] = 5
    shots: ClassVar[int] = 9
    arrangements: ClassVar[tuple[tuple[int, ...], ...]] = tuple((0, 1, 2, 3, candidate) for candidate in range(4, 9))
