"""Speech of a film to subtitle lines: where somebody speaks, what is said, kept so that it is done once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple
from pathlib import Path

from megaseg.engine.inputs.files import atomic_write
from megaseg.features.audio.voice import Region, Samples, VoiceActivity, regions
from megaseg.features.audio.whisper import Transcriber
from megaseg.media.measures import RATE
from megaseg.media.subtitles import SubtitleLine, in_order, without_markup

VERSION = 1  # of what makes lines of sound


def transcribe(
    blocks: Iterable[Samples],
    transcriber: Transcriber,
    voice: VoiceActivity,
    advance: Callable[[float], None] = lambda seconds: None,
) -> tuple[SubtitleLine, ...]:
    """Lines of what is said in blocks of 16 kHz mono; one region of speech is held at a time.

    Times are milliseconds from the first sample. ``advance(seconds)`` is called with the seconds that are done.

    >>> lines = transcribe(sound_blocks("film.mp4"), Whisper("whisper-base"), Silero())
    """
    lines: list[SubtitleLine] = []
    for region in regions(_counted(blocks, advance), voice):
        lines += _lines(region, transcriber)
    return in_order(lines)


def _counted(blocks: Iterable[Samples], advance: Callable[[float], None]) -> Iterator[Samples]:
    samples = 0
    for block in blocks:
        yield block
        samples += len(block)
        advance(samples / RATE)


def _lines(region: Region, transcriber: Transcriber) -> Iterator[SubtitleLine]:
    """Lines of a region, none of them beyond its ends, which a model's times may be."""
    start, length = region.start / RATE, len(region.samples) / RATE
    for begin, end, text in transcriber.transcribe(region.samples):
        begin, end = min(max(0.0, begin), length), min(max(0.0, end), length)
        yield SubtitleLine(round(1000 * (start + begin)), round(1000 * (start + end)), without_markup(text))


def transcribe_once(
    film: str,
    blocks: Callable[[], Iterable[Samples]],
    transcriber: Transcriber,
    voice: Callable[[], VoiceActivity],
    *,
    cache: Path | None,
    advance: Callable[[float], None] = lambda seconds: None,
) -> tuple[SubtitleLine, ...]:
    """``transcribe``, or what an earlier call kept in the folder ``cache``; None keeps nothing.

    ``film`` is the identity of the film's file, such as its digest. Kept lines of another film, model or version, and
    damaged files, count as absent.
    """
    if cache is None:
        return transcribe(blocks(), transcriber, voice(), advance)
    key = hashlib.sha256(f"{VERSION}\n{film}\n{transcriber.identity}".encode()).hexdigest()
    kept = cache / f"speech-{key[:32]}.json"
    found = _kept(kept)
    if found is None:
        found = transcribe(blocks(), transcriber, voice(), advance)
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as temporary:
            temporary.write_text(json.dumps([astuple(line) for line in found]), encoding="utf-8")
    return found


def _kept(path: Path) -> tuple[SubtitleLine, ...] | None:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return tuple(SubtitleLine(int(start), int(end), str(text)) for start, end, text in rows)
    except (OSError, ValueError, TypeError):
        return None


def write_srt(path: str | os.PathLike[str], lines: Iterable[SubtitleLine]) -> None:
    """Write lines as SubRip, UTF-8; the file is there whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(_cues(in_order(lines)), encoding="utf-8")


def _cues(lines: Iterable[SubtitleLine]) -> str:
    return "".join(
        f"{number}\n{_time(line.start_ms)} --> {_time(line.end_ms)}\n{line.text}\n\n"
        for number, line in enumerate(lines, 1)
    )


def _time(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{ms:03}"
