"""The movie of a request's body: a feature file, a screenplay as text, Final Draft's XML or PDF, or a film's path."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path, PurePath

from megaseg.engine.inputs.feature_files import read_features
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError, ResourceLimitError
from megaseg.features import Screenplay, parse_screenplay
from megaseg.media.video import Video
from megaseg.pipelines.sources import VIDEOS
from megaseg.serving.errors import RequestError

# Of a screenplay, whose parsing holds Python's interpreter lock.
_MOST_TEXT, _LONGEST_LINE = 4 << 20, 10_000
_MOST_FILE = 16 << 20  # bytes as XML or PDF, most of which are no text
_MOST_PATH = 1 << 16  # bytes of a body that names a film
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]*)', re.IGNORECASE)
# Python's names of what a charset may be: its other codecs are no encodings, or slow ones.
_ENCODING = re.compile(r"ascii|utf-(8|16|32)(-[lb]e)?|cp\d+|iso8859-\d+|mac-\w+|koi8-\w|gb\w+|big5|euc_\w+|shift_jis")
_XML_STARTS = ("<?xml", "<finaldraft")


def read_source(
    content: bytes, content_type: str, limit: int, media_root: Path | None = None
) -> Features | Screenplay | Video:
    """The movie of a body: what its content type says, or where that says little, what its first bytes are.

    A film stays where it is: the body is JSON with its ``path`` below ``media_root``.

    Raises:
        FeatureError: neither features nor a screenplay. RequestError: text that is not of its charset.
        ResourceLimitError: it would unpack to more than ``limit`` bytes, or too much text.
        UnsupportedError: an extra that such a screenplay needs and that is missing.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" and b"\0" not in content:  # every feature file has zeros, no text has
        return _film(content, media_root)
    kind = _kind(content, media_type)
    if kind == "features":
        return _features(content, limit)
    most = _MOST_TEXT if kind == "text" else _MOST_FILE
    if len(content) > most:
        raise ResourceLimitError(f"body: expected a screenplay of up to {most} bytes, got {len(content)}")
    if kind != "text":
        return parse_screenplay(content, "body", kind=kind)
    longest = max(map(len, content.splitlines()), default=0)
    if longest > _LONGEST_LINE:
        raise ResourceLimitError(f"body: expected lines of up to {_LONGEST_LINE} bytes, got one of {longest}")
    charset = _CHARSET.search(content_type)
    return parse_screenplay(content if charset is None else _decoded(content, charset[1]), "body", kind="text")


def _kind(content: bytes, media_type: str) -> str:
    """``features``, or a screenplay's kind: ``text``, ``fdx`` or ``pdf``."""
    if media_type.endswith(("/xml", "+xml")) or "finaldraft" in media_type or media_type.endswith("/x-fdx"):
        return "fdx"
    if media_type == "application/pdf":
        return "pdf"
    text = media_type.startswith("text/")
    if content.startswith(b"%PDF-") and not text:
        return "pdf"
    start = content[:100].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").decode("latin-1").lower()
    if start.startswith(_XML_STARTS):
        return "fdx"
    return "text" if text else "features"


def _film(content: bytes, root: Path | None) -> Video:
    """The film that a body names: a file below the root, wherever links lead.

    Raises:
        RequestError: no such film; the same words whatever is there. ResourceLimitError: too long to be a path.
    """
    if root is None:
        raise RequestError("path: expected a service with a media root, this one reads no films")
    if len(content) > _MOST_PATH:
        raise ResourceLimitError(f"body: expected a film's path in up to {_MOST_PATH} bytes, got {len(content)}")
    try:
        values = json.loads(content)
        named = PurePath(values["path"])
        if named.is_absolute() or ".." in named.parts:  # it may tell what is there outside, though it ends inside
            raise ValueError(named)
        path = (root / named).resolve(strict=True)
        inside = len(values) == 1 and path.is_relative_to(root.resolve())
        fits = inside and path.is_file() and path.suffix.lower() in VIDEOS
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OSError):
        fits = False
    if not fits:
        raise RequestError('body: expected {"path": "..."} of a film below the media root, got none')
    return Video(path.stem, path)


def _features(content: bytes, limit: int) -> Features:
    try:
        return read_features(content, "body", max_bytes=limit)
    except FeatureError as error:
        if b"\0" in content or not content:  # every feature file has zeros, no text has
            raise
        raise FeatureError(f"{error}; a screenplay comes with Content-Type: text/plain") from error


def _decoded(content: bytes, charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
        if not _ENCODING.fullmatch(name):
            raise LookupError(f"unknown encoding: {charset}")
        return content.decode(name).removeprefix("\ufeff")
    except (LookupError, ValueError) as error:
        raise RequestError(f"body: expected text in the charset of its Content-Type, got: {error!s:.200}") from error
