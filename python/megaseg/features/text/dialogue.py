"""Dialogue: the sentence vectors of a film's lines, by shot, and the first words of shots and of a stretch of film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.results.source import beginning
from megaseg.errors import FeatureError
from megaseg.media.subtitles import SubtitleLine, spoken

Encode = Callable[[list[str]], NDArray[np.float32]]  # texts to (texts, width), such as ``Encoder.encode``


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The ``spoken`` lines of a film and their sentence vectors, float32 (lines, 384)."""

    lines: tuple[SubtitleLine, ...]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.lines):
            raise FeatureError(f"dialogue: expected {len(self.lines)} sentence vectors, got {self.vectors.shape}")

    @property
    def spans(self) -> NDArray[np.int64]:
        """Start and end of each line (lines, 2) in milliseconds."""
        return np.array([(line.start_ms, line.end_ms) for line in self.lines], np.int64).reshape(-1, 2)


def encoded(lines: Sequence[SubtitleLine], encode: Encode) -> Dialogue:
    """Dialogue of a film's subtitle lines, in any order; each text is encoded once.

    >>> dialogue = encoded(read_subtitles("film.srt"), Encoder.from_checkpoint().encode)
    """
    said = spoken(lines)
    number = {text: i for i, text in enumerate(dict.fromkeys(line.text for line in said))}
    vectors = encode(list(number))
    return Dialogue(said, vectors[[number[line.text] for line in said]])


def shot_rows(dialogue: Dialogue, times: NDArray[Any]) -> NDArray[np.float32]:
    """Modality ``dialogue`` (shots, 384): the mean vector of the lines that overlap each shot, zeros where none does.

    ``times`` (shots, 2) are start and end of each shot in milliseconds, increasing and without overlaps.
    """
    out = np.zeros((len(times), dialogue.vectors.shape[1]))
    counts = np.zeros(len(times))
    spans = dialogue.spans
    first = np.searchsorted(times[:, 1], spans[:, 0], side="right")  # the first shot that ends after the line starts
    after = np.searchsorted(times[:, 0], spans[:, 1], side="left")  # the first shot that starts when the line is over
    for vector, begin, end in zip(dialogue.vectors, first, after, strict=True):
        out[begin:end] += vector
        counts[begin:end] += 1
    return (out / np.maximum(counts, 1)[:, None]).astype(np.float32)


def first_words(lines: Sequence[SubtitleLine], start_ms: float, end_ms: float, most: int = 48) -> str:
    """The first words spoken from ``start_ms`` to ``end_ms``, ``shortened``; empty where nobody speaks.

    Lines count that begin there.
    """
    return shortened(" ".join(line.text for line in spoken(lines) if start_ms <= line.start_ms < end_ms), most)


def captions(lines: Sequence[SubtitleLine], times: NDArray[Any]) -> tuple[str, ...]:
    """``first_words`` of each shot; ``times`` (shots, 2) as of ``shot_rows``."""
    said: list[list[str]] = [[] for _ in times]
    for line in spoken(lines):
        shot = int(np.searchsorted(times[:, 0], line.start_ms, side="right")) - 1
        if shot >= 0 and line.start_ms < times[shot, 1]:
            said[shot].append(line.text)
    return tuple(shortened(" ".join(texts)) for texts in said)


def shortened(text: str, most: int = 48) -> str:
    """The ``beginning`` of what is said, without the dash of a speaker, at most ``most`` characters."""
    return beginning(" ".join(text.split()).lstrip("-‐–— "), most)
