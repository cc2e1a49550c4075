"""Engine: a checkpoint made ready to run, and the two calls that matter: ``logits`` and ``segment``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends import Backend
from megaseg.engine.checkpoint import Checkpoint, ModelConfig, load_checkpoint
from megaseg.engine.decision import softmax
from megaseg.engine.features import Features, as_features
from megaseg.engine.segmentation import Decision, Segmentation
from megaseg.errors import UnsupportedError

FeatureSource = Features | Mapping[str, Any] | str | os.PathLike[str]
DEVICES = ("auto", "cpu", "cuda")
COMPUTE_TYPES = ("auto", "float32", "float64")


class Engine:
    """A model ready to segment. Safe to share between threads; make it with ``from_checkpoint``."""

    def __init__(self, checkpoint: Checkpoint, backend: Backend) -> None:
        self.config: ModelConfig = checkpoint.config
        self._backend = backend

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
    ) -> Engine:
        """Load a checkpoint: a path, the name of a shipped one (``screenplay-scenes``), or a ``Checkpoint``.

        Args:
            device: ``auto``, ``cpu`` or ``cuda``.
            compute_type: ``auto`` or ``float32``; ``float64`` with backend ``torch``.
            num_threads: threads of the native backend; 0 takes every core that the process may use.
            backend: ``auto`` (native on the CPU), ``native`` or ``torch``.
            memory_limit: bytes that weights and workspace may take together (native); None is no limit.
            passes: False runs the model as written, without the exact rewrites (native).

        Raises:
            CheckpointError: a file that cannot be trusted or does not fit its config.
            UnsupportedError: a device, compute type, backend or extra that is not there; lists what is.
            ResourceLimitError: the model does not fit ``memory_limit``.
        """
        _expect("device", device, DEVICES)
        _expect("compute_type", compute_type, COMPUTE_TYPES)
        _expect("backend", backend, ("auto", *_BACKENDS))
        if backend == "auto":
            backend = "torch" if device == "cuda" else "native"
        loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
        options = {
            "device": "cpu" if device == "auto" else device,
            "compute_type": "float32" if compute_type == "auto" else compute_type,
            "num_threads": num_threads,
            "memory_limit": memory_limit,
            "passes": passes,
        }
        return cls(loaded, _BACKENDS[backend](loaded, options))

    def logits(self, features: FeatureSource) -> NDArray[np.float32]:
        """Logits (shots, num_classes) of one movie, float32.

        Scene model: of each shot's centred window, edge shots repeated. Act model: of the whole movie at once.

        Raises:
            FeatureError: names the file or modality, what was expected and what came.
        """
        return self._backend.run(as_features(features).ordered_for(self.config))

    def segment(
        self,
        features: FeatureSource,
        *,
        threshold: float | None = None,
        min_scene_length: int = 1,
        num_scenes: int | None = None,
        ordered: bool = False,
    ) -> Segmentation:
        """Scenes (scene model) or turning points and acts (act model) of one movie.

        Args:
            features: a mapping of modality to array (shots, feature_size), ``Features``, or a feature file.
            threshold: least P(boundary) of a boundary; None takes the checkpoint's own, else 0.5.
            min_scene_length: shortest scene, in shots.
            num_scenes: exactly this many scenes, whatever the threshold.
            ordered: turning points in strictly increasing order (act model).

        Raises:
            FeatureError: features that do not fit the model, or a decision that the movie's length does not allow.
            UnsupportedError: a synopsis model, which has no shots to segment.
        """
        if self.config.task == "synopsis":
            raise UnsupportedError("segment: expected a scene or act model, got a synopsis model; use logits")
        source = as_features(features)
        logits = self._backend.run(source.ordered_for(self.config))
        if self.config.task == "scene":
            scores = softmax(logits, axis=1)[:, 1].astype(np.float32)
        else:
            scores = softmax(logits, axis=0).astype(np.float32)
        if threshold is None:
            threshold = 0.5 if self.config.threshold is None else self.config.threshold
        decision = Decision(threshold, min_scene_length, num_scenes, ordered)
        return Segmentation.from_scores(self.config.task, scores, decision, source.times, source.time_base)

    def describe(self) -> dict[str, Any]:
        """What runs: task, modalities, backend, device, target, compute_type, num_threads, bytes."""
        modalities = {modality.name: modality.feature_size for modality in self.config.modalities}
        return {"task": self.config.task, "modalities": modalities, **self._backend.describe()}


def _expect(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UnsupportedError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def _native(checkpoint: Checkpoint, options: dict[str, Any]) -> Backend:
    from megaseg.engine.backends.native import NativeBackend

    _expect("device of backend 'native'", options.pop("device"), ("cpu",))
    return NativeBackend(checkpoint, **options)


def _torch(checkpoint: Checkpoint, options: dict[str, Any]) -> Backend:
    from megaseg.engine.backends.torch import TorchBackend

    return TorchBackend(checkpoint, device=options["device"], compute_type=options["compute_type"])


_BACKENDS: dict[str, Callable[[Checkpoint, dict[str, Any]], Backend]] = {"native": _native, "torch": _torch}
