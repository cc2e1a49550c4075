"""Where parts of a film begin, read from results and from the files of other programs, one format a module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.evaluation.boundaries import (
    avid,
    csv_table,
    edl,
    fcp7,
    fcpxml,
    ffmetadata,
    json_list,
    matroska,
    ogm,
    otio,
    premiere,
    times,
    vtt,
)
from megaseg.evaluation.boundaries.clock import Counting, Span
from megaseg.media.timecode import FrameRate, conformed, parse

__all__ = ["Boundaries", "read_boundaries"]

# The first that fits a text reads it.
READERS = (otio, json_list, matroska, fcpxml, fcp7, vtt, ffmetadata, ogm, avid, edl, csv_table, premiere, times)
MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Boundaries:
    """Where parts of a film begin, the first one left out: seconds, increasing; None where a result has no times.

    ``duration`` is in seconds where the file says it. ``result`` is there where the file is one, with the last shots
    (n,) before the boundaries.
    """

    seconds: tuple[Fraction, ...] | None
    duration: Fraction | None = None
    result: Segmentation | None = None
    shots: tuple[int, ...] = ()


def read_boundaries(*paths: Path, track: str | None = None, frame_rate: str | None = None) -> list[Boundaries]:
    """Boundaries of files about one film: results, CSV, EDL, OTIO, XML of editors, chapters, or lists of times.

    Those of a result are of its first track, or of the one that is named. Timecodes count at ``frame_rate``, else at
    that of a result among the files, whose first timecode holds as well.

    Raises:
        FeatureError: a file that cannot be read, timecodes without a frame rate, or a result without the track; names
            the file.
        UnsupportedError: a missing extra.
    """
    given = None if frame_rate is None else parse(frame_rate)
    texts = [(path, _text(path)) for path in paths]
    results = [_result(path, text) for path, text in texts]
    counting = _counting(given, results)
    return [_of(path, text, result, track, counting) for (path, text), result in zip(texts, results, strict=True)]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise FeatureError(f"{path}: expected a file of up to {MOST_BYTES >> 20} MiB, got more")
        return data.decode("utf-8-sig").strip()
    except OSError as error:
        raise FeatureError(f"{path}: expected a readable file, got {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FeatureError(f"{path}: expected a result or a list of boundaries, got binary data") from error


def _result(path: Path, text: str) -> Segmentation | None:
    if not text.startswith("{") or otio.fits(text):
        return None
    try:
        return Segmentation.from_json(text)
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from error


def _counting(given: FrameRate | None, results: Sequence[Segmentation | None]) -> Counting:
    """The rate that is given, else a result's, and a result's first timecode."""
    sources = [result.source for result in results if result is not None and result.source is not None]
    rate = given or next((FrameRate(conformed(own.frame_rate)) for own in sources if own.frame_rate), None)
    return Counting(rate, next((own.timecode for own in sources if own.timecode), None))


def _of(path: Path, text: str, result: Segmentation | None, track: str | None, counting: Counting) -> Boundaries:
    try:
        if result is not None:
            return _of_result(result, track)
        reader = next((reader for reader in READERS if reader.fits(text)), None)
        if reader is None:
            raise FeatureError(f"expected chapters or clips of an editor, got other XML: {text[:60]!r}")
        return _of_spans(reader.read(text, counting))
    except FeatureError as error:
        raise type(error)(f"{path}: {error}") from error


def _of_result(result: Segmentation, track: str | None) -> Boundaries:
    name = next(iter(result.tracks)) if track is None else track
    if name not in result.tracks:
        raise FeatureError(f"track: expected {' or '.join(result.tracks)}, got {name!r:.40}")
    shots = result.tracks[name].boundaries.tolist()
    if result.times is None or result.time_base is None:
        return Boundaries(None, None, result, tuple(shots))
    base, times = result.time_base, result.times
    starts = tuple(int(times[shot + 1, 0]) * base for shot in shots)
    return Boundaries(starts, int(times[-1, 1]) * base, result, tuple(shots))


def _of_spans(spans: Sequence[Span]) -> Boundaries:
    if not spans:
        raise FeatureError("expected at least one part, got none")
    starts = sorted({start for start, _ in spans})
    ends = [end for _, end in spans if end is not None]
    return Boundaries(tuple(start for start in starts[1:] if start > 0), max(ends, default=None))
