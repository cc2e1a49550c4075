"""Speech of a film's file to subtitle lines, decoded and transcribed in a process of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megaseg.features.audio.sound_blocks import sound_blocks
from megaseg.features.audio.speech import transcribe_once
from megaseg.features.audio.voice import Silero
from megaseg.features.audio.whisper import Whisper
from megaseg.media.child import Limits, Tell, call
from megaseg.media.parts import film_key
from megaseg.media.subtitles import SubtitleLine

_LIMITS = Limits(patience=300.0)  # a region of speech is one step, and models load before the first


def transcribed(
    path: Path,
    model: Path,
    *,
    cache: Path | None,
    num_threads: int = 0,
    advance: Callable[[float, float], None] = lambda done, whole: None,
) -> tuple[SubtitleLine, ...]:
    """What is said in a film, by the Whisper model in a folder; ``advance`` is told the seconds that are done.

    ``cache`` keeps the lines of a film and a model; None keeps nothing.

    Raises:
        FeatureError: a film that cannot be decoded, or whose transcription crashed or hung.
        UnsupportedError: the extra ``speech`` is missing, or the folder is no model.
    """

    def told(seconds: Any) -> None:
        advance(float(seconds), math.nan)

    where = None if cache is None else str(cache)
    arguments = (str(path), str(model), where, num_threads)
    rows = call(_run, *arguments, subject=str(path), limits=_LIMITS, on_message=told)
    return tuple(SubtitleLine(*row) for row in rows)


def _run(path: str, model: str, cache: str | None, num_threads: int, *, tell: Tell) -> list[list[Any]]:
    lines = transcribe_once(
        film_key(Path(path), (), 0),
        lambda: sound_blocks(path),
        Whisper(model, num_threads=num_threads),
        Silero,
        cache=None if cache is None else Path(cache),
        advance=tell,
    )
    return [[line.start_ms, line.end_ms, line.text] for line in lines]
