"""Which films a head trains on and which validate, and whether labels are of these films."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError

_SHOWN = 3


def split_films(names: Iterable[str], share: float) -> tuple[list[str], list[str]]:
    """Names to train on and, a ``share`` of them but at least one, to validate on, in the order of ``names``.

    Which are which depends on the SHA-256 of each name, so that a film more moves few others.

    Raises:
        FeatureError: fewer than two films, or a share that leaves none to train on.
    """
    own = list(names)
    count = max(1, math.ceil(share * len(own) - 1e-9))
    if len(own) < 2 or count >= len(own):
        raise FeatureError(
            f"films: expected some to train on and others to validate on (a share of {share}), got {len(own)} in all"
        )
    chosen = set(sorted(own, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])
    return [name for name in own if name not in chosen], [name for name in own if name in chosen]


def require_films(labels: Mapping[str, Any], movies: Mapping[str, Features], path: Path) -> None:
    """Every film that has labels has features.

    Raises:
        FeatureError: names some that have none.
    """
    unknown = [name for name in labels if name not in movies]
    if unknown:
        shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
        raise FeatureError(
            f"{path}: expected labels of films that have features, got {len(unknown)} of {len(labels)} without: {shown}"
        )
