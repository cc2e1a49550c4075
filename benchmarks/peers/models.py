"""The models that are measured: presets with random weights, and the small ones that the package brings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from benchmarks.inputs import ACT, SCENE, ModelConfig, random_checkpoint
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint


@dataclass(frozen=True)
class Model:
    """``name`` is that of its files, and of the shipped checkpoint where no preset is given."""

    name: str
    preset: ModelConfig | None = None

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return load_checkpoint(self.name) if self.preset is None else random_checkpoint(self.preset)

    @property
    def config(self) -> ModelConfig:
        return self.checkpoint.config if self.preset is None else self.preset


SCENE_PRESET, ACT_PRESET = Model("scene", SCENE), Model("act", ACT)
SHIPPED = (Model("screenplay-scenes"), Model("video-scenes"))
