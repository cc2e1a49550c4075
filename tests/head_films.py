"""A small encoder of shots and generated films for heads, whose labels follow from the features."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.models import contextualizer
from megaseg.training.recipes.head.config import HeadConfig

WIDTH = 6
FAST = HeadConfig(epochs=8, patience=8, learning_rate=2e-2, head_dropout=0.0, frozen_batch_size=64, encoder_share=0.2)


@cache
def encoder(length: int = 12) -> Checkpoint:
    """Random weights, which keep most of what the features say."""
    torch.manual_seed(3)
    config = ContextualizerConfig(
        task="embedding",
        modalities=(Modality("visual", WIDTH),),
        max_length=length,
        step=length // 2,
        hidden_size=32,
        ffn_size=32,
        num_heads=2,
        num_layers=1,
    )
    return contextualizer.to_checkpoint(contextualizer.Contextualizer(config))


def noise(rng: np.random.Generator, shots: int) -> np.ndarray:
    return rng.standard_normal((shots, WIDTH)).astype(np.float32)


def scenes(count: int, seed: int) -> dict[str, Features]:
    """Films whose last shots of scenes stand out in the first feature."""
    rng, films = np.random.default_rng(seed), {}
    for film in range(count):
        labels = (rng.random(int(rng.integers(20, 40))) < 0.25).astype(np.uint8)
        rows = noise(rng, len(labels))
        rows[:, 0] += 5 * labels
        films[f"film-{seed}-{film}"] = Features({"visual": rows}, labels=labels)
    return films


def shuffled_labels(films: dict[str, Features], seed: int) -> dict[str, Features]:
    rng = np.random.default_rng(seed)
    return {name: Features(film.modalities, labels=rng.permutation(film.labels)) for name, film in films.items()}


def clips(count: int, seed: int) -> tuple[dict[str, Features], dict[str, float]]:
    """Clips and a number of each, by which its rows lie along the second feature."""
    rng, films, numbers = np.random.default_rng(seed), {}, {}
    for clip in range(count):
        name, number = f"clip-{seed}-{clip}", float(rng.uniform(-2, 2))
        rows = noise(rng, int(rng.integers(3, 30)))
        rows[:, 1] += 2 * number
        films[name], numbers[name] = Features({"visual": rows}), number
    return films, numbers


def walks(count: int, seed: int) -> dict[str, Features]:
    """Films in which the first two features turn by a sixth of a circle from shot to shot."""
    rng, films = np.random.default_rng(seed), {}
    for film in range(count):
        rows = 0.1 * noise(rng, 24)
        angles = rng.uniform(0, 2 * np.pi) + np.arange(24) * np.pi / 3
        rows[:, :2] += 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        films[f"walk-{seed}-{film}"] = Features({"visual": rows.astype(np.float32)})
    return films
