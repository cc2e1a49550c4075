"""Small random models and features for every test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from megaseg.engine.backends.protocol import LOGITS, PARTS, Backend, Excerpt, logits_of
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig
from megaseg.engine.model.mega import MegaConfig

__all__ = [
    "explained",
    "logits_of",
    "odd_config",
    "random_checkpoint",
    "random_features",
    "small_config",
    "window_logits",
]
Run = Callable[..., tuple[int, str, str]]  # a command line to exit code, stdout and stderr


def small_config(task: str = "scene", **changes: Any) -> ModelConfig:
    config = MegaConfig(
        task=task,
        modalities=(Modality("clip", 13), Modality("audio", 7)),
        max_length=5 if task == "scene" else 40,
        num_bottleneck=2,
        hidden_size=24,
        ffn_size=20,
        num_heads=3,
        num_unimodal_layers=1,
        num_fusion_layers=1,
        num_classes=2 if task == "scene" else 5,
    )
    return dataclasses.replace(config, **changes)


def random_checkpoint(config: ModelConfig, seed: int = 0) -> Checkpoint:
    """Weights at the scale of a trained model: norms near one, the rest of width sqrt(1 / inputs)."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in config.tensor_shapes().items():
        values = rng.standard_normal(shape) / np.sqrt(shape[-1] if len(shape) > 1 else 16)
        if "norm" in name and name.endswith("weight"):
            values += 1
        tensors[name] = values.astype(np.float32)
    return Checkpoint(config, tensors)


def random_features(config: ModelConfig, shots: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        modality.name: rng.standard_normal((shots, modality.feature_size)).astype(np.float32)
        for modality in config.modalities
    }


def odd_config(seed: int) -> ModelConfig:
    """A random model of odd sizes; over 20 seeds every branch of the executors is taken."""
    rng = np.random.default_rng(seed)
    task = ("scene", "act", "synopsis")[seed % 3]
    head_size = int(rng.choice([5, 16, 17, 24, 32, 48, 64, 96, 128]))
    heads = int(rng.integers(1, 5)) if head_size < 64 else int(rng.integers(1, 3))
    modalities = tuple(Modality(f"m{i}", int(rng.choice([1, 7, 13, 33, 130]))) for i in range(rng.integers(1, 7)))
    return small_config(
        task,
        modalities=modalities,
        max_length=int(rng.choice([1, 3, 7, 17])) if task == "scene" else int(rng.integers(20, 300)),
        num_bottleneck=int(rng.integers(1, 8)),
        hidden_size=heads * head_size,
        ffn_size=int(rng.choice([1, 30, 65, 200])),
        num_heads=heads,
        num_unimodal_layers=int(rng.integers(0, 3)),
        num_fusion_layers=int(rng.integers(0, 3)),
        layer_norm_eps=float(rng.choice([1e-5, 1e-3])),
    )


def window_logits(backend: Backend, excerpts: Sequence[Excerpt]) -> list[np.ndarray]:
    return [rows for (rows,) in backend.run(excerpts)]


def explained(backend: Backend, movie: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Logits of a movie, and the parts that add up to them."""
    return backend.run([Excerpt.whole(movie)], (LOGITS, LOGITS + PARTS))[0]
