"""Who segments the titles: this process, or (``fleet.py``) workers on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from megaseg.ray import Segmenter

Batch = Sequence[tuple[str, str]]  # titles with their paths


class Outcome(NamedTuple):
    """One title's result as JSON text, or the reason why there is none."""

    title: str
    path: str
    result: str | None
    error: str | None


class Workers(Protocol):
    """``descriptions`` are those of ``Segmenter.describe``."""

    descriptions: list[dict[str, Any]]

    def run(self, batches: Iterator[Batch]) -> Iterator[Outcome]:
        """One outcome a title, in any order."""


class LocalWorkers:
    """Workers that are this process; ``options`` and errors are those of ``Segmenter``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._segmenter = Segmenter(**options)
        self.descriptions = self._segmenter.describe()

    def run(self, batches: Iterator[Batch]) -> Iterator[Outcome]:
        """One outcome a title, in order."""
        for batch in batches:
            yield from segment_batch(self._segmenter, batch)


def segment_batch(segmenter: Segmenter, batch: Batch) -> list[Outcome]:
    """One outcome a title of a batch."""
    rows = segmenter({"path": [path for _, path in batch]})
    return [
        Outcome(title, path, result, error)
        for (title, path), result, error in zip(batch, rows["result"], rows["error"], strict=True)
    ]
