"""Films read: what a file says of itself, and what one pass over it measures. Decoding runs in a process of its own."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.files import what_is_there
from megaseg.errors import FeatureError
from megaseg.media import decoding
from megaseg.media.child import Limits, call
from megaseg.media.measures import Measures, Recording
from megaseg.media.parts import SEEN, SIZE, read_parts, recording
from megaseg.media.video import Video, VideoInfo

Advance = Callable[[float, float], None]
_LIMITS = Limits()


def probe(path: Path, *, limits: Limits = _LIMITS) -> VideoInfo:
    """What a film's file says of itself.

    Raises:
        FeatureError: no video that can be decoded.
        UnsupportedError: the extra ``video`` is missing.
    """
    return VideoInfo.from_json(call(decoding.probe, video_file(path), subject=str(path), limits=limits))


def read_video(
    video: Video,
    measures: Measures,
    *,
    cache: Path | None,
    advance: Advance = lambda done, whole: None,
    limits: Limits = _LIMITS,
    part: int = SIZE,
) -> Recording:
    """Decode a film once, and measure it on the way.

    ``advance`` is told the seconds of film that are done, and those of the whole film, NaN where the file does not say,
    at least once a second: what it raises ends the reading.
    ``cache`` is a folder that keeps the values: a film that was read before is not decoded again, and one whose reading
    was cut off goes on after its last whole ``part`` of so many frames, to the same values. None, or a folder that
    cannot be written, keeps nothing.

    Raises:
        FeatureError: no video that can be decoded, one whose decoding crashed, hung or needs too much memory, or a
            measure that does not fit.
        UnsupportedError: the extra ``video`` is missing.
    """

    if part < SEEN:
        raise FeatureError(f"part: expected at least {SEEN} frames, got {part}")

    latest = 0.0, math.nan

    def told(message: Any) -> None:
        nonlocal latest
        done, whole = message
        latest = done, math.nan if whole is None else whole
        advance(*latest)

    with tempfile.TemporaryDirectory(prefix="megaseg-") as own:
        kept = cache is not None and _usable(cache)
        folder = call(
            decoding.record,
            video_file(video.path),
            asdict(measures),
            str(cache if kept else own),
            part,
            subject=str(video.path),
            limits=limits,
            on_message=told,
            on_silence=lambda: advance(*latest),
        )
        return recording(list(read_parts(Path(folder))))


def _usable(cache: Path) -> bool:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(cache, os.W_OK | os.X_OK)


def video_file(path: Path) -> str:
    """Path of a file, as errors of the child call it.

    Raises:
        FeatureError: none is there.
    """
    if not path.is_file():
        raise FeatureError(f"{path}: expected a video file, got {what_is_there(path)}")
    return str(path)
