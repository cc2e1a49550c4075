"""The report: a film's scenes and acts as one HTML page, to look at and to edit, which needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from megaseg._version import __version__
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.export.ads.rules import AdRules
from megaseg.export.timeline import Timeline
from megaseg.report.text import visible

STYLES = ("tokens.css", "page.css", "views.css", "print.css")
ENTRY = "main.js"
# First bytes of the pictures that browsers show, and their types.
_KINDS = ((b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"), (b"\x89PNG", "image/png"))
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|const|class) )(\w+)", re.MULTILINE)


def write_report(
    path: str | os.PathLike[str],
    result: Segmentation,
    *,
    title: str,
    thumbnails: Sequence[bytes] | None = None,
    importance: Explanation | None = None,
    ads: AdRules | None = None,
) -> None:
    """Write the page of a result.

    ``thumbnails`` are encoded pictures (JPEG, WebP or PNG, all of one kind), one a shot, empty where a shot has none;
    without any, shots show their first words where the result's source has some, else their numbers. ``importance`` is
    an explanation of the result's first track. ``ads`` are the rules that the page starts with.

    Raises:
        FeatureError: thumbnails of another number or kind, or importance of other shots.
    """
    page = report(result, title=title, thumbnails=thumbnails, importance=importance, ads=ads)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def report(
    result: Segmentation,
    *,
    title: str,
    thumbnails: Sequence[bytes] | None = None,
    importance: Explanation | None = None,
    ads: AdRules | None = None,
) -> str:
    """The text of the page that ``write_report`` writes.

    Raises:
        FeatureError: as ``write_report``.
    """
    pictures = _pictures(thumbnails, result.num_shots)
    script, style = _script(), _style()
    name = visible(title)
    film = {
        "title": name,
        "file": f"{_file_stem(name)}.edited.json",
        "pictured": bool(pictures),
        "result": result.to_dict(),
        "clock": _clock(result),
        "importance": None if importance is None else _importance(importance, result.num_shots),
        "ads": asdict(ads or AdRules()),
    }
    return _template().substitute(
        title=html.escape(name),
        version=__version__,
        facts=_facts(result),
        listing=html.escape(next(iter(result.tracks)).capitalize()),
        film=_json(film),
        script=script,
        script_hash=hash_of(script),
        style=style,
        style_hash=hash_of(style),
        pictures=pictures,
    )


def _facts(result: Segmentation) -> str:
    """What stands under the title until the script runs."""
    return f"{result.num_shots:,} shots"


def _file_stem(title: str) -> str:
    """A title as a part of a file name on any system."""
    return re.sub(r'[\\/:*?"<>|\s]+', " ", title).strip(" .")[:80] or "film"


def _json(value: Any) -> str:
    """JSON that ends no script element, whatever its texts hold; characters beyond ASCII are escapes."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _clock(result: Segmentation) -> dict[str, Any] | None:
    """How timecodes of the film count frames; None where no frame rate is known."""
    timeline = Timeline.of(result)
    if timeline.rate is None or not timeline.timed:
        return None
    rate, lead = timeline.rate, int(timeline.lead / (result.time_base or 1))
    exact = list(rate.exact.as_integer_ratio())
    return {"rate": exact, "drop": rate.drop, "start": timeline.start_frame, "lead": lead}


def _importance(explanation: Explanation, shots: int) -> dict[str, Any]:
    if explanation.segmentation.num_shots != shots:
        raise FeatureError(f"importance: expected that of {shots} shots, got {explanation.segmentation.num_shots}")
    return {
        "modalities": list(explanation.modalities),
        "shots": explanation.shots.tolist(),
        "names": list(explanation.names),
        "shares": [[round(share, 4) for share in row] for row in explanation.importance.tolist()],
    }


def _pictures(thumbnails: Sequence[bytes] | None, shots: int) -> str:
    """One line of base64 a shot, ``-`` where it has no picture, under a line with their type."""
    if thumbnails is None or not any(thumbnails):
        return ""
    if len(thumbnails) != shots:
        raise FeatureError(f"thumbnails: expected one for each of {shots} shots, got {len(thumbnails)}")
    kinds = {kind_of(picture) for picture in thumbnails if picture}
    if len(kinds) > 1:
        raise FeatureError(f"thumbnails: expected pictures of one kind, got {' and '.join(sorted(kinds))}")
    lines = (base64.b64encode(picture).decode() if picture else "-" for picture in thumbnails)
    return "\n".join([*kinds, *lines])


def kind_of(picture: bytes) -> str:
    """The type of an encoded picture, by its first bytes.

    Raises:
        FeatureError: neither JPEG, WebP nor PNG.
    """
    for begin, kind in _KINDS:
        if picture.startswith(begin):
            return kind
    raise FeatureError(f"thumbnails: expected JPEG, WebP or PNG, got a picture that begins with {picture[:8]!r}")


def hash_of(text: str) -> str:
    """What the page's policy knows its own script and style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# The page's sources.


def page_source(name: str) -> str:
    """The text of a file of the page."""
    return (files("megaseg.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    return Template(page_source("index.html"))


@cache
def _style() -> str:
    return "\n" + "".join(map(page_source, STYLES))


@cache
def _script() -> str:
    """All modules in one strict script, each a function that gives what it exports, after those that it imports."""
    order: dict[str, str] = {}
    _collect(ENTRY, order)
    return '\n"use strict";\nconst modules = {};\n' + "".join(order.values())


def _collect(name: str, order: dict[str, str]) -> None:
    text = page_source(name)
    for other in _IMPORT.findall(text):
        if other[1] not in order:
            _collect(other[1], order)
    body = _EXPORT.sub(r"\1\2", _IMPORT.sub(r'const {\1} = modules["\2"];\n', text))
    exported = ", ".join(name for _, name in _EXPORT.findall(text))
    order[name] = f'modules["{name}"] = (() => {{\n{body}return {{ {exported} }};\n}})();\n'
