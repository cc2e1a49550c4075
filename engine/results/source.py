"""Source: what a result tells of its movie besides decisions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError

_TIMECODE = re.compile(r"\d\d:\d\d:\d\d[:;]\d\d\d?", re.ASCII)


def beginning(line: str, letters: int) -> str:
    """The first words of a line, at most so many letters, with an ellipsis where words are missing."""
    if len(line) <= letters:
        return line
    begin = line[: letters - 1]
    words = begin.rsplit(" ", 1)[0] if line[letters - 1].isalnum() else begin
    return f"{words.rstrip(' ,;:.…-–—')}…"


def _no_spans() -> NDArray[np.int64]:
    return np.zeros((0, 2), np.int64)


@dataclass(frozen=True, eq=False)
class Source:
    """What a result tells of its movie besides decisions: what files of editors, players and ad servers ask for.

    Args:
        name: of the file, without folders.
        frame_rate: nominal frames a second; None where there is none, or it is not known.
        timecode: of the first frame, ``01:00:00:00``, or ``01:00:00;00`` for drop frame.
        size: width and height in pixels as shown.
        captions: (shots,) first words that are said in each shot (of a screenplay: that stand in it), empty where there
            are none; no captions where nothing is known.
        speech: int64 (spans, 2), ticks, increasing and disjoint: when someone speaks.
        loudness: float32 (shots,), dB of full scale within about half a second around each shot's end; None without
            sound.

    Raises:
        FeatureError: a value of another kind.
    """

    name: str
    frame_rate: Fraction | None = None
    timecode: str | None = None
    size: tuple[int, int] | None = None
    captions: tuple[str, ...] = ()
    speech: NDArray[np.int64] = field(default_factory=_no_spans)
    loudness: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not all(isinstance(caption, str) for caption in self.captions):
            raise FeatureError("source: expected a name and captions that are texts")
        if self.frame_rate is not None and not self.frame_rate > 0:
            raise FeatureError(f"source: expected a frame rate above 0, got {self.frame_rate}")
        if self.timecode is not None and not _TIMECODE.fullmatch(self.timecode):
            raise FeatureError(f"source: expected a timecode such as 01:00:00:00, got {self.timecode!r:.40}")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise FeatureError(f"source: expected a width and a height of at least 1, got {self.size!r:.40}")
        speech = self.speech
        if speech.ndim != 2 or speech.shape[1] != 2 or speech.dtype != np.int64 or (np.diff(speech.ravel()) < 0).any():
            raise FeatureError("source: expected speech as int64 (spans, 2), increasing and disjoint")
        loud = self.loudness
        if loud is not None and (loud.ndim != 1 or loud.dtype != np.float32 or not np.isfinite(loud).all()):
            raise FeatureError("source: expected loudness as finite float32 (shots,)")
        if loud is not None:  # as it is written, so that a result decides as its file does
            object.__setattr__(self, "loudness", np.round(loud.astype(np.float64), 2).astype(np.float32))

    def check_shots(self, shots: int) -> None:
        """Raises FeatureError where the values of shots are not of this many."""
        for name, values in (("captions", self.captions or None), ("loudness", self.loudness)):
            if values is not None and len(values) != shots:
                raise FeatureError(f"source: expected {name} of {shots} shots, got {len(values)}")

    def to_dict(self) -> dict[str, Any]:
        """The plain values of a result's JSON."""
        return {
            "name": self.name,
            "frame_rate": None if self.frame_rate is None else list(self.frame_rate.as_integer_ratio()),
            "timecode": self.timecode,
            "size": None if self.size is None else list(self.size),
            "captions": list(self.captions),
            "speech": self.speech.tolist(),
            "loudness": None if self.loudness is None else [round(value, 2) for value in self.loudness.tolist()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Source:
        """Read ``to_dict`` back.

        Raises:
            FeatureError, LookupError, TypeError, ValueError, OverflowError, ZeroDivisionError: not such values.
        """
        rate, size, loudness = values["frame_rate"], values["size"], values["loudness"]
        captions, speech = values["captions"], np.asarray(values["speech"])
        if not isinstance(captions, list) or (speech.size and speech.dtype.kind != "i"):
            raise TypeError("source: expected a list of captions, and speech in whole ticks")
        return cls(
            values["name"],
            None if rate is None else Fraction(*rate),
            values["timecode"],
            None if size is None else (index(size[0]), index(size[1])),
            tuple(captions),
            speech.astype(np.int64).reshape(-1, 2),
            None if loudness is None else np.asarray(loudness, dtype=np.float32),
        )
