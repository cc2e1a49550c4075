"""Engine: a checkpoint made ready to run, and the calls that matter: ``logits``, ``segment`` and ``explain``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.artefact import is_artefact
from megaseg.engine.backends import Backend
from megaseg.engine.checkpoint import Checkpoint, ModelConfig, load_checkpoint, resolve_checkpoint
from megaseg.engine.decision import can_order, softmax
from megaseg.engine.explanation import Explanation
from megaseg.engine.features import Features, FeatureSource, as_features
from megaseg.engine.passes import PASSES
from megaseg.engine.segmentation import Decision, Segmentation
from megaseg.engine.tensorrt_plan import is_plan
from megaseg.errors import UnsupportedError

if TYPE_CHECKING:
    from megaseg.engine.backends.native import NativeBackend
    from megaseg.engine.backends.tensorrt import TensorRTBackend

DEVICES = ("auto", "cpu", "cuda")
COMPUTE_TYPES = ("auto", "float32", "float16", "bfloat16", "int8", "float64")
BACKENDS = ("auto", "native", "torch", "tensorrt")
OVERFLOWS = ("error", "pool")


class Engine:
    """A model ready to segment. Safe to share between threads; make it with ``from_checkpoint``."""

    def __init__(self, config: ModelConfig, backend: Backend, overflow: str = "error") -> None:
        self.config: ModelConfig = config
        self._backend = backend
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

        A path may also name a compiled model (``.mseg`` or ``.plan``, from ``megaseg compile``). The native and the
        TensorRT backend compile a checkpoint when they first see it and keep the result (``MEGASEG_CACHE``, by default
        in the user's cache folder; set empty, nothing is kept).

        Args:
            device: ``auto``, ``cpu`` or ``cuda``.
            compute_type: ``float32``, ``bfloat16``, ``int8`` where the CPU has fast products of the type (``megaseg
                doctor`` says), or ``auto``: bfloat16 if it is there, else float32. ``float64`` with backend ``torch``.
                Backend ``tensorrt``: ``float16`` (``auto``), ``bfloat16`` or ``float32``.
            num_threads: threads of the native backend; 0 takes every core that the process may use.
            backend: ``auto`` (native on the CPU, tensorrt for a ``.plan``), ``native``, ``torch`` or ``tensorrt``.
            memory_limit: bytes that weights and workspace may take together (native); None is no limit.
            passes: False runs the model as written, without the exact rewrites.
            overflow: more shots than an act model's ``max_length`` are an ``error``, or with ``pool`` neighbouring
                shots are averaged in groups of equal size until they fit, and each shot gets its group's logits.

        Raises:
            CheckpointError: a file that cannot be trusted or does not fit its config.
            UnsupportedError: a device, compute type, backend or extra that is not there; lists what is.
            ResourceLimitError: the model does not fit ``memory_limit``.
        """
        _expect("device", device, DEVICES)
        _expect("compute_type", compute_type, COMPUTE_TYPES)
        _expect("backend", backend, BACKENDS)
        _expect("overflow", overflow, OVERFLOWS)
        source = None if isinstance(checkpoint, Checkpoint) else resolve_checkpoint(checkpoint)
        if source is not None and is_plan(source):
            _expect("backend of a TensorRT plan", backend, ("auto", "tensorrt"))
            plan = _planned(source, device, compute_type)
            return cls(plan.info.config, plan, overflow)
        if backend == "auto":
            backend = "torch" if device == "cuda" else "native"
        if source is not None and is_artefact(source):
            _expect("backend of a compiled model", backend, ("native",))
            loaded = _compiled(source, device, compute_type, num_threads, memory_limit)
            return cls(loaded.info.config, loaded, overflow)
        model = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
        if backend == "torch":
            return cls(model.config, _torch(model, device, compute_type, passes), overflow)
        if backend == "tensorrt":
            return cls(model.config, _tensorrt(model, device, compute_type, passes), overflow)
        options = {"num_threads": num_threads, "memory_limit": memory_limit}
        return cls(model.config, _native(model, source, device, compute_type, passes, options), overflow)

    def logits(self, features: FeatureSource) -> NDArray[np.float32]:
        """Logits (shots, num_classes) of one movie, float32.

        Scene model: of each shot's centred window, edge shots repeated. Act model: of the whole movie at once.

        Raises:
            FeatureError: names the file or modality, what was expected and what came.
        """
        return self._logits([as_features(features)])[0]

    def _logits(self, movies: list[Features]) -> list[NDArray[np.float32]]:
        groups = [self._group_size(movie) for movie in movies]
        pooled = [movie.pooled(size) for movie, size in zip(movies, groups, strict=True)]
        logits = self._backend.run_many([movie.ordered_for(self.config) for movie in pooled])
        return [_spread(rows, size, movie) for rows, size, movie in zip(logits, groups, movies, strict=True)]

    def _group_size(self, movie: Features) -> int:
        """Neighbouring shots that are averaged into one: as few as make the movie fit the model."""
        if self.config.task == "scene" or self._overflow == "error":
            return 1
        return -(-movie.num_shots // self.config.max_length)

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
            FeatureError: features that do not fit the model, or a decision that the movie's length does not allow.
            UnsupportedError: a synopsis model, which has no shots to segment.
        """
        options = {"threshold": threshold, "min_scene_length": min_scene_length}
        return self.segment_many([features], **options, num_scenes=num_scenes, ordered=ordered)[0]

    def segment_many(self, movies: Iterable[FeatureSource], **decision: Any) -> list[Segmentation]:
        """``segment`` for several movies at once, with the same results.

        Their windows (scene model) or whole sequences (act model) of any lengths are packed into full batches, which
        is faster for short movies; nothing is padded. ``decision`` are the keywords of ``segment``.

        Raises:
            FeatureError, UnsupportedError: as ``segment``.
        """
        self._expect_decisions("segment")
        sources = [as_features(movie) for movie in movies]
        return [
            self._decide(source, logits, **decision)
            for source, logits in zip(sources, self._logits(sources), strict=True)
        ]

    def explain(self, features: FeatureSource, **decision: Any) -> Explanation:
        """``segment``, and how much each modality speaks for each decision (supplementary, 6.3.1).

        The model runs once, in any backend: the head's sums by modality are its importance before normalisation.
        ``decision`` are the keywords of ``segment``. With ``overflow="pool"`` a shot has its group's importance.

        Raises:
            FeatureError, UnsupportedError: as ``segment``.
        """
        self._expect_decisions("explain")
        source = as_features(features)
        size = self._group_size(source)
        runs = self._backend.explain(source.pooled(size).ordered_for(self.config))
        logits, contributions = (_spread(rows, size, source) for rows in runs)
        names = tuple(modality.name for modality in self.config.modalities)
        segmentation = self._decide(source, logits, **decision)
        return Explanation.from_contributions(segmentation, names, logits, contributions)

    def _expect_decisions(self, call: str) -> None:
        if self.config.task == "synopsis":
            raise UnsupportedError(f"{call}: expected a scene or act model, got a synopsis model; use logits")

    def _decide(
        self,
        source: Features,
        logits: NDArray[np.float32],
        threshold: float | None = None,
        min_scene_length: int = 1,
        num_scenes: int | None = None,
        ordered: bool | None = None,
    ) -> Segmentation:
        if self.config.task == "scene":
            scores = softmax(logits, axis=1)[:, 1].astype(np.float32)
        else:
            scores = softmax(logits, axis=0).astype(np.float32)
            ordered = can_order(scores) if ordered is None else ordered
        if threshold is None:
            threshold = 0.5 if self.config.threshold is None else self.config.threshold
        decision = Decision(threshold, min_scene_length, num_scenes, bool(ordered))
        return Segmentation.from_scores(self.config.task, scores, decision, source.times, source.time_base)

    def describe(self) -> dict[str, Any]:
        """What runs: task, modalities, backend, device, target, compute_type, num_threads, bytes."""
        modalities = {modality.name: modality.feature_size for modality in self.config.modalities}
        return {"task": self.config.task, "modalities": modalities, **self._backend.describe()}


def _spread(rows: NDArray[np.float32], size: int, movie: Features) -> NDArray[np.float32]:
    """Rows of groups of ``size`` shots, one for each shot."""
    return rows if size == 1 else rows.repeat(size, axis=0)[: movie.num_shots]


def _expect(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UnsupportedError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def _compiled(
    source: Path, device: str, compute_type: str, num_threads: int, memory_limit: int | None
) -> NativeBackend:
    from megaseg.engine.backends.native import NativeBackend

    _expect("device of a compiled model", device, ("auto", "cpu"))
    loaded = NativeBackend(source, num_threads=num_threads, memory_limit=memory_limit)
    _expect(f"compute_type of {source}", compute_type, ("auto", loaded.info.compute_type))
    return loaded


def _native(
    checkpoint: Checkpoint, source: Path | None, device: str, compute_type: str, passes: bool, options: dict[str, Any]
) -> NativeBackend:
    from megaseg.engine.backends.native import NativeBackend

    _expect("device of backend 'native'", device, ("auto", "cpu"))
    chosen = tuple(PASSES) if passes else ()
    return NativeBackend.from_checkpoint(checkpoint, source=source, compute_type=compute_type, passes=chosen, **options)


def _torch(checkpoint: Checkpoint, device: str, compute_type: str, passes: bool) -> Backend:
    from megaseg.engine.backends.torch import TorchBackend

    return TorchBackend(
        checkpoint,
        device="cpu" if device == "auto" else device,
        compute_type="float32" if compute_type == "auto" else compute_type,
        passes=tuple(PASSES) if passes else (),
    )


def _planned(source: Path, device: str, compute_type: str) -> TensorRTBackend:
    from megaseg.engine.backends.tensorrt import TensorRTBackend

    _expect("device of a TensorRT plan", device, ("auto", "cuda"))
    loaded = TensorRTBackend.load(source)
    _expect(f"compute_type of {source}", compute_type, ("auto", loaded.info.compute_type))
    return loaded


def _tensorrt(checkpoint: Checkpoint, device: str, compute_type: str, passes: bool) -> TensorRTBackend:
    from megaseg.engine.backends.tensorrt import TensorRTBackend

    _expect("device of backend 'tensorrt'", device, ("auto", "cuda"))
    chosen = tuple(PASSES) if passes else ()
    return TensorRTBackend.from_checkpoint(checkpoint, compute_type=compute_type, passes=chosen)
