"""Screenplays and models that read them, without a sentence encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support import random_checkpoint, small_config

from megaseg import Checkpoint, save_checkpoint
from megaseg.engine.model.config import Modality
from megaseg.features import Block, Screenplay, ScreenplayExtractor
from megaseg.features.screenplay import blocks, scenes
from megaseg.features.screenplay.screenplay import ACTION, DIALOGUE

SCRIPT = "\n".join(f"INT. ROOM {n} - DAY\n\nIt is {n} o'clock.\n\nANNA\nNot yet {n}.\n" for n in range(9))


class ZeroExtractor(ScreenplayExtractor):
    """Features of screenplays whose sentences all mean nothing."""

    def vectors(self, play: Screenplay, advance: Callable[[int], None] = lambda count: None) -> Any:
        advance(len(play.blocks))
        return np.zeros((len(play.blocks), 384), np.float32)

    def encode(self, texts: list[str]) -> Any:
        return np.zeros((len(texts), 384), np.float32)

    def log_odds(self, play: Screenplay) -> Any:
        return np.zeros(len(play.blocks), np.float32)


def model(task: str) -> Checkpoint:
    """A scene model of blocks, or an act model of scenes."""
    recipe, structure = (blocks.RECIPE, 80) if task == "scene" else (scenes.RECIPE, 35)
    modalities = (Modality("description", 384), Modality("dialogue", 384), Modality("structure", structure))
    return random_checkpoint(small_config(task, modalities=modalities, recipe=recipe))


def save_models(folder: Path) -> dict[str, str]:
    """Files of both models by task."""
    for task in ("scene", "act"):
        save_checkpoint(folder / f"{task}.safetensors", model(task))
    return {task: str(folder / f"{task}.safetensors") for task in ("scene", "act")}


def screenplay(scenes: int = 9, blocks: int = 4, named: bool = True) -> Screenplay:
    """A screenplay of equal scenes, which it names or not."""
    kinds = [ACTION if i % 2 else DIALOGUE for i in range(scenes * blocks)]
    rows = tuple(Block(k, "" if k == ACTION else "ANNA", "word " * (1 + i % 7)) for i, k in enumerate(kinds))
    numbers = np.arange(scenes * blocks) // blocks
    return Screenplay("movie", rows, None, *((numbers, scenes) if named else ()))
