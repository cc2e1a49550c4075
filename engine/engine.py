"""Engine: a checkpoint made ready to run, and the calls that matter: ``segment``, ``explain`` and ``embed``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.excerpts import absent, excerpts_of, model_rows, movie_error, movie_rows, remarks_of
from megaseg.engine.backends.protocol import EMBEDDING, LOGITS, PARTS, Backend, Check, Excerpt, Rows
from megaseg.engine.graph.sequences import Whole, Windows
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.live.embedding_stream import EmbeddingStream
from megaseg.engine.live.segmenter import Segmenter
from megaseg.engine.live.stream import Stream, new_state, resumed_state
from megaseg.engine.loading import load_backend, require
from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.task import deciding_task, task_of
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError

OVERFLOWS = ("error", "pool")


class Engine:
    """A model ready to segment. Safe to share between threads; make it with ``from_checkpoint``."""

    def __init__(self, config: ModelConfig, backend: Backend, overflow: str = "error") -> None:
        for problem in task_of(config.task).problems(config):
            raise CheckpointError(f"config: {problem}")
        self.config: ModelConfig = config
        self.backend: Backend = backend
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
                doctor`` says), or ``auto``: bfloat16 if it is there, else float32. ``int8_checked``: decisions of
                float32, of int8 wherever that is sure (docs/checked.md). ``int8_float32`` and ``int8_bfloat16``, for
                few shots at a time: weights in ten bits (int8 and two more), all else in the type of the name. Device
                ``cuda``: ``bfloat16`` (``auto``), ``float16`` or ``float32``. Backend ``onnx``: ``float32`` (``auto``),
                ``float16``, or ``bfloat16`` on ``cuda``; backend ``tensorrt``: ``float16`` (``auto``), ``bfloat16`` or
                ``float32``. ``float64`` with backend ``torch``.
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
        config, loaded, _ = load_backend(
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

        Scene model: of each shot's centred window, edge shots repeated. Act model: of the whole movie at once. Where
        windows overlap: of the window whose middle is nearest to the shot.

        Raises:
            FeatureError: names the file or modality, what was expected and what came.
            UnsupportedError: a model without logits; lists the outputs that it has.
        """
        structure_of(self.config).output(LOGITS)
        return self._logits([as_features(features)])[0]

    def outputs(self, features: FeatureSource, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float32]]:
        """Outputs of the model for one movie by name, such as ``logits`` or ``embedding``, float32, of one run.

        An output has a row for each shot, or one row in all where it stands for the whole movie. ``NAME.parts`` are
        the parts (shots, parts, width) that add up to an output, up to its bias.

        Args:
            features: as of ``segment``.
            names: the outputs wanted; None is all of them, without parts.

        Raises:
            FeatureError: features that do not fit the model.
            UnsupportedError: an output that the model does not have; lists those that it has.
        """
        graph = structure_of(self.config)
        known = {output.name: output for output in graph.outputs}
        partial = {output.name + PARTS: output for output in graph.outputs if output.parts}
        wanted = tuple(known if names is None else names)
        for name in wanted:
            if name not in known | partial:
                raise UnsupportedError(f"outputs: expected some of {', '.join(known | partial)}, got {name!r:.80}")
        source = as_features(features)
        (rows,) = self._run([source], wanted)
        whole = isinstance(graph.sequences, Whole)
        return {
            name: own if whole and (known | partial)[name].by_sequence else self.to_shots(own, source)
            for name, own in zip(wanted, rows, strict=True)
        }

    def embed(self, features: FeatureSource) -> NDArray[np.float32]:
        """Embedding (shots, E) of one movie's shots, float32: output ``embedding``, one row in all of a text encoder.

        Raises:
            FeatureError: features that do not fit the model.
            UnsupportedError: a model without that output; lists the outputs that it has.
        """
        return self.embed_many([features])[0]

    def embed_many(self, movies: Iterable[FeatureSource]) -> list[NDArray[np.float32]]:
        """``embed`` for several movies at once, their windows in full batches; bits as of ``segment_many``.

        Raises:
            FeatureError, UnsupportedError: as ``embed``.
        """
        names = [output.name for output in structure_of(self.config).outputs]
        if EMBEDDING not in names:
            raise UnsupportedError(f"embed: expected a model with output {EMBEDDING}, got one with {', '.join(names)}")
        sources = [as_features(movie) for movie in movies]
        return [rows for (rows,) in self._run(sources, (EMBEDDING,))]

    def absent(self, features: FeatureSource) -> tuple[str, ...]:
        """The model's modalities that a movie does not have, for which rows of zeros stand in."""
        return absent(self.config, as_features(features))

    def _logits(
        self, movies: list[Features], checks: Sequence[Check | None] | None = None
    ) -> list[NDArray[np.float32]]:
        runs = self._run(movies, (LOGITS,), checks)
        return [self.to_shots(rows, movie) for (rows,), movie in zip(runs, movies, strict=True)]

    def _run(
        self, movies: Sequence[Features], outputs: Sequence[str], checks: Sequence[Check | None] | None = None
    ) -> list[Rows]:
        """Outputs of each movie, a row for each row of ``to_model_rows``."""
        cut = [self.to_excerpts(*own) for own in zip(movies, checks or [None] * len(movies), strict=True)]
        try:
            runs = iter(self.backend.run([excerpt for own in cut for excerpt in own], outputs))
        except FeatureError as error:
            named = movie_error(self.config, error, [movie.num_shots for movie in movies])
            if named is error:
                raise
            raise named from error
        return [
            movie_rows(self.config, [next(runs) for _ in own], movie.num_shots)
            for own, movie in zip(cut, movies, strict=True)
        ]

    def to_excerpts(self, movie: Features, check: Check | None = None) -> list[Excerpt]:
        """What the backend runs of a movie: all of ``to_model_rows``, or its overlapping windows one by one.

        Raises:
            FeatureError: features that do not fit the model.
        """
        excerpts = excerpts_of(self.config, movie.pooled(self._group_size(movie)))
        row = 0 if isinstance(self.config.sequences, Windows) else None
        return [dataclasses.replace(excerpt, check=check, row=row) for excerpt in excerpts]

    def check(self, movie: Features, given: Mapping[str, Any]) -> Check | None:
        """How a movie is decided with ``given`` options; None where no rows of the model by themselves tell."""
        task = deciding_task(self.config.task, "segment")
        alone = task.streams or isinstance(self.config.sequences, Whole)
        if not alone or self._group_size(movie) > 1:
            return None
        threshold = self.config.threshold
        return Check(lambda rows, margin: task.unsure(rows, margin, task.decision(given, threshold, rows)))

    def to_model_rows(self, movie: Features) -> list[NDArray[Any]]:
        """A movie's arrays for the model: (shots, D_m) a modality, or with ``overflow="pool"`` (groups, D_m).

        Raises:
            FeatureError: features that do not fit the model.
        """
        return model_rows(self.config, movie.pooled(self._group_size(movie)))

    def to_shots(self, rows: NDArray[np.float32], movie: Features) -> NDArray[np.float32]:
        """Rows of what ``to_model_rows`` gave, one for each shot of the movie."""
        size = self._group_size(movie)
        return rows if size == 1 else rows.repeat(size, axis=0)[: movie.num_shots]

    def _group_size(self, movie: Features) -> int:
        """Neighbouring shots that are averaged into one: as few as make the movie fit the model."""
        own = self.config.sequences
        if not isinstance(own, Whole) or self._overflow == "error":
            return 1
        return -(-movie.num_shots // own.most)

    def segment(
        self,
        features: FeatureSource,
        *,
        threshold: float | None = None,
        min_scene_length: int | None = None,
        num_scenes: int | None = None,
        ordered: bool | None = None,
        **options: Any,
    ) -> Segmentation:
        """Scenes (scene model) or turning points and acts (act model) of one movie.

        Args:
            features: a mapping of modality to array (shots, feature_size), ``Features``, or a feature file.
            threshold: scenes: least P(boundary) of a boundary; None takes the checkpoint's own, else 0.5.
            min_scene_length: scenes: the shortest, in shots; None is 1.
            num_scenes: scenes: exactly this many, whatever the threshold.
            ordered: acts: turning points in strictly increasing order, which bound one act more than there are of them;
                False takes the arg-max of each. None orders them wherever the movie has a shot for each act.
            options: others, such as ``locked`` and ``barred`` of scenes (docs/edits.md), and those of other tasks.

        Raises:
            FeatureError: features that do not fit the model, an option that its task does not take, or a decision that
                no movie or the movie's length does not allow.
            UnsupportedError: a model whose task decides nothing (synopsis, embedding).
            TypeError: an option of no task.
        """
        own = {"threshold": threshold, "min_scene_length": min_scene_length}
        return self.segment_many([features], **own, num_scenes=num_scenes, ordered=ordered, **options)[0]

    def segment_many(self, movies: Iterable[FeatureSource], **decision: Any) -> list[Segmentation]:
        """``segment`` for several movies at once.

        Their windows (scene model) or whole sequences (act model) of any lengths are packed into full batches, which
        is faster for short movies; nothing is padded. Results are bit-identical to ``segment``'s on the native backend
        and on torch's CPU backend; on the others a batch's size may change the rounding of its products. ``decision``
        are the keywords of ``segment``.

        Raises:
            FeatureError, UnsupportedError, TypeError: as ``segment``; FeatureError: no movies, or one of them alone.
        """
        given = deciding_task(self.config.task, "segment").given(decision)
        if isinstance(movies, (str, bytes, Mapping, Features)) or not isinstance(movies, Iterable):
            raise FeatureError(f"movies: expected several movies' features, got {type(movies).__name__}")
        sources = [as_features(movie) for movie in movies]
        checks = [self.check(source, given) for source in sources]
        logits = self._logits(sources, checks)
        runs = zip(sources, logits, checks, strict=True)
        return [self.decide(source, own, given, check) for source, own, check in runs]

    @property
    def explains(self) -> bool:
        """Whether the model tells its modalities' parts apart, as ``explain`` needs."""
        return bool(structure_of(self.config).output(LOGITS).parts)

    def explain(self, features: FeatureSource, *, about: str | None = None, **decision: Any) -> Explanation:
        """``segment``, and how much each modality speaks for each decision (supplementary, 6.3.1).

        The model runs once, in any backend: the head's sums by modality are its importance before normalisation.
        With ``overflow="pool"`` a shot has its group's importance.

        Args:
            features: as of ``segment``.
            about: scene model: ``boundary`` or ``no boundary`` at every shot, whichever is more probable there.
            decision: keywords of ``segment``.

        Raises:
            FeatureError, UnsupportedError: as ``segment``.
            UnsupportedError: a model that does not tell its modalities' parts apart.
        """
        given = deciding_task(self.config.task, "explain").given(decision)
        if not self.explains:
            raise UnsupportedError(
                f"explain: expected a model whose logits have parts, got family {self.config.family}"
            )
        source = as_features(features)
        (runs,) = self._run([source], (LOGITS, LOGITS + PARTS))
        logits, contributions = (self.to_shots(rows, source) for rows in runs)
        names = tuple(modality.name for modality in self.config.modalities)
        segmentation = self.decide(source, logits, given)
        return Explanation.from_contributions(segmentation, names, logits, contributions, about)

    def embed_stream(self) -> EmbeddingStream:
        """A stream of embeddings for a movie whose shots come one by one; all its rows together equal ``embed``'s.

        Raises:
            UnsupportedError: a model without an embedding, or one that reads whole movies.
        """
        return EmbeddingStream(self.config, self.backend)

    def stream(
        self,
        *,
        threshold: float | None = None,
        provisional: bool = False,
        time_base: Fraction | str | None = None,
        acts: Segmenter | None = None,
        history: bool = True,
    ) -> Stream:
        """A stream for a movie whose shots come one by one (scene model); what it says equals ``segment``'s.

        Args:
            threshold: least P(boundary) of a boundary; None takes the checkpoint's own, else 0.5.
            provisional: also decide each shot when it comes, on what has come so far; one more window a shot. Not of
                models of overlapping windows, which decide a shot after ``length - 1`` more at the latest.
            time_base: seconds of a tick of the times that are pushed.
            acts: an act model's engine, for ``Stream.acts``; pushed features are then those of both models, and the
                act model's are kept whole.
            history: keep scores and times of decided shots (20 bytes a shot), for ``Stream.segmentation``.

        Raises:
            UnsupportedError: not a scene model, ``acts`` that is no act model, or ``provisional`` where it cannot be.
            FeatureError: a threshold outside [0, 1], or a time base that is none.
        """
        state = new_state(
            self, threshold=threshold, provisional=provisional, time_base=time_base, acts=acts, history=history
        )
        return Stream(state, acts)

    def resume(self, snapshot: bytes, *, acts: Segmenter | None = None) -> Stream:
        """A stream that goes on where ``Stream.snapshot`` was taken, in whatever process.

        The model is to be the same. Its backend and compute type need not be; later scores are then not bit-identical.

        Raises:
            FeatureError: not a whole snapshot of this version, or one of another model.
        """
        return Stream(resumed_state(self, snapshot, acts), acts)

    def decide(
        self,
        source: Features,
        logits: NDArray[np.float32],
        given: Mapping[str, Any],
        check: Check | None = None,
    ) -> Segmentation:
        """``segment`` for logits that are there; ``given`` are options that the task has checked.

        ``check`` is the one that the logits were computed with; the result's remarks say what it found.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        task = deciding_task(self.config.task, "segment")
        decision = task.decision(given, self.config.threshold, logits)
        found = Segmentation.from_logits(task.name, logits, decision, source.times, source.time_base)
        return dataclasses.replace(found, remarks=remarks_of(check, len(logits)))

    def describe(self) -> dict[str, Any]:
        """What runs: task, modalities, backend, device, target, compute_type, num_threads, bytes."""
        modalities = {modality.name: modality.feature_size for modality in self.config.modalities}
        return {"task": self.config.task, "modalities": modalities, **self.backend.describe()}
