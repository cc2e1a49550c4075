"""Engine: a checkpoint made ready to run, and the calls that matter: ``logits``, ``segment`` and ``explain``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.protocol import LOGITS, PARTS, Backend, Excerpt, logits_of
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.inputs.features import Features, FeatureSource, as_features
from megaseg.engine.live.snapshot import read_snapshot
from megaseg.engine.live.stream import Stream, new_progress
from megaseg.engine.loading import load_backend, require
from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import Decision, Segmentation
from megaseg.engine.tasks.decoding import can_order
from megaseg.errors import UnsupportedError

OVERFLOWS = ("error", "pool")


class Engine:
    """A model ready to segment. Safe to share between threads; make it with ``from_checkpoint``."""

    def __init__(self, config: ModelConfig, backend: Backend, overflow: str = "error") -> None:
        self.config: ModelConfig = config
        self.backend = backend
        self._overflow = overflow

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | os.PathLike[str] | Checkpoint,
        *,
        device: str = "auto",
        compute_type: str = "auto",
        num_threads: int = 0,
        backend: str = "auto",
        memory_limit: int | None = None,
        passes: bool = True,
        overflow: str = "error",
    ) -> Engine:
        """Load a checkpoint: a path, the name of a shipped one (``screenplay-scenes``), or a ``Checkpoint``.

        A path may also name a compiled model (``.mseg``, ``.onnx`` or ``.plan``, from ``megaseg compile``). The native
        and the TensorRT backend compile a checkpoint when they first see it and keep the result (``MEGASEG_CACHE``, by
        default in the user's cache folder; set empty, nothing is kept).

        Args:
            device: ``auto``, ``cpu`` or ``cuda``.
            compute_type: ``float32``, ``bfloat16``, ``int8`` where the CPU has fast products of the type (``megaseg
                doctor`` says), or ``auto``: bfloat16 if it is there, else float32. Device ``cuda``: ``bfloat16``
                (``auto``), ``float16`` or ``float32``. Backend ``onnx``: ``float32`` (``auto``), ``float16``, or
                ``bfloat16`` on ``cuda``; backend ``tensorrt``: ``float16`` (``auto``), ``bfloat16`` or ``float32``.
                ``float64`` with backend ``torch``.
            num_threads: threads of the native and the ONNX backend; 0 takes every core that the process may use.
            backend: ``auto`` (native on the CPU, torch on ``cuda``, a compiled model's own), ``native``, ``torch``,
                ``onnx`` or ``tensorrt``.
            memory_limit: bytes that weights and workspace may take together (native); None is no limit.
            passes: False runs the model as written, without the exact rewrites.
            overflow: more shots than an act model's ``max_length`` are an ``error``, or with ``pool`` neighbouring
                shots are averaged in groups of equal size until they fit, and each shot gets its group's logits.

        Raises:
            CheckpointError: a file that cannot be trusted or does not fit its config.
            UnsupportedError: a device, compute type, backend or extra that is not there; lists what is.
            ResourceLimitError: the model does not fit ``memory_limit``.
        """
        require("overflow", overflow, OVERFLOWS)
        config, loaded = load_backend(
            checkpoint,
            device=device,
            compute_type=compute_type,
            num_threads=num_threads,
            backend=backend,
            memory_limit=memory_limit,
            passes=passes,
        )
        return cls(config, loaded, overflow)

    def logits(self, features: FeatureSource) -> NDArray[np.float32]:
        """Logits (shots, num_classes) of one movie, float32.

        Scene model: of each shot's centred window, edge shots repeated. Act model: of the whole movie at once.

        Raises:
            FeatureError: names the file or modality, what was expected and what came.
        """
        return self._logits([as_features(features)])[0]

    def _logits(self, movies: list[Features]) -> list[NDArray[np.float32]]:
        logits = logits_of(self.backend, [self.prepare(movie) for movie in movies])
        return [self.spread(rows, movie) for rows, movie in zip(logits, movies, strict=True)]

    def prepare(self, movie: Features) -> list[NDArray[np.float32]]:
        """What the backend takes of a movie: (shots, D_m) a modality, or with ``overflow="pool"`` (groups, D_m).

        Raises:
            FeatureError: features that do not fit the model.
        """
        return movie.pooled(self._group_size(movie)).ordered_for(self.config)

    def spread(self, rows: NDArray[np.float32], movie: Features) -> NDArray[np.float32]:
        """Rows of what ``prepare`` gave, one for each shot of the movie."""
        size = self._group_size(movie)
        return rows if size == 1 else rows.repeat(size, axis=0)[: movie.num_shots]

    def _group_size(self, movie: Features) -> int:
        """Neighbouring shots that are averaged into one: as few as make the movie fit the model."""
        own = self.config.sequences
        if isinstance(own, Windows) or self._overflow == "error":
            return 1
        return -(-movie.num_shots // own.most)

    def segment(
        self,
        features: FeatureSource,
        *,
        threshold: float | None = None,
        min_scene_length: int = 1,
        num_scenes: int | None = None,
        ordered: bool | None = None,
    ) -> Segmentation:
        """Scenes (scene model) or turning points and acts (act model) of one movie.

        Args:
            features: a mapping of modality to array (shots, feature_size), ``Features``, or a feature file.
            threshold: least P(boundary) of a boundary; None takes the checkpoint's own, else 0.5.
            min_scene_length: shortest scene, in shots.
            num_scenes: exactly this many scenes, whatever the threshold.
            ordered: turning points in strictly increasing order, which bound one act more than there are of them (act
                model); False takes the arg-max of each. None orders them wherever the movie has a shot for each act.

        Raises:
            FeatureError: features that do not fit the model, a threshold outside [0, 1] (of an act model too), or a
                decision that the movie's length does not allow.
            UnsupportedError: a synopsis model, which has no shots to segment.
        """
        options = {"threshold": threshold, "min_scene_length": min_scene_length}
        return self.segment_many([features], **options, num_scenes=num_scenes, ordered=ordered)[0]

    def segment_many(self, movies: Iterable[FeatureSource], **decision: Any) -> list[Segmentation]:
        """``segment`` for several movies at once.

        Their windows (scene model) or whole sequences (act model) of any lengths are packed into full batches, which
        is faster for short movies; nothing is padded. Results are bit-identical to ``segment``'s on the native backend
        and on torch's CPU backend; on the others a batch's size may change the rounding of its products. ``decision``
        are the keywords of ``segment``.

        Raises:
            FeatureError, UnsupportedError: as ``segment``.
        """
        self.expect_decisions("segment")
        sources = [as_features(movie) for movie in movies]
        return [
            self.decide(source, logits, **decision)
            for source, logits in zip(sources, self._logits(sources), strict=True)
        ]

    def explain(self, features: FeatureSource, **decision: Any) -> Explanation:
        """``segment``, and how much each modality speaks for each decision (supplementary, 6.3.1).

        The model runs once, in any backend: the head's sums by modality are its importance before normalisation.
        ``decision`` are the keywords of ``segment``. With ``overflow="pool"`` a shot has its group's importance.

        Raises:
            FeatureError, UnsupportedError: as ``segment``.
        """
        self.expect_decisions("explain")
        source = as_features(features)
        (runs,) = self.backend.run([Excerpt.whole(self.prepare(source))], (LOGITS, LOGITS + PARTS))
        logits, contributions = (self.spread(rows, source) for rows in runs)
        names = tuple(modality.name for modality in self.config.modalities)
        segmentation = self.decide(source, logits, **decision)
        return Explanation.from_contributions(segmentation, names, logits, contributions)

    def stream(
        self,
        *,
        threshold: float | None = None,
        provisional: bool = False,
        time_base: Fraction | str | None = None,
        acts: Engine | None = None,
        history: bool = True,
    ) -> Stream:
        """A stream for a movie whose shots come one by one (scene model); what it says equals ``segment``'s.

        Args:
            threshold: least P(boundary) of a boundary; None takes the checkpoint's own, else 0.5.
            provisional: also decide each shot when it comes, on what has come so far; one more window a shot.
            time_base: seconds of a tick of the times that are pushed.
            acts: an act model's engine, for ``Stream.acts``; pushed features are then those of both models, and the
                act model's are kept whole.
            history: keep scores and times of decided shots (20 bytes a shot), for ``Stream.segmentation``.

        Raises:
            UnsupportedError: not a scene model, or ``acts`` that is no act model.
            FeatureError: a threshold outside [0, 1], or a time base that is none.
        """
        progress = new_progress(
            self, threshold=threshold, provisional=provisional, time_base=time_base, acts=acts, history=history
        )
        return Stream(progress)

    def resume(self, snapshot: bytes, *, acts: Engine | None = None) -> Stream:
        """A stream that goes on where ``Stream.snapshot`` was taken, in whatever process.

        The model is to be the same; its backend and compute type need not be, at the price of equal bits.

        Raises:
            FeatureError: not a whole snapshot of this version, or one of another model.
        """
        return Stream(read_snapshot(self, snapshot, acts, new_progress))

    def expect_decisions(self, call: str) -> None:
        """Raises UnsupportedError for a synopsis model, which has no shots to decide on."""
        if self.config.task == "synopsis":
            raise UnsupportedError(f"{call}: expected a scene or act model, got a synopsis model; use logits")

    def decide(
        self,
        source: Features,
        logits: NDArray[np.float32],
        threshold: float | None = None,
        min_scene_length: int = 1,
        num_scenes: int | None = None,
        ordered: bool | None = None,
    ) -> Segmentation:
        """``segment`` for logits that are there.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        task = self.config.task
        if ordered is None:
            ordered = task == "act" and can_order(logits)
        if threshold is None:
            threshold = 0.5 if self.config.threshold is None else self.config.threshold
        decision = Decision(threshold, min_scene_length, num_scenes, ordered)
        return Segmentation.from_logits(task, logits, decision, source.times, source.time_base)

    def describe(self) -> dict[str, Any]:
        """What runs: task, modalities, backend, device, target, compute_type, num_threads, bytes."""
        modalities = {modality.name: modality.feature_size for modality in self.config.modalities}
        return {"task": self.config.task, "modalities": modalities, **self.backend.describe()}
