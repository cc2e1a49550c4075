"""A family that is not MEGA: no prefix tokens, norms before, ids beside features, two outputs, stages of 2 and 3 heads.

What MEGA alone has must not be assumed anywhere: every backend runs this one too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from megaseg.engine.backends.protocol import Backend, Excerpt
from megaseg.engine.graph.graph import Graph, Output, Weight
from megaseg.engine.graph.layers import layer_shapes, pre_norm_layer
from megaseg.engine.graph.ops import (
    add,
    add_table,
    features,
    gather,
    l2_normalise,
    layer_norm,
    linear,
    pool,
    select,
    windows,
)
from megaseg.engine.graph.sequences import Sequences, Whole, Windows
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig

HEADS = (2, 3)
ACTIVATIONS = ("gelu", "relu")
EPS = 1e-5
OUTPUTS = ("logits", "embedding")
SHOTS = (1, 2, 7, 40)


@dataclass(frozen=True, slots=True)
class ToyConfig(ModelConfig, family="toy"):
    """``modalities`` are features, then ids. Task ``scene`` sees windows of ``length`` shots, others whole movies."""

    task: str
    modalities: tuple[Modality, ...]
    length: int
    hidden_size: int
    ffn_size: int
    num_ids: int
    threshold: float | None = None
    recipe: str | None = None

    def problems(self) -> Iterator[str]:
        if self.hidden_size % math.lcm(*HEADS):
            yield f"hidden_size must be a multiple of {math.lcm(*HEADS)}, got {self.hidden_size}"

    @property
    def sequences(self) -> Sequences:
        return Windows(self.length) if self.task == "scene" else Whole(self.length)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        size = self.hidden_size
        layers = {f"{i}.{name}": shape for i in (0, 1) for name, shape in layer_shapes(size, self.ffn_size).items()}
        return {
            "proj": (size, self.modalities[0].feature_size),
            "ids": (self.num_ids, size),
            "position": (self.length, size),
            **layers,
            "norm.weight": (size,),
            "norm.bias": (size,),
            "head.weight": (2, size),
            "head.bias": (2,),
            "pooled": (7, size),
        }

    def build(self, tensor: Callable[[str], Weight]) -> Graph:
        windowed = self.task == "scene"
        space = "shots" if windowed else "latents"
        x = features(0, self.modalities[0].feature_size, space)
        named = gather(features(1, 1, space), tensor("ids"))
        if windowed:
            x, named = windows(x), windows(named)
        h = add_table(add((linear(x, tensor("proj")), named)), tensor("position"))
        for i, (heads, activation) in enumerate(zip(HEADS, ACTIVATIONS, strict=True)):
            h = pre_norm_layer(h, tensor, str(i), heads=heads, eps=EPS, activation=activation)
        h = layer_norm(h, tensor("norm.weight"), tensor("norm.bias"), EPS)
        rows = select(h, "sequences") if windowed else h
        embedding = l2_normalise(linear(pool(h), tensor("pooled"), activation="tanh"))
        logits = linear(rows, tensor("head.weight"), tensor("head.bias"))
        return Graph(self.sequences, self.modalities, (Output("logits", logits), Output("embedding", embedding)))


def toy_config(task: str = "scene", length: int = 5) -> ToyConfig:
    modalities = (Modality("clip", 11), Modality("place", 1, "int32"))
    return ToyConfig(task, modalities, length, hidden_size=18, ffn_size=13, num_ids=9)


def toy_checkpoint(config: ToyConfig, seed: int = 0) -> Checkpoint:
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in config.tensor_shapes().items():
        values = rng.standard_normal(shape) / np.sqrt(shape[-1] if len(shape) > 1 else 9)
        tensors[name] = (values + (name.endswith("weight") and "norm" in name)).astype(np.float32)
    return Checkpoint(config, tensors)


def toy_features(config: ToyConfig, shots: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    clip = rng.standard_normal((shots, config.modalities[0].feature_size)).astype(np.float32)
    return {"clip": clip, "place": rng.integers(0, config.num_ids, (shots, 1)).astype(np.int32)}


def toy_outputs(checkpoint: Checkpoint, movie: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and embeddings in float64, by NumPy alone."""
    config = checkpoint.config
    w = {name: np.asarray(values, np.float64) for name, values in checkpoint.tensors.items()}
    shots = len(movie["clip"])
    rows = movie["clip"].astype(np.float64) @ w["proj"].T + w["ids"][movie["place"][:, 0]]
    if config.task == "scene":
        around = np.arange(config.length) - config.length // 2
        sequences = rows[(np.arange(shots)[:, None] + around).clip(0, shots - 1)]
    else:
        sequences = rows[None]
    h = sequences + w["position"][: sequences.shape[1]]
    for i, (heads, activation) in enumerate(zip(HEADS, ACTIVATIONS, strict=True)):
        own = {name.removeprefix(f"{i}."): values for name, values in w.items() if name.startswith(f"{i}.")}
        h = _layer(h, own, heads, activation)
    h = _norm(h, w["norm.weight"], w["norm.bias"])
    read = h[:, config.length // 2] if config.task == "scene" else h[0]
    pooled = np.tanh(h.mean(axis=1) @ w["pooled"].T)
    embedding = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return read @ w["head.weight"].T + w["head.bias"], embedding


def worst(backend: Backend, checkpoint: Checkpoint) -> float:
    """The largest error of both outputs over movies of several lengths, run together and alone."""
    movies = [toy_features(checkpoint.config, shots, shots) for shots in SHOTS]
    excerpts = [Excerpt.whole(list(movie.values())) for movie in movies]
    together, alone = backend.run(excerpts, OUTPUTS), [backend.run([excerpt], OUTPUTS)[0] for excerpt in excerpts]
    found = 0.0
    for movie, *runs in zip(movies, together, alone, strict=True):
        for got in runs:
            for rows, expected in zip(got, toy_outputs(checkpoint, movie), strict=True):
                assert rows.shape == expected.shape
                found = max(found, float(np.abs(rows - expected).max()))
    return found


def _norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPS) * weight + bias


def _layer(h: np.ndarray, w: dict[str, np.ndarray], heads: int, activation: str) -> np.ndarray:
    x = _norm(h, w["norm1.weight"], w["norm1.bias"]) @ w["self_attn.in_proj_weight"].T + w["self_attn.in_proj_bias"]
    q, k, v = (part.reshape(*h.shape[:2], heads, -1).swapaxes(1, 2) for part in np.split(x, 3, axis=2))
    scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attended = (weights / weights.sum(axis=-1, keepdims=True) @ v).swapaxes(1, 2).reshape(h.shape)
    h = h + attended @ w["self_attn.out_proj.weight"].T + w["self_attn.out_proj.bias"]
    hidden = _norm(h, w["norm2.weight"], w["norm2.bias"]) @ w["linear1.weight"].T + w["linear1.bias"]
    return h + _activated(hidden, activation) @ w["linear2.weight"].T + w["linear2.bias"]


def _activated(x: np.ndarray, activation: str) -> np.ndarray:
    if activation == "relu":
        return np.maximum(x, 0)
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
