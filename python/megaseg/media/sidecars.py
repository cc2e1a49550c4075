"""Subtitle files beside a film: SubRip, WebVTT, ASS, SSA, MicroDVD, TTML, in any encoding (pysubs2)."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megaseg.encodings.decoding import decode
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.media.subtitles import SubtitleLine, in_order, without_markup

SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".ttml", ".dfxp", ".sub")  # in order of preference
MOST_BYTES = 1 << 26
_LONGEST = 1000 * 60 * 60 * 24 * 7  # milliseconds that a line may start at: a week
_EXPECTED = "subtitles (SubRip, WebVTT, ASS, SSA, MicroDVD or TTML)"
_VOBSUB = b"\x00\x00\x01\xba"
_NEGATIVE = re.compile(r"-\s*(?:\d+:)?\d+:\d+[.,]\d+")
_KINDS_OF_LINES = ("forced", "sdh", "cc", "hi", "full", "default")  # what a name says besides its language
# What pysubs2 raises of files that its parsers do not expect; ElementTree's errors are SyntaxErrors.
_FAILURES = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, SyntaxError)


def find_sidecar(video: str | os.PathLike[str], language: str | None = None) -> Path | None:
    """The subtitle file beside a film: ``film.srt``, ``film.en.srt`` and the like; None where there is none.

    ``language``, a code such as ``en`` or ``eng``, takes the file of that language; else that of no language, else the
    English one, which the text encoder was made for, else the first by name. Files of forced lines alone come last;
    subtitles as pictures (VobSub) are none.
    """
    video = Path(video)
    try:
        beside = sorted(video.parent.iterdir())
    except OSError:
        return None
    stem = video.stem.lower()
    found = []
    for path in beside:
        suffix = path.suffix.lower()
        middle = path.name[len(stem) : len(path.name) - len(suffix)]
        if suffix in SUFFIXES and path.name.lower().startswith(stem) and (not middle or middle[0] == "."):
            words = [word for word in middle.lower().split(".") if word]
            if not (suffix == ".sub" and _is_pictures(path)):
                found.append(("forced" in words, _rank(words, language), SUFFIXES.index(suffix), path.name, path))
    return min(found)[-1] if found else None


def _rank(words: Iterable[str], language: str | None) -> int:
    """How late a file comes whose name has such words: ``en`` is ``eng`` and ``en-GB``."""
    codes = {re.split("[-_]", word)[0][:2] for word in words if word not in _KINDS_OF_LINES}
    if language is not None and language.lower()[:2] in codes:
        return 0
    return 1 if not codes else 2 if "en" in codes else 3


def _is_pictures(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_VOBSUB)) == _VOBSUB
    except OSError:
        return False


def read_subtitles(path: str | os.PathLike[str], *, frame_rate: float | None = None) -> tuple[SubtitleLine, ...]:
    """Lines of a subtitle file as plain text, ``in_order``.

    ``frame_rate`` is the film's, for MicroDVD files that count in frames and do not say theirs.

    Raises:
        FeatureError: a file that cannot be read or holds no subtitles; names the file.
        UnsupportedError: pysubs2 of the extra ``video`` is not installed, or charset-normalizer for old encodings.
    """
    where = os.fspath(path)
    text = _without_excess(decode(_content(Path(path)), where, _EXPECTED, damaged=True)[0], where)
    events = [event for event in _events(text, where, frame_rate) if not event.is_comment]
    for event in events:
        if not (isinstance(event.start, int) and abs(event.start) <= _LONGEST and abs(event.end) <= _LONGEST):
            raise FeatureError(f"{where}: expected times up to a week, got {event.start} ms")
    lines = in_order(SubtitleLine(event.start, event.end, without_markup(event.text)) for event in events)
    if not lines:
        raise FeatureError(f"{where}: expected {_EXPECTED}, got no line with text")
    return lines


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FeatureError(f"{path}: expected a readable subtitle file, got {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise FeatureError(f"{path}: expected subtitles of up to {MOST_BYTES >> 20} MiB, got more")
    if content.startswith(_VOBSUB):
        raise FeatureError(f"{path}: expected text, got subtitles as pictures (VobSub)")
    return content


def _without_excess(text: str, where: str) -> str:
    """A text in the form that pysubs2 reads: times before the start are 0, WebVTT's blocks that are no cues go."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FeatureError(f"{where}: expected TTML without a document type, got one")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip().startswith("WEBVTT"):
        blocks = re.split(r"\n[ \t]*\n", text)
        cues = [block[block.rfind("\n", 0, block.index("-->")) + 1 :] for block in blocks if "-->" in block]
        text = "\n\n".join(["WEBVTT", *(_escaped(cue) for cue in cues)])
    rows = text.split("\n")
    return "\n".join(_NEGATIVE.sub("00:00:00.000", row) if "-->" in row else row for row in rows)


def _escaped(cue: str) -> str:
    """A WebVTT cue whose text has no times, which pysubs2 would take for the next cue's, and no empty numbers."""
    times, _, text = cue.partition("\n")
    return f"{times}\n{without_markup(text)}\n"


def _events(text: str, where: str, frame_rate: float | None) -> list[Any]:
    try:
        import pysubs2
    except ImportError as error:
        raise UnsupportedError(f"{where}: subtitles need {error.name}: pip install 'megaseg[video]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on styles and fields that are not read
            return list(pysubs2.SSAFile.from_string(text, fps=frame_rate))
    except pysubs2.exceptions.UnknownFPSError as error:
        raise FeatureError(f"{where}: expected a frame rate for lines timed in frames, got none") from error
    except pysubs2.exceptions.Pysubs2Error as error:
        raise FeatureError(f"{where}: expected {_EXPECTED}, got text of another kind") from error
    except _FAILURES as error:
        raise FeatureError(f"{where}: expected {_EXPECTED}, got: {error}") from error
