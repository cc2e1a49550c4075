"""Published settings of heads by name, of ``presets.json`` (Chen et al., CVPR 2023, supplementary).

``lvu-*``: Table 1. ``places`` and ``boundary``: Section 1.3. ``mature``: Section 1.4, three layers of which two are
hidden; its learning rate, batch, epochs and dropout, which the paper does not print, are chosen here. The paper names
SGD and no momentum; its epochs are chosen on validation, so that nothing stops early.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.training.recipes.head.config import HeadConfig

_FILE = Path(__file__).with_name("presets.json")


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of head, its settings, and its classes where they are fixed."""

    head: str
    config: HeadConfig
    classes: tuple[str, ...] = ()

    def check(self, labels: Mapping[str, Any] | None) -> None:
        """Compare labels with the classes.

        Raises:
            FeatureError: a label that is none of them; names the film.
        """
        for name, label in (labels or {}).items() if self.classes else ():
            if label not in self.classes:
                raise FeatureError(f"label of {name}: expected one of {', '.join(self.classes)}, got {label!r:.80}")


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name."""
    known = json.loads(_FILE.read_text(encoding="utf-8"))
    return {
        name: Preset(own["head"], HeadConfig(**own["config"]), tuple(own.get("classes", ())))
        for name, own in known.items()
    }


def preset_of(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UnsupportedError: none of that name; lists them.
    """
    known: Collection[str] = presets()
    if name not in known:
        raise UnsupportedError(f"preset: expected one of {', '.join(known)}, got {name!r:.80}")
    return presets()[name]


def asked(kind: str | None, name: str | None) -> Preset:
    """The preset of a name, or of a kind of head alone the defaults.

    Raises:
        UnsupportedError: neither, no such preset, or a preset of another kind.
    """
    if name is None:
        if kind is None:
            raise UnsupportedError("head: expected a kind of head, or a preset, got neither")
        return Preset(kind, HeadConfig())
    preset = preset_of(name)
    if kind not in (None, preset.head):
        raise UnsupportedError(f"head: expected {preset.head} of preset {name}, got {kind}")
    return preset
