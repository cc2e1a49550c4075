"""A picture of a result: scores over shots (or seconds), the threshold, and the segments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from megaseg.engine.segmentation import Segmentation
from megaseg.errors import FeatureError, UnsupportedError


def plot_segmentation(result: Segmentation, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Write a .png, .svg or .pdf of the scores, with scenes (or acts) as bands and the threshold as a line.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError("plot needs matplotlib: pip install 'megaseg[plot]'") from error
    if Path(path).suffix not in {".png", ".svg", ".pdf"}:
        raise FeatureError(f"{path}: expected a picture ending in .png, .svg or .pdf")
    figure = Figure(figsize=(11, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_segmentation(axes, result)
    axes.set_title(title)
    figure.savefig(path, dpi=150)


def draw_segmentation(axes: Any, result: Segmentation) -> None:
    """Draw the scores, the threshold, and scenes or acts as bands on matplotlib axes."""
    shots = np.arange(result.num_shots)
    segments = result.scenes or result.acts
    for number, segment in enumerate(segments):
        colour = "#dbe9f6" if number % 2 else "#f6efe0"
        axes.axvspan(segment.first_shot - 0.5, segment.last_shot + 0.5, color=colour, linewidth=0)
    if result.task == "scene":
        axes.vlines(shots, 0, result.scores, color="#5a6b7b", linewidth=0.8)
        found = result.boundaries
        axes.vlines(found, 0, result.scores[found], color="#c0392b", linewidth=1.2, label="boundary")
        axes.axhline(result.decision.threshold, color="#333333", linewidth=0.8, linestyle="--", label="threshold")
        axes.set_ylabel("P(boundary)")
        axes.set_ylim(0, 1)
    else:
        for k, point in enumerate(result.turning_points):
            axes.plot(shots, result.scores[:, k], linewidth=1, label=point.name)
            axes.axvline(point.shot, color="#333333", linewidth=0.6)
        axes.set_ylabel("P(turning point)")
    axes.set_xlim(-0.5, result.num_shots - 0.5)
    axes.set_xlabel("shot")
    axes.legend(loc="upper right", fontsize="small", framealpha=0.9)
