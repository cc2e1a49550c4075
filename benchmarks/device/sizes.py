"""How much is measured at once: the presets on a GPU, and small models that try the same code without one."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.inputs import ACT, SCENE, ModelConfig


@dataclass(frozen=True)
class Sizes:
    """``windows`` and ``movies`` of a batch; ``shots`` of the movie that goes through the whole engine."""

    scene: ModelConfig
    act: ModelConfig
    windows: int
    movies: int
    shots: int
    estep_movies: int
    checked: int  # shots whose logits are held to float64
    side: int  # of the matrices that find the ceiling
    megabytes: int  # of the copy that does


GPU = Sizes(SCENE, ACT, 1024, 8, 1 << 15, 256, 256, 8192, 4096)
