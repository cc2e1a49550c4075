"""Checked int8: decisions of float32 at nearly the speed of int8 (docs/checked.md).

A run computes int8, asks each excerpt's ``check`` which rows an error of up to the margin could decide otherwise, and
computes these again in float32; with AMX first in bfloat16, and in float32 what that leaves unsure. Margins are
measured once for each compiled model, and every row that runs again tests them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.extension import CHECKED, extension, native_target
from megaseg.engine.backends.native.margin import errors, kept_margin, require_logits
from megaseg.engine.backends.protocol import LOGITS, Backend, Check, Excerpt, Rows
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.graph.sequences import Windows
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import FeatureError, ResourceLimitError, UnsupportedError

PROBES = np.array([16 << 2 * k for k in range(24)])  # rows of a movie that run again whatever their scores
# From the fastest compute type to the exact one. Only AMX multiplies bfloat16 so much faster that a third model pays.
STEPS = {"amx": ("int8", "bfloat16", "float32")}
GUARD = 2 / 3  # of the margin: a larger error at a row that ran again makes the movie doubtful


class CheckedBackend:
    """Two backends of one model: the fast one computes all rows, the exact one those that a decision may rest on.

    Excerpts without ``check`` are the exact backend's alone; it may itself be one that checks. Which rows run again
    depends on the movie only, not on how it is cut or on what runs beside it. Safe to share between threads.
    """

    def __init__(self, config: ModelConfig, fast: Backend, exact: Backend, margin: float) -> None:
        """``margin``: the largest error of a logit of the fast backend that decisions allow for."""
        self._config, self._fast, self._exact, self.margin = config, fast, exact, margin
        self._lock = Lock()
        self._rows = self._again = self._doubts = 0
        self._largest = 0.0

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        passes: Sequence[str] = tuple(PASSES),
        num_threads: int = 0,
        memory_limit: int | None = None,
    ) -> CheckedBackend:
        """Load the kept compiled models of each type, and their margins; make what is not there.

        Raises:
            UnsupportedError: a CPU target without int8 products, or a model without logits of features.
            ResourceLimitError: the models together do not fit ``memory_limit``.
        """
        require_logits(checkpoint.config)
        target = native_target()
        if "int8" not in (offered := extension().compute_types(target)):
            raise UnsupportedError(
                f"compute_type {CHECKED!r}: expected a CPU target with int8 products, got {target!r}, which supports "
                f"{', '.join(offered)}"
            )
        types = STEPS.get(target, ("int8", "float32"))
        models = _loaded(checkpoint, types, memory_limit, num_threads=num_threads, passes=passes)
        *faster, exact = models
        margins = [kept_margin(checkpoint, model, exact) for model in faster]
        backend: Backend = exact
        for model, margin in zip(reversed(faster), reversed(margins), strict=True):
            backend = cls(checkpoint.config, model, backend, margin)
        assert isinstance(backend, CheckedBackend)
        return backend

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        """Outputs of each excerpt: float32's where rows ran again, int8's elsewhere, of all outputs alike.

        Raises:
            FeatureError, ValueError, UnsupportedError: as the native backend.
        """
        if all(excerpt.check is None and excerpt.cache is None for excerpt in excerpts):
            return self._exact.run(excerpts, outputs)
        asked = tuple(dict.fromkeys((*outputs, LOGITS)))
        doubts = [(excerpt.check, excerpt.check.doubt) for excerpt in excerpts if excerpt.check is not None]
        work = [_Checked(self._config, excerpt, self.margin) for excerpt in excerpts]
        for own, rows in zip(work, self._fast.run([own.fast for own in work], asked), strict=True):
            own.begin(rows, asked.index(LOGITS))
        try:
            self._run_again(work, asked)
            for own in work:
                own.find_doubt()
            self._run_again(work, asked)
        except BaseException:
            for check, doubt in doubts:
                check.doubt = doubt  # it is found again
            for excerpt in excerpts:
                if excerpt.cache is not None:
                    excerpt.cache.invalidate()
            raise
        self._count(work)
        return [tuple(own.rows[asked.index(name)] for name in outputs) for own in work]

    def _run_again(self, work: Sequence[_Checked], outputs: Sequence[str]) -> None:
        """Compute the rows that are wanted and not exact yet."""
        pieces = [(own, piece) for own in work for piece in own.pieces()]
        if not pieces:
            return
        try:
            runs = self._exact.run([excerpt for _, (_, excerpt) in pieces], outputs)
        except FeatureError:
            self._exact.run([own.whole for own in work], outputs)  # names the movie and the row as the caller counts
            raise
        for (own, (begin, _)), rows in zip(pieces, runs, strict=True):
            own.take(begin, rows)

    def _count(self, work: Sequence[_Checked]) -> None:
        with self._lock:
            for own in work:
                if not own.checked:
                    continue
                own.count()
                self._rows += len(own.again)
                self._again += int(own.again.sum())
                self._doubts += own.found_doubt
                self._largest = max(self._largest, float(own.error.max()))

    def new_cache(self) -> Cache | None:
        """An empty cache of one movie's last shots; None where the fast backend keeps nothing."""
        return None if self._fast.new_cache() is None else Cache(self._fast.new_cache)

    def describe(self) -> dict[str, Any]:
        """As of the fast backend, with the bytes of all, and ``checked``: what was checked since it was loaded.

        Of each type but the last: its margin, ``rows`` that decisions asked for and how many ran ``again``, in how
        many movies there was ``doubt``, and the ``largest_error`` of a logit found.
        """
        fast, exact = self._fast.describe(), self._exact.describe()
        sizes = {name: fast[name] + exact[name] for name in ("weight_bytes", "workspace_bytes")}
        with self._lock:
            counts = {"rows": self._rows, "again": self._again, "doubt": self._doubts}
            own = {"compute_type": fast["compute_type"], "margin": self.margin, **counts}
        own["largest_error"] = self._largest
        return {**fast, "compute_type": CHECKED, **sizes, "checked": [own, *exact.get("checked", ())]}


