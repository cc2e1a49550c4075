"""Results of a search for scenes as one HTML page that needs no network, and as a picture of the shots that match."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from string import Template

import numpy as np
from numpy.typing import NDArray

from megaseg._version import __version__
from megaseg.engine.inputs.files import atomic_write
from megaseg.report.html import hash_of, kind_of, page_source
from megaseg.report.plots import HEAT, new_figure, save_figure
from megaseg.report.text import clock, visible
from megaseg.search.explaining import Found, Side
from megaseg.search.index import Hit
from megaseg.search.match import Match
from megaseg.search.query import Query

STYLES = ("tokens.css", "matches.css")
CELL, ROW, LABEL = 46, 28, 34  # pixels of the SVG: width and height of a pair of shots, width of a shot's number
# Points of the colour map viridis, from the least to the greatest similarity.
COLOURS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float64)


def write_matches(path: str | os.PathLike[str], query: Query, found: Sequence[Found]) -> None:
    """Write the page of a query's results, whole or not at all."""
    page = matches(query, found)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def matches(query: Query, found: Sequence[Found]) -> str:
    """The text of the page that ``write_matches`` writes."""
    style = "\n" + "".join(map(page_source, STYLES))
    blocks = [one.match.similarities for one in found if one.match is not None]
    low, high = (min(block.min() for block in blocks), max(block.max() for block in blocks)) if blocks else (0.0, 1.0)
    first = next((one.query.strip for one in found if one.query.strip), ())
    results = "".join(_result(number, one, float(low), float(high)) for number, one in enumerate(found, 1))
    return Template(page_source("matches.html")).substitute(
        title=_text(f"Scenes like {_name(query)}"),
        version=__version__,
        facts=_text(_facts(query.first_shot, query.last_shot, query.seconds)),
        strip=_strip(first),
        scale=_scale(float(low), float(high)) if blocks else "",
        results=results or '<p class="quiet">No scene was found.</p>',
        style=style,
        style_hash=hash_of(style),
    )


def _name(query: Query) -> str:
    if query.scene is not None:
        return f"scene {query.scene} of {query.name}"
    return f"shots {query.first_shot} to {query.last_shot} of {query.name}"


def _text(text: str) -> str:
    """A text that is no markup, whatever it holds."""
    return html.escape(visible(text))


def _facts(first: int, last: int, seconds: tuple[float, float] | None) -> str:
    times = "" if seconds is None else f"{clock(seconds[0])} – {clock(seconds[1])} · "
    return f"{times}shots {first} to {last}"


def _result(number: int, found: Found, low: float, high: float) -> str:
    hit = found.hit
    facts = _facts(hit.first_shot, hit.last_shot, hit.seconds)
    head = (
        f'<h2 dir="auto">{number}. {_text(hit.title)}</h2>'
        f"<p>scene {hit.scene} · {_text(facts)} · distance {hit.distance:.4f}</p>"
    )
    block = "" if found.match is None else _figure(found, hit, found.match, low, high)
    return f'<article class="result">{head}{_strip(found.result.strip)}{block}</article>\n'


def _strip(pictures: Sequence[bytes]) -> str:
    """Pictures of a scene side by side."""
    shown = "".join(f'<img alt="" src="{_data(picture)}">' for picture in pictures if picture)
    return f'<div class="strip">{shown}</div>' if shown else ""


def _data(picture: bytes) -> str:
    return f"data:{kind_of(picture)};base64,{base64.b64encode(picture).decode()}"


def _figure(found: Found, hit: Hit, match: Match, low: float, high: float) -> str:
    names = _text(", ".join(match.modalities))
    told = f"Shots that match best: mean {match.mean:.3f} of {names}. Rows: the scene asked for. Columns: this scene."
    drawing = _drawing(match, found.query, found.result, low, high)
    return f'<figure><div class="block">{drawing}</div><figcaption>{told}</figcaption></figure>'


