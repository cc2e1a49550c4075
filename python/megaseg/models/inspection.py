"""Inner values of a model as arrays: fusion attention, embeddings, the synchronisation of two models (extra ``train``).

The torch backend computes them: the native engine never forms an attention matrix.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native.artefact import is_artefact
from megaseg.engine.backends.protocol import LOGITS
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph.graph import Node
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.graph.sequences import Whole
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.engine.model.mega import MegaConfig
from megaseg.engine.tasks.decoding import softmax
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.kernels.banded_estep import banded_estep, density_threshold

_DENSITY = 0.03
CheckpointSource = Checkpoint | str | os.PathLike[str]


def attention_scores(
    checkpoint: CheckpointSource, features: FeatureSource, shot: int | None = None
) -> dict[str, NDArray[np.float32]]:
    """Scores of the last fusion layer's attention, by modality: float32 (n, M L_n + n), a mean over heads.

    Rows are latents (queries); columns are the bottleneck tokens of all modalities in the config's order, then the
    modality's own latents. Every row sums to 1. n is the window length, for the window around ``shot`` with edge shots
    repeated (scene), or the movie's shots (act: 43 MB a modality for 3,000 of them).

    Raises:
        UnsupportedError: a compiled model, or one without fusion layers.
        FeatureError: features that do not fit the model, or a ``shot`` that is missing, outside the movie, or given to
            a model of whole movies.
    """
    model = _loaded(checkpoint)
    config = model.config
    if not isinstance(config, MegaConfig) or not config.num_fusion_layers:
        raise UnsupportedError("attention_scores: expected a model with fusion layers, got num_fusion_layers 0")
    backend = _backend(model, passes=False)
    movie = _arrays(config, features)
    if config.task != "scene" and shot is not None:
        raise FeatureError(f"shot: expected none for a model of task {config.task}, got {shot}")
    if config.task == "scene" and (shot is None or not 0 <= shot < len(movie[0])):
        raise FeatureError(f"shot: expected the middle of a window, from 0 to {len(movie[0]) - 1}, got {shot}")
    window = None if shot is None else range(shot, shot + 1)
    nodes = [_last_attention(contribution) for contribution in backend.graph.output(LOGITS).parts]
    rows = iter(backend.rows([source for node in nodes for source in node.inputs], movie, window))
    return {
        modality.name: _scores(next(rows)[node.prefix :], next(rows), node.attributes["heads"])
        for modality, node in zip(config.modalities, nodes, strict=True)
    }


def _arrays(config: ModelConfig, features: FeatureSource) -> list[NDArray[np.float32]]:
    own = config.sequences
    most = own.most if isinstance(own, Whole) else None
    return as_features(features).ordered_for(config.modalities, config.recipe, most)


def _last_attention(node: Node) -> Node:
    while node.op != "attention":
        node = node.inputs[0]
    return node


def _scores(q: NDArray[np.float32], kv: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """softmax(q k^T / sqrt(d)), a mean over heads; kv holds keys, then values."""
    size = q.shape[1] // heads
    total = np.zeros((len(q), len(kv)))
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        total += softmax(q[:, own] @ kv[:, own].T * np.float32(size**-0.5), axis=1)
    return (total / heads).astype(np.float32)


def fused_rows(checkpoint: CheckpointSource, features: FeatureSource) -> NDArray[np.float32]:
    """A model's embeddings u_i (or v_j) of Eq. 5: the rows before its head, float32 (shots, M C).

    Raises:
        UnsupportedError: a compiled model. FeatureError: features that do not fit the model.
    """
    model = _loaded(checkpoint)
    backend = _backend(model, passes=True)
    movie = _arrays(model.config, features)
    parts = [contribution.inputs[0] for contribution in backend.graph.output(LOGITS).parts]
    return np.concatenate(backend.rows(parts, movie), axis=1)


def synchronisation(
    act_checkpoint: CheckpointSource,
    features: FeatureSource,
    synopsis_checkpoint: CheckpointSource,
    sentence_features: FeatureSource,
    threshold: float | None = None,
    band: float = 0.3,
) -> NDArray[np.bool_]:
    """The synchronisation matrix W of a movie and its synopsis (Eq. 2): bool (shots, sentences).

    w_ij = 1 where the cosine of shot i's and sentence j's embeddings is at least ``threshold`` (lambda) and the pair
    lies within the ``band`` (xi); all False where no pair does. Without a threshold, the one that keeps 3 % of the
    pairs inside the band.

    Raises:
        UnsupportedError: compiled models, models of other tasks, or embeddings of different width.
        FeatureError: features that do not fit their model, or a band or threshold that ``banded_estep`` refuses.
    """
    act, synopsis = _loaded(act_checkpoint), _loaded(synopsis_checkpoint)
    for task, model in (("act", act), ("synopsis", synopsis)):
        if model.config.task != task:
            raise UnsupportedError(f"{task}_checkpoint: expected a model of task {task}, got {model.config.task}")
    widths = [_embedding_width(model) for model in (act, synopsis)]
    if widths[0] != widths[1]:
        raise UnsupportedError(f"synopsis_checkpoint: expected embeddings {widths[0]} wide, got {widths[1]}")
    shots, sentences = _normalised(fused_rows(act, features)), _normalised(fused_rows(synopsis, sentence_features))
    if threshold is None:
        threshold = density_threshold([shots], [sentences], _DENSITY, band)
    return banded_estep(shots, sentences, threshold=threshold, band=band).view(np.bool_)


def _embedding_width(model: Checkpoint) -> int:
    return sum(part.inputs[0].width for part in structure_of(model.config).output(LOGITS).parts)


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    unit: NDArray[np.float32] = (rows / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def _loaded(checkpoint: CheckpointSource) -> Checkpoint:
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    if is_artefact(checkpoint):
        raise UnsupportedError(f"{checkpoint}: expected a checkpoint, got a compiled model, which torch cannot run")
    return load_checkpoint(checkpoint)


def _backend(checkpoint: Checkpoint, *, passes: bool) -> TorchBackend:
    return TorchBackend(checkpoint, passes=tuple(PASSES) if passes else ())