def _loaded(
    checkpoint: Checkpoint, types: Sequence[str], memory_limit: int | None, **options: Any
) -> list[NativeBackend]:
    """A model of each type; where they would take more than the limit, each workspace is smaller by the same share.

    Raises:
        ResourceLimitError: the weights, or so small a workspace of one of them, do not fit.
    """
    load = partial(NativeBackend.from_checkpoint, checkpoint, **options)
    models = [load(compute_type=kind) for kind in types]
    if memory_limit is None:
        return models
    sizes = [model.describe() for model in models]
    weights, workspace = (sum(own[name] for own in sizes) for name in ("weight_bytes", "workspace_bytes"))
    left = memory_limit - weights
    if left >= workspace:
        return models
    limits = [max(1, own["weight_bytes"] + left * own["workspace_bytes"] // workspace) for own in sizes]
    try:
        return [load(compute_type=kind, memory_limit=limit) for kind, limit in zip(types, limits, strict=True)]
    except ResourceLimitError as error:
        raise ResourceLimitError(
            f"memory_limit: expected more than the {weights} bytes of weights of {', '.join(types)} together, with "
            f"room for each one's workspace, got {memory_limit}"
        ) from error


class Cache:
    """A movie's last shots: what the fast backend keeps of them, and their features for rows that run again."""

    def __init__(self, new: Callable[[], Any]) -> None:
        self._new = new
        self.chunks: deque[Sequence[NDArray[Any]]] = deque()
        self.invalidate()

    def invalidate(self) -> None:
        """Hold nothing, as after a run that failed."""
        self.fast = self._new()
        self.chunks.clear()

    @property
    def shots(self) -> int:
        """Shots that it holds now."""
        return int(self.fast.shots)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds now."""
        return int(self.fast.nbytes) + sum(array.nbytes for chunk in self.chunks for array in chunk)

    def append(self, features: Sequence[NDArray[Any]]) -> None:
        """Hold the next shots, which the fast backend has seen, and forget those that it forgot."""
        self.chunks.append(features)
        held = sum(len(chunk[0]) for chunk in self.chunks)
        while self.chunks and held - len(self.chunks[0][0]) >= self.shots:
            held -= len(self.chunks.popleft()[0])


class _Checked:
    """An excerpt in a run: its rows so far, which of them are exact, and which are to be."""

    def __init__(self, config: ModelConfig, excerpt: Excerpt, margin: float) -> None:
        if not isinstance(excerpt.cache, (Cache, NoneType)):
            raise ValueError("cache: expected one of this model's new_cache, got another")
        own = config.sequences
        self._config, self._excerpt, self._margin = config, excerpt, margin
        self._half = own.half if isinstance(own, Windows) else None  # None: a sequence runs again as a whole
        self._chunks, self._held = [excerpt.features], 0
        self.fast = excerpt
        if excerpt.cache is not None:
            self._chunks, self._held = [*excerpt.cache.chunks, excerpt.features], excerpt.cache.shots
            self.fast = replace(excerpt, cache=excerpt.cache.fast)

    def begin(self, rows: Rows, logits: int) -> None:
        """Take the fast rows, of which output ``logits`` is the logits, and ask which are to run again."""
        self.rows, self._logits = [np.array(output) for output in rows], logits
        self._fast_logits = rows[logits]
        count = len(self._fast_logits)
        self.again, self.error, self.found_doubt = np.zeros(count, np.bool_), np.zeros(count), False
        self._doubtful = False
        self._inner: Check | None = None
        check, row = self._excerpt.check, self._excerpt.row
        self._wanted = np.ones(count, np.bool_)
        self._places = None if check is None or row is None or self._half is None else row + np.arange(count)
        if check is not None:
            self._wanted = check.unsure(self._fast_logits, self._margin)
            if self._half is None:
                self._wanted = np.full(count, self._wanted.any())
            elif self._places is not None:
                self._wanted |= np.isin(self._places, PROBES)
                if check.doubt is not None:
                    self._wanted &= self._places <= check.doubt
        if self._excerpt.cache is not None:
            self._excerpt.cache.append(self._excerpt.features)

    def find_doubt(self) -> None:
        """Have the most exact backend run all rows after one whose error comes too near the margin, provisional too."""
        check = self._excerpt.check
        if check is None or self._half is None:
            return
        if self._places is not None:
            wrong = self._places[self.again & (self.error > GUARD * self._margin)].tolist()
            if self._inner is not None and self._inner.doubt is not None:
                wrong.append(self._inner.doubt)
            first = min(wrong, default=None)
            if first is not None and (check.doubt is None or first < check.doubt):
                check.doubt, self.found_doubt = first, True
        if check.doubt is not None:
            self._wanted = np.full(len(self.again), True) if self._places is None else self._places > check.doubt
            self.again &= ~self._wanted
            self._doubtful = True

    @property
    def checked(self) -> bool:
        """Whether a decision rests on its rows; else all of them are exact, and it only shares the run."""
        return self._excerpt.check is not None

    def count(self) -> None:
        """Tell the check how many rows ran again, each row once; nothing after rows that another type has decided."""
        check = self._excerpt.check
        if check is not None and self._places is not None and self._places[0] <= check.counted:
            check.again += int(self.again[self._places >= check.counted].sum())
            check.counted = max(check.counted, int(self._places[-1]) + 1)

    @property
    def whole(self) -> Excerpt:
        """The excerpt with the features that its cache held."""
        parts = zip(*self._chunks, strict=True)
        features = self._excerpt.features if len(self._chunks) == 1 else [np.concatenate(own) for own in parts]
        first = len(features[0]) - len(self._excerpt.features[0]) - self._held
        return replace(self._excerpt, features=[array[first:] for array in features], cache=None, check=None)

    def pieces(self) -> list[tuple[int, Excerpt]]:
        """What gives the rows that are wanted and not exact yet, each piece with its first row."""
        left = self._wanted & ~self.again
        if not left.any():
            return []
        check = self._excerpt.check
        self._inner = None if check is None or self._doubtful else Check(check.unsure)
        whole = replace(self.whole, check=self._inner)
        if self._half is None:
            return [(0, whole)]
        edges = np.flatnonzero(np.diff(left, prepend=False, append=False)).reshape(-1, 2)
        return [(begin, _piece(whole, begin, end, self._half)) for begin, end in edges.tolist()]

    def take(self, begin: int, rows: Rows) -> None:
        """Put exact rows, from ``begin`` on, in the place of fast ones."""
        own = slice(begin, begin + len(rows[self._logits]))
        self.error[own] = errors(self._config, self._fast_logits[own], rows[self._logits])
        self.again[own] = True
        for output, exact in zip(self.rows, rows, strict=True):
            output[begin : begin + len(exact)] = exact


def _piece(whole: Excerpt, begin: int, end: int, half: int) -> Excerpt:
    """Rows ``begin`` to ``end`` of an excerpt's, with the shots that their windows see."""
    first, last = whole.first + begin, whole.first + end
    seen = max(0, first - half)
    features = [array[seen : last + half] for array in whole.features]
    row = None if whole.row is None else whole.row + begin
    return Excerpt(features, first - seen, last - seen, check=whole.check, row=row)
