"""Embeddings of shots as features: what an encoder makes of a source, for models that are trained on embeddings."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native import artefact
from megaseg.engine.backends.native.artefact import ArtefactInfo, is_artefact
from megaseg.engine.backends.onnx import file as onnx_file
from megaseg.engine.backends.onnx.file import is_onnx
from megaseg.engine.backends.protocol import EMBEDDING
from megaseg.engine.backends.tensorrt.plan import PlanInfo, is_plan, read_plan
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import CONTENT, Checkpoint, load_checkpoint, resolve_checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.extractor import Extractor
from megaseg.features.recipe import recipe_for
from megaseg.features.video.similarity import prepared
from megaseg.pipelines.pipeline import Extractors, naming
from megaseg.pipelines.sources import open_source

DIGITS = 12  # of the encoder's digest, enough to tell encoders apart


def encoder_sha256(checkpoint: str | os.PathLike[str] | Checkpoint) -> str:
    """``Checkpoint.content_sha256`` of an encoder, by which embeddings say whose they are; a compiled one bears it.

    Raises:
        CheckpointError: a file that cannot be trusted.
        UnsupportedError: a model that was compiled without it.
    """
    if isinstance(checkpoint, Checkpoint):
        return checkpoint.content_sha256()
    path = resolve_checkpoint(checkpoint)
    info = _compiled(path)
    if info is None:
        return load_checkpoint(path).content_sha256()
    if CONTENT not in info.metadata:
        raise UnsupportedError(f"{path}: expected the digest of an encoder, {CONTENT}, in metadata, got none")
    return str(info.metadata[CONTENT])


def is_encoder(checkpoint: str | os.PathLike[str]) -> bool:
    """Whether a file, or a shipped name, is a model that embeds and decides nothing.

    Raises:
        CheckpointError: a file that cannot be trusted.
    """
    path = resolve_checkpoint(checkpoint)
    return (_compiled(path) or load_checkpoint(path)).config.task == EMBEDDING


def _compiled(path: Path) -> ArtefactInfo | PlanInfo | None:
    """What a compiled model says about itself; None of a checkpoint."""
    if is_artefact(path):
        return artefact.read_info(path)
    if is_onnx(path):
        return onnx_file.load(path)[1]
    return read_plan(path)[0] if is_plan(path) else None


def recipe_of(digest: str) -> str:
    """The recipe of embeddings by the encoder of this digest."""
    return f"{EMBEDDING}/{digest[:DIGITS]}"


def embedded(engine: Engine, features: Features, digest: str, *, keep: Sequence[str] = ()) -> Features:
    """Features of modality ``embedding`` (shots, E), with times, labels and words as they were.

    Args:
        engine: of an encoder.
        features: of one movie, of the encoder's own recipe, or raw ones where it reads rows that are made of them.
        digest: ``encoder_sha256`` of the encoder.
        keep: modalities to copy along.

    Raises:
        FeatureError: features that do not fit the encoder, or a modality to keep that is not there.
        UnsupportedError: as ``Engine.embed``.
    """
    rows = engine.embed(prepared(features, engine.config.recipe))
    return _with_embedding(features, rows, digest, keep)


def _with_embedding(features: Features, rows: NDArray[np.float32], digest: str, keep: Sequence[str]) -> Features:
    for name in keep:
        if name not in features.modalities or name == EMBEDDING:
            others = ", ".join(other for other in features.modalities if other != EMBEDDING)
            raise FeatureError(f"keep: expected some of {others}, got {name!r:.80}")
    modalities = {EMBEDDING: rows, **{name: features.modalities[name] for name in keep}}
    tokens = {name: shots for name, shots in features.token_shots.items() if name in keep}
    return dataclasses.replace(features, modalities=modalities, token_shots=tokens, recipe=recipe_of(digest))


def require_embedding(config: ModelConfig) -> None:
    """Check that a model gives an embedding of each shot.

    Raises:
        UnsupportedError: it does not; says which models do.
    """
    graph = structure_of(config)
    for output in graph.outputs:
        if output.name == EMBEDDING and graph.rows(output, 2) == 2:
            return
    raise UnsupportedError(
        f"embed: expected an encoder of shots, such as a contextualizer, got a model of task {config.task}, family "
        f"{config.family}"
    )


@dataclass(frozen=True)
class Embedded:
    """A movie's embedding as features, which modalities were absent or not read, and how its source was read."""

    features: Features
    absent: tuple[str, ...]
    unread: tuple[str, ...]
    remarks: tuple[str, ...]


class Embedder:
    """An encoder of shots, and everything from a source to its embedding. Made once.

    Args:
        checkpoint: path of the encoder, or a ``Checkpoint``.
        extractors: as of ``Pipeline``.
        options: those of ``Engine.from_checkpoint``.

    Raises:
        CheckpointError, UnsupportedError, ResourceLimitError: as ``Engine.from_checkpoint``.
        UnsupportedError: a model that gives no embedding of each shot, or one compiled by an earlier version.
    """

    def __init__(
        self, checkpoint: str | os.PathLike[str] | Checkpoint, *, extractors: Iterable[Extractor] = (), **options: Any
    ) -> None:
        self.digest = encoder_sha256(checkpoint)
        self.engine = Engine.from_checkpoint(checkpoint, **options)
        require_embedding(self.engine.config)
        self._extractors = Extractors(extractors, num_threads=options.get("num_threads", 0))

    @property
    def recipe(self) -> str:
        """The recipe of its embeddings."""
        return recipe_of(self.digest)

    def embed(self, source: Any, *, keep: Sequence[str] = ()) -> Embedded:
        """One movie's embedding.

        Args:
            source: features, a feature file, a film, a screenplay or its file, as ``open_source`` takes them.
            keep: as of ``embedded``.

        Raises:
            FeatureError: a source or features that do not fit the encoder; names the file or the screenplay.
            UnsupportedError: a missing extra.
        """
        config = self.engine.config
        with naming(source):
            opened, remarks = open_source(source), tuple[str, ...]()
            if not isinstance(opened, Features):
                reading = self._extractors.read(opened)
                opened, remarks = reading.features(recipe_for(opened, config.recipe).name), tuple(reading.remarks)
            rows = prepared(opened, config.recipe)
            made = _with_embedding(opened, self.engine.embed(rows), self.digest, keep)
        read = {modality.name for modality in config.modalities}
        unread = tuple(name for name in rows.modalities if name not in read)
        return Embedded(made, self.engine.absent(rows), unread, remarks)
