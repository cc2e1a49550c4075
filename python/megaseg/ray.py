"""``Segmenter``: a callable class for Ray Data's ``map_batches``, one engine an actor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from megaseg.catalog.storage import read_features
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import RESERVED, Features
from megaseg.engine.results.movie import MovieSegmentation, check_same_features, check_together, joined
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError

READERS = 8  # files of one batch that are read at once: storage answers late, and decompression lets others run

Result = Segmentation | MovieSegmentation


class Segmenter:
    """Segments batches of titles: one engine, or a scene and an act engine, for each actor of ``map_batches``.

    >>> titles = ray.data.read_parquet("titles.parquet")
    >>> options = {"checkpoint": "screenplay-scenes", "compute_type": "float32"}
    >>> actors = ray.data.ActorPoolStrategy(size=8)
    >>> results = titles.map_batches(Segmenter, fn_constructor_kwargs=options, compute=actors, batch_size=16)

    Rows in: a column ``path`` of feature files (paths or URLs), or one column a modality of arrays (shots, width),
    with ``times`` and the other keys of feature files as wanted. Rows out: the columns that are no features, and
    ``result`` (JSON text of ``engine/results/result.schema.json``) or ``error`` (why there is none), the other being
    empty. A title that cannot be segmented never ends its batch.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | Sequence[str],
        *,
        column: str = "path",
        decision: Mapping[str, Any] | None = None,
        num_threads: int | None = None,
        **options: Any,
    ) -> None:
        """Load the checkpoint; ``options`` are those of ``Engine.from_checkpoint``, ``decision`` of ``Engine.segment``.

        A checkpoint is compiled once a node and then mapped, so that actors share its pages. ``num_threads``: None
        takes as many as the actor has CPUs, outside Ray every core.

        Raises:
            CheckpointError, UnsupportedError, ResourceLimitError: as ``Engine.from_checkpoint``.
            FeatureError: checkpoints that do not go together.
        """
        names = [checkpoint] if isinstance(checkpoint, (str, os.PathLike)) else list(checkpoint)
        threads = _own_cpus() if num_threads is None else num_threads
        self._engines = [Engine.from_checkpoint(name, num_threads=threads, **options) for name in names]
        configs = [engine.config for engine in self._engines]
        check_together(configs, [str(name) for name in names])
        check_same_features(configs, "catalog")
        self._column = column
        self._features = {modality.name for config in configs for modality in config.modalities} | set(RESERVED)
        self._decision = dict(decision or {})

    def describe(self) -> list[dict[str, Any]]:
        """``Engine.describe`` of each engine."""
        return [engine.describe() for engine in self._engines]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Columns of equal length in, columns out."""
        others = {name: column for name, column in batch.items() if name not in self._features}
        if self._column not in batch and len(others) == len(batch):
            raise FeatureError(
                f"batch: expected a column {self._column!r} of feature files, or one a modality of arrays, "
                f"got {list(batch)}"
            )
        rows = range(len(next(iter(batch.values()))))
        with ThreadPoolExecutor(READERS) as readers:
            sources = list(readers.map(lambda row: _attempt(partial(self._read, batch, row)), rows))
        results = self._segment(sources)
        texts = [None if isinstance(result, Exception) else result.to_json() for result in results]
        errors = [_reason(result) if isinstance(result, Exception) else None for result in results]
        return {**others, "result": np.array(texts, object), "error": np.array(errors, object)}

    def _read(self, batch: Mapping[str, Any], row: int) -> Features:
        if self._column in batch:
            return read_features(os.fspath(batch[self._column][row]))
        values = {name: batch[name][row] for name in self._features if name in batch}
        return Features.from_mapping({name: value for name, value in values.items() if value is not None})

    def _segment(self, sources: list[Features | Exception]) -> list[Result | Exception]:
        good = [source for source in sources if isinstance(source, Features)]
        found = _attempt(partial(self._together, good))
        if isinstance(found, Exception):  # of one title; each alone says which
            found = [_attempt(partial(self._alone, source)) for source in good]
        rest = iter(found)
        return [next(rest) if isinstance(source, Features) else source for source in sources]

    def _together(self, movies: list[Features]) -> list[Result]:
        parts = [engine.segment_many(movies, **self._decision) for engine in self._engines]
        return [joined(part) for part in zip(*parts, strict=True)]

    def _alone(self, movie: Features) -> Result:
        return self._together([movie])[0]


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 (whatever ails one title is its reason, not the end of a million)
        return error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FeatureError) else f"{type(error).__name__}: {error}"


def _own_cpus() -> int:
    """CPUs that Ray gives this actor, at least one; 0 outside an actor."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return 0
    return max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
