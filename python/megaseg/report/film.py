"""A picture of a film's scenes: a still of each scene with its times, above the curve that they were decided on."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.track import Segment
from megaseg.errors import FeatureError
from megaseg.report.plots import draw_track, new_figure, save_figure
from megaseg.report.text import clock, visible

MOST = 48  # scenes with a still of their own, else every second, third, ... scene
COLUMNS = 6


def shown_scenes(result: Segmentation) -> Sequence[Segment]:
    """The scenes that get a still."""
    return result.scenes[:: -(-len(result.scenes) // MOST)]


def picture_ticks(result: Segmentation) -> list[int]:
    """The middle of the middle shot of each scene that gets a still.

    Raises:
        FeatureError: a result without times.
    """
    if result.times is None:
        raise FeatureError("times: expected a film's result, got one without times")
    middles = [(scene.first_shot + scene.last_shot) // 2 for scene in shown_scenes(result)]
    return [int(result.times[shot].sum() // 2) for shot in middles]


def plot_film(
    result: Segmentation, pictures: Sequence[NDArray[np.uint8]], path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Write stills (height, width, 3), one at each of ``picture_ticks``, with numbers and times, and every track.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    rows, tracks = -(-len(pictures) // COLUMNS), list(result.tracks.values())
    height, width, _ = pictures[0].shape
    cell = 11 / COLUMNS * height / width + 0.3  # inches
    figure = new_figure(path, 11, rows * cell + 2.2 * len(tracks) + 0.5)
    upper, lower = figure.subfigures(2, 1, height_ratios=[rows * cell, 2.2 * len(tracks)])
    cells = upper.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in cells:
        axes.axis("off")
    number = {scene: place for place, scene in enumerate(result.scenes, 1)}
    for axes, scene, picture in zip(cells, shown_scenes(result), pictures, strict=False):
        axes.imshow(picture)
        axes.set_title(f"{number[scene]}  {_times(result, scene)}", fontsize=8, loc="left", pad=2)
    for axes, track in zip(lower.subplots(len(tracks), 1, squeeze=False).ravel(), tracks, strict=True):
        draw_track(axes, track)
        axes.set_xlabel("shot")
    figure.suptitle(visible(title), fontsize=11)
    save_figure(figure, path, 150)


def _times(result: Segmentation, scene: Segment) -> str:
    ticks = (scene.start_ticks, scene.end_ticks)
    return " – ".join(clock(result.seconds(tick)) for tick in ticks if tick is not None)
