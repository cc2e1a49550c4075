"""Who segments, embeds or describes the titles: this process, or (``fleet.py``) workers on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from megaseg.ray import Embedder, SceneEmbedder, Segmenter

Batch = Sequence[tuple[str, str]]  # titles with their paths
Hand = Segmenter | Embedder | SceneEmbedder


class Outcome(NamedTuple):
    """One title's result, JSON text or the bytes of a file, or the reason why there is none."""

    title: str
    path: str
    result: str | bytes | None
    error: str | None


class Workers(Protocol):
    """``descriptions`` are those of ``describe`` of the hands."""

    descriptions: list[dict[str, Any]]

    def run(self, batches: Iterator[Batch]) -> Iterator[Outcome]:
        """One outcome a title, in any order."""


class LocalWorkers:
    """Workers that are this process; ``options`` and errors are those of ``hand_of``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._hand = hand_of(options)
        self.descriptions = self._hand.describe()

    def run(self, batches: Iterator[Batch]) -> Iterator[Outcome]:
        """One outcome a title, in order."""
        for batch in batches:
            yield from outcomes_of(self._hand, batch)


def hand_of(options: Mapping[str, Any]) -> Hand:
    """What does the work, by ``options["makes"]``: ``embeddings``, ``scenes`` for an index, or without it results.

    Raises:
        CheckpointError, UnsupportedError, ResourceLimitError, FeatureError: as these do.
    """
    own = {name: value for name, value in options.items() if name != "makes"}
    kinds: dict[str | None, type[Hand]] = {None: Segmenter, "embeddings": Embedder, "scenes": SceneEmbedder}
    return kinds[options.get("makes")](**own)


def outcomes_of(hand: Hand, batch: Batch) -> list[Outcome]:
    """One outcome a title of a batch."""
    rows = hand({"title": [title for title, _ in batch], "path": [path for _, path in batch]})
    return [
        Outcome(title, path, result, error)
        for (title, path), result, error in zip(batch, rows["result"], rows["error"], strict=True)
    ]
