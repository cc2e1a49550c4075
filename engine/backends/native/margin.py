"""Margins of checked int8: how far a type's logits may be from float32's, measured once for each compiled model."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.excerpts import excerpts_of
from megaseg.engine.backends.native.artefact import kept_beside
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.protocol import LOGITS
from megaseg.engine.graph.sequences import Whole
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.errors import UnsupportedError

FACTOR = 3.0  # of the largest error that was measured
SHOTS = 128  # of each movie that is measured on
SCALES = (1.0, 0.1, 1.0)  # of each movie's features; in the last one neighbouring shots are alike


def errors(config: ModelConfig, fast: NDArray[np.float32], exact: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest error (rows,) of logits (rows, N_c) in each row, of what decisions see.

    Where a row decides by itself, by a softmax over its classes, what is common to them changes nothing.
    """
    error = fast.astype(np.float64) - exact
    if not isinstance(config.sequences, Whole):
        error -= error.mean(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.abs(error).max(axis=1)
    return found


def kept_margin(checkpoint: Checkpoint, fast: NativeBackend, exact: NativeBackend) -> float:
    """The margin of a compiled model, kept beside it; measured where it is not there."""
    path = kept_beside(checkpoint, fast.info, "margin.json")
    if path is not None and (margin := _read(path)) is not None:
        return margin
    margin = measured_margin(checkpoint.config, fast, exact)
    if path is not None:
        with suppress(OSError), atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"margin": margin}))
    return margin


def measured_margin(config: ModelConfig, fast: NativeBackend, exact: NativeBackend) -> float:
    """``FACTOR`` times the largest error on three made movies: noise, faint noise, and noise that neighbours share."""
    excerpts = [excerpt for movie in _movies(config) for excerpt in excerpts_of(config, movie)]
    pairs = zip(fast.run(excerpts, (LOGITS,)), exact.run(excerpts, (LOGITS,)), strict=True)
    largest = max(float(errors(config, own, other).max()) for (own,), (other,) in pairs)
    return float(f"{FACTOR * largest:.3g}")


def _movies(config: ModelConfig) -> list[Features]:
    """Made movies, the same for every call: standard normal features at each scale."""
    rng = np.random.default_rng(0)
    own = config.sequences
    shots = min(SHOTS, own.most) if isinstance(own, Whole) else SHOTS
    movies = []
    for index, scale in enumerate(SCALES):
        modalities = {}
        for modality in config.modalities:
            rows = rng.standard_normal((shots, modality.feature_size))
            if index == len(SCALES) - 1:  # eight neighbours share half of their variance
                rows = (rows + rows[np.arange(shots) // 8 * 8]) / math.sqrt(2)
            modalities[modality.name] = (scale * rows).astype(np.float32)
        tokens = {} if config.token_modality is None else {config.token_modality: np.arange(shots, dtype=np.int32)}
        movies.append(Features(modalities, token_shots=tokens))
    return movies


def require_logits(config: ModelConfig) -> None:
    """Raises UnsupportedError for a model without logits, or one that reads text."""
    names = [output.name for output in structure_of(config).outputs]
    if LOGITS not in names or any(modality.type != "float32" for modality in config.modalities):
        raise UnsupportedError(
            f"compute_type 'int8_checked': expected a model that decides on features, got family {config.family} "
            f"with {', '.join(names)}"
        )


def _read(path: Path) -> float | None:
    """A margin that was kept; None where the file is not there, or not one."""
    try:
        margin = json.loads(path.read_text())["margin"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return margin if isinstance(margin, float) and 0.0 <= margin < math.inf else None
