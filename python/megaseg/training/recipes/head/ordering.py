"""Shot ordering: three neighbouring shots, shuffled; which of the six orders is the film's (Argaw et al., Sec. 4.3)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from megaseg.training.recipes.head.choice import Choice


@dataclass(frozen=True)
class Ordering(Choice):
    """The order of three neighbouring shots among all six."""

    kind: ClassVar[str] = "ordering"
    length: ClassVar[int] = 3
    shots: ClassVar[int] = 3
    arrangements: ClassVar[tuple[tuple[int, ...], ...]] = tuple(itertools.permutations(range(3)))
