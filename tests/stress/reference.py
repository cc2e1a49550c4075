"""The MEGA model in NumPy, written from its equations alone, exactly (float64) or as a naive model of a compute type.

The naive model stores every value in its type, weights included, and normalises in full precision. Rounding is drawn
at random, uniform within half a unit in the last place, so that the spread over draws shows how far the naive model's
logits are from the exact ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import erf

from megaseg.engine.model.config import ModelConfig

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, Array]
SIGNIFICAND = {"float64": 50, "float32": 24, "bfloat16": 8, "float16": 11}  # bits; float64: three for the exact model


class Exact:
    """Arithmetic in float64. ``largest`` is the largest magnitude of any value."""

    largest = 0.0

    def stored(self, x: Array) -> Array:
        """A value between two operations."""
        self.largest = max(self.largest, float(np.abs(x).max(initial=0)))
        return x

    def product(self, x: Array, y: Array) -> Array:
        """Sums over the last axis of x and the last but one of y."""
        return self.stored(x @ y)

    def encoded(self, x: Array, weight: Array) -> Array:
        """A product of an encoder layer with its weights, which int8 has a type of its own for."""
        return self.product(x, weight.T)


class Naive(Exact):
    """Values of one type, sums in float32 (float64 where they overflow, and for float64)."""

    def __init__(self, storage: str, rng: np.random.Generator) -> None:
        self._storage, self._rng = storage, rng

    def stored(self, x: Array) -> Array:
        # The exponent's bits alone are the power of two at or below |x|; 0 for 0.
        power = (np.ascontiguousarray(x, np.float64).view(np.int64) & 0x7FF0_0000_0000_0000).view(np.float64)
        step = power * 2.0 ** (1 - SIGNIFICAND[self._storage])
        if self._storage == "float16":
            step = np.maximum(step, 2.0**-24)  # denormal
        return super().stored(x + (self._rng.random(x.shape, np.float32) - 0.5) * step)

    def product(self, x: Array, y: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            out = x.astype(np.float32) @ y.astype(np.float32)
        single = self._storage != "float64" and np.isfinite(out).all()
        return self.stored(out.astype(np.float64) if single else x @ y)


class NaiveInt8(Naive):
    """Products of encoder layers in int8, with a scale for each row of tokens and of weights; the rest as stored."""

    def encoded(self, x: Array, weight: Array) -> Array:
        return self.product(self._quantised(x), self._quantised(weight).T)

    def _quantised(self, x: Array) -> Array:
        step = np.abs(x).max(axis=-1, keepdims=True) / 127
        return x + (self._rng.random(x.shape, np.float32) - 0.5) * step


def centred(tensors: Tensors) -> dict[str, Array]:
    """The same function with each projection's mean over channels, which a normalisation follows, taken away."""
    moved = {name: np.float64(values) for name, values in tensors.items()}
    for name in moved:
        if name.endswith((".proj.weight", ".proj.bias")) and "attn" not in name:
            moved[name] -= moved[name].mean(axis=0)
    return moved


def logits(config: ModelConfig, tensors: Tensors, movie: Mapping[str, Array], sums: Exact) -> Array:
    """Logits (n, N_c) of a movie of n shots."""
    return _Model(config, tensors, sums).logits([np.float64(movie[m.name]) for m in config.modalities])


class _Model:
    def __init__(self, config: ModelConfig, tensors: Tensors, sums: Exact) -> None:
        self.config, self.sums = config, sums
        self.weights = {name: sums.stored(np.float64(values)) for name, values in tensors.items()}

    def logits(self, features: list[Array]) -> Array:
        config, n = self.config, len(features[0])
        sequences, centre = np.arange(n)[None], slice(None)
        if config.task == "scene":  # a window around each shot, edge shots repeated
            half = config.max_length // 2
            sequences = (np.arange(n)[:, None] + np.arange(-half, half + 1)).clip(0, n - 1)
            centre = slice(half, half + 1)
        tokens, names = config.num_bottleneck, [f"modalities.{m.name}" for m in config.modalities]
        first = [self._unimodal(name, x, sequences) for name, x in zip(names, features, strict=True)]
        bottlenecks = [h[:, :tokens] for h in first]
        length = sequences.shape[1]
        both = [np.concatenate([*bottlenecks, h[:, tokens:]], axis=1) for h in first]
        fused = [self._layers(f"{name}.fusion", g)[:, -length:] for name, g in zip(names, both, strict=True)]
        rows = np.concatenate(fused, axis=2)[:, centre].reshape(n, -1)
        return self.sums.stored(self.sums.product(rows, self.weights["head.weight"].T) + self.weights["head.bias"])

    def _unimodal(self, name: str, features: Array, sequences: Array) -> Array:
        """Bottleneck tokens and latents of every sequence, (sequences, L_n + length, C), after the N_u layers."""
        w, stored, length = self.weights, self.sums.stored, sequences.shape[1]
        align, slots = w["align.weight"], np.arange(length) * self.config.num_bottleneck // length
        x = self.sums.product(stored(features), w[f"{name}.proj.weight"].T)
        x = stored(x + w[f"{name}.proj.bias"])[sequences]
        x = stored(stored(x + w[f"{name}.position.weight"][:length]) + align[slots])
        z = stored(w[f"{name}.bottleneck"] + align)
        z = np.broadcast_to(z, (len(sequences), *z.shape))
        return self._layers(f"{name}.unimodal", np.concatenate([z, self._norm(f"{name}.norm", x)], axis=1))

    def _layers(self, name: str, h: Array) -> Array:
        fusion = name.endswith("fusion")
        for i in range(self.config.num_fusion_layers if fusion else self.config.num_unimodal_layers):
            h = self._layer(f"{name}.{i}", h)
        return h

    def _layer(self, name: str, h: Array) -> Array:
        stored = self.sums.stored
        h = self._norm(f"{name}.norm1", stored(h + self._attention(f"{name}.self_attn", h)))
        inner = self._linear(f"{name}.linear1", h)
        inner = stored(inner * 0.5 * (1 + erf(inner / np.sqrt(2))))
        return self._norm(f"{name}.norm2", stored(h + self._linear(f"{name}.linear2", inner)))

    def _attention(self, name: str, h: Array) -> Array:
        w, sums, heads = self.weights, self.sums, self.config.num_heads
        batch, length, width = h.shape
        qkv = sums.stored(sums.encoded(h, w[f"{name}.in_proj_weight"]) + w[f"{name}.in_proj_bias"])
        q, k, v = np.moveaxis(qkv.reshape(batch, length, 3, heads, width // heads), (2, 3), (0, 2))
        scores = sums.product(q, np.swapaxes(k, 2, 3)) / np.sqrt(width // heads)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = sums.product(sums.stored(scores / scores.sum(axis=-1, keepdims=True)), v)
        return self._linear(f"{name}.out_proj", np.swapaxes(mixed, 1, 2).reshape(batch, length, width))

    def _linear(self, name: str, x: Array) -> Array:
        return self.sums.stored(self.sums.encoded(x, self.weights[f"{name}.weight"]) + self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Array) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x - x.mean(axis=-1, keepdims=True)  # a constant row is left with nothing but the first mean's rounding
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + self.config.layer_norm_eps)
        return self.sums.stored(x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])
