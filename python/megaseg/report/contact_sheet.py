"""A contact sheet: every scene as a small picture with its number and time, below the acts that they belong to."""

from __future__ import annotations

import io
import itertools
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from megaseg.export.text import shortened
from megaseg.export.timeline import Part, Timeline
from megaseg.report.plots import COLOURS, new_figure, save_figure
from megaseg.report.text import clock, visible

UNIT = 100  # to an inch: a thumbnail's pixel takes one
CELL, GAP, MARGIN = 160, 12, 24  # widths: of a cell, between cells, around all
TITLE, HEADING, LINE = 48, 34, 13  # heights: of the title, of an act's heading, of a line of text
SHAPE = 16 / 9  # width by height of a cell without a picture
MOST_COLUMNS, FEW = 8, 24  # up to so many scenes stand in rows of six
DPI, MOST_ROWS = 150, 60_000  # pixels of a picture's height, which can have 65,535
LETTERS = 26  # of a line below or in a cell
INK, QUIET, PAPER, CARD = "#1d2730", "#5b6873", "#ffffff", "#e9edf1"


class _Placed(NamedTuple):
    """A heading (an act) or a cell (a scene) with its upper left corner."""

    part: Part
    is_act: bool
    x: float
    y: float


def picture_shots(timeline: Timeline) -> list[int]:
    """The middle shot of each scene, whose picture stands for it."""
    return [(scene.first_shot + scene.last_shot) // 2 for scene in timeline.scenes]


def plot_contact_sheet(timeline: Timeline, pictures: Sequence[bytes], path: str | os.PathLike[str]) -> None:
    """Write a sheet of all scenes: their encoded ``pictures``, or their first words where a picture is empty.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    arrays = [_opened(picture) if picture else None for picture in pictures]
    cell = max((CELL * len(array) / array.shape[1] for array in arrays if array is not None), default=CELL / SHAPE)
    columns = MOST_COLUMNS if len(timeline.scenes) > FEW else 6
    worded = any(_words(timeline, scene, pictured=bool(arrays)) for scene in timeline.scenes)
    placed, height = _layout(timeline, columns, cell + (1 + worded) * LINE + GAP)
    width = 2 * MARGIN + columns * (CELL + GAP) - GAP
    figure = new_figure(path, width / UNIT, height / UNIT)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    scenes = itertools.count()
    for place in placed:
        if place.is_act:
            _draw_heading(axes, place, timeline)
        else:
            _draw_cell(axes, place, timeline, arrays[next(scenes)], cell)
    axes.set(xlim=(0, width), ylim=(height, 0))
    _text(axes, MARGIN, MARGIN, _title(timeline), size=11, weight="bold", va="center")
    save_figure(figure, path, min(DPI, int(MOST_ROWS * UNIT / height)))


def _opened(picture: bytes) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of an encoded picture."""
    from PIL import Image  # matplotlib needs it too

    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def _layout(timeline: Timeline, columns: int, row: float) -> tuple[list[_Placed], float]:
    """Every heading and cell, scenes in their order, and the height of all."""
    placed, y = [], float(TITLE)
    acts = {act.number: act for act in timeline.acts}
    for number, group in itertools.groupby(timeline.scenes, lambda scene: scene.act):
        if number in acts and timeline.acts != timeline.scenes:
            placed.append(_Placed(acts[number], True, MARGIN, y))
            y += HEADING
        own = list(group)
        for place, scene in enumerate(own):
            placed.append(
                _Placed(scene, False, MARGIN + place % columns * (CELL + GAP), y + place // columns * row),
            )
        y += -(-len(own) // columns) * row
    return placed, y + MARGIN - GAP


def _draw_heading(axes: Any, place: _Placed, timeline: Timeline) -> None:
    from matplotlib.patches import Rectangle

    colour = COLOURS[(place.part.number - 1) % len(COLOURS)]
    axes.add_artist(Rectangle((place.x, place.y + 5), 4, HEADING - 14, color=colour, linewidth=0))
    words = [place.part.name, *_span(timeline, place.part)]
    _text(axes, place.x + 12, place.y + HEADING / 2 - 2, "   ".join(words), size=9, weight="bold", va="center")


def _draw_cell(axes: Any, place: _Placed, timeline: Timeline, picture: NDArray[np.uint8] | None, height: float) -> None:
    from matplotlib.patches import Rectangle

    x, y, scene = place.x, place.y, place.part
    if picture is None:
        axes.add_artist(Rectangle((x, y), CELL, height, color=CARD, linewidth=0))
        lines = textwrap.wrap(visible(scene.caption), LETTERS - 2, max_lines=int(height / LINE) - 1, placeholder=" …")
        _text(axes, x + 8, y + 8, "\n".join(lines), size=7, color=QUIET, linespacing=1.35)
    else:
        wide = min(CELL, height * picture.shape[1] / len(picture))
        left = x + (CELL - wide) / 2
        axes.imshow(picture, extent=(left, left + wide, y + height, y), aspect="auto", interpolation="bicubic")
    text = y + height + 3
    _text(axes, x, text, str(scene.number), size=7.5, weight="bold")
    _text(
        axes,
        x + CELL,
        text,
        clock(float(scene.start)) if timeline.timed else _shots(scene),
        size=7,
        color=QUIET,
        ha="right",
    )
    _text(axes, x, text + LINE, shortened(_words(timeline, scene, pictured=picture is not None), LETTERS), size=7)


def _words(timeline: Timeline, scene: Part, *, pictured: bool) -> str:
    """What stands below a cell: a person's name for the scene, else its first words where they are not in the cell."""
    own = timeline.result.names.get("scenes", {}).get(scene.first_shot)
    return own or (scene.caption if pictured else "")


def _text(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    if text:
        lines = "\n".join(visible(line) for line in text.split("\n"))
        axes.text(x, y, lines, **{"color": INK, "va": "top", **style})


def _span(timeline: Timeline, part: Part) -> Iterator[str]:
    if timeline.timed:
        yield f"{clock(float(part.start))} – {clock(float(part.end))}"


def _shots(part: Part) -> str:
    first, last = part.first_shot, part.last_shot
    return f"shot {first}" if first == last else f"shots {first}–{last}"


def _title(timeline: Timeline) -> str:
    count = len(timeline.scenes)
    length = clock(float(timeline.duration)) if timeline.timed else f"{timeline.result.num_shots} shots"
    return f"{timeline.title}   {count} {'scene' if count == 1 else 'scenes'}, {length}"
