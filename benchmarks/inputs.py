"""Models and features to measure with: presets with random weights, the same on every machine."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.rows import ROOT
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig
from megaseg.engine.model.mega import MegaConfig

sys.path.insert(0, str(ROOT / "tests"))
from support import odd_config, random_checkpoint, random_features

__all__ = ["ACT", "SCENE", "Checkpoint", "error", "features_of", "odd_config", "random_checkpoint", "random_features"]

# The paper's presets (supplementary, Table 1b), written out so that measuring needs no torch.
SCENE = MegaConfig(
    task="scene",
    modalities=(Modality("bassl", 2048), Modality("place", 2048), Modality("clip", 512)),
    **{"max_length": 17, "num_bottleneck": 2, "hidden_size": 768, "ffn_size": 3072, "num_heads": 12},
    **{"num_unimodal_layers": 2, "num_fusion_layers": 1, "num_classes": 2},
)
ACT = MegaConfig(
    task="act",
    modalities=tuple(
        Modality(name, size)
        for name, size in (
            *(("appr", 2048), ("clip", 512), ("action", 2048)),
            *(("place", 2048), ("audio", 2048), ("subtitle", 768)),
        )
    ),
    **{"max_length": 3000, "num_bottleneck": 100, "hidden_size": 128, "ffn_size": 128, "num_heads": 4},
    **{"num_unimodal_layers": 1, "num_fusion_layers": 1, "num_classes": 5},
)


def features_of(config: ModelConfig, shots: int, seed: int = 0) -> list[Any]:
    return list(random_features(config, shots, seed).values())


def error(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest |got - expected| / max(1, |expected|)."""
    return float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected))))