def _drawing(match: Match, query: Side, result: Side, low: float, high: float) -> str:
    """Numbers, and where there are any pictures, of shots above and to the left, and a rectangle for each pair."""
    rows, columns = match.similarities.shape
    left, top = LABEL + CELL * any(query.matched), ROW * (1 + any(result.matched))
    parts = []
    for j, shot in enumerate(range(match.result_first, match.result_first + columns)):
        x = left + j * CELL
        parts.append(f'<text x="{x + CELL / 2:g}" y="{ROW * 0.7:g}" text-anchor="middle">{shot}</text>')
        parts.append(_picture(result.matched, j, x, ROW))
    for i, shot in enumerate(range(match.query_first, match.query_first + rows)):
        y = top + i * ROW
        parts.append(f'<text x="{LABEL - 4}" y="{y + ROW * 0.65:g}" text-anchor="end">{shot}</text>')
        parts.append(_picture(query.matched, i, LABEL, y))
        for j, value in enumerate(match.similarities[i].tolist()):
            told = f"shot {shot} and shot {match.result_first + j}: {value:.3f}"
            place = f'x="{left + j * CELL}" y="{y}" width="{CELL - 1}" height="{ROW - 1}"'
            parts.append(f'<rect {place} fill="{colour(value, low, high)}"><title>{told}</title></rect>')
    size = f'width="{left + CELL * columns}" height="{top + ROW * rows}"'
    label = f"{rows} by {columns} shots, from shot {match.query_first} and from shot {match.result_first}"
    return f'<svg {size} role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _picture(pictures: Sequence[bytes], place: int, x: float, y: float) -> str:
    if place >= len(pictures) or not pictures[place]:
        return ""
    return f'<image x="{x}" y="{y}" width="{CELL - 1}" height="{ROW - 1}" href="{_data(pictures[place])}"/>'


def colour(value: float, low: float, high: float) -> str:
    """The colour of a similarity, ``#rrggbb``, from ``low`` to ``high``."""
    place = min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.5
    at = np.arange(len(COLOURS)) / (len(COLOURS) - 1)
    red, green, blue = (round(float(np.interp(place, at, COLOURS[:, channel]))) for channel in range(3))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _scale(low: float, high: float) -> str:
    """What the colours mean."""
    steps = 24
    cells = "".join(
        f'<rect x="{8 * step}" y="0" width="8" height="12" fill="{colour(step / (steps - 1), 0, 1)}"/>'
        for step in range(steps)
    )
    drawing = f'<svg width="{8 * steps}" height="12" role="img" aria-label="scale of colours">{cells}</svg>'
    return f'<p class="scale">Similarity of two shots: {low:.2f} {drawing} {high:.2f}</p>'


def plot_matches(query: Query, found: Sequence[Found], path: str | os.PathLike[str]) -> None:
    """Write a picture of the block of shots that match of each result.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    pairs = [(one.hit, one.match) for one in found if one.match is not None]
    columns = min(5, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = new_figure(path, 1 + 2.9 * columns, 0.8 + 2.9 * rows)
    cells: NDArray[np.object_] = figure.subplots(rows, columns, squeeze=False).ravel()
    low = min(match.similarities.min() for _, match in pairs)
    high = max(match.similarities.max() for _, match in pairs)
    for axes in cells[len(pairs) :]:
        axes.axis("off")
    for axes, (hit, match) in zip(cells, pairs, strict=False):
        height, width = match.similarities.shape
        first, second = match.query_first - 0.5, match.result_first - 0.5
        edges = (second, second + width, first + height, first)
        image = axes.imshow(match.similarities, cmap=HEAT, vmin=low, vmax=high, extent=edges, aspect="auto")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
        axes.set_title(f"{visible(hit.title)}, scene {hit.scene}\ndistance {hit.distance:.3f}", fontsize=8)
    figure.supxlabel("shot of the result", fontsize=9)
    figure.supylabel("shot of the scene asked for", fontsize=9)
    figure.suptitle(visible(f"scenes like {_name(query)}"), fontsize=11)
    figure.colorbar(image, ax=list(cells), label="similarity of two shots", fraction=0.03, pad=0.02)
    save_figure(figure, path, 150)
