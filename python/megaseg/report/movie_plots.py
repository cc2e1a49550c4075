"""A picture of scenes and acts together: one row each, over the same shots."""

from __future__ import annotations

import os

from megaseg.engine.results.movie import MovieSegmentation
from megaseg.report.plots import draw_segmentation, new_figure


def plot_movie(result: MovieSegmentation, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Write a .png, .svg or .pdf: P(boundary) with the scenes above, the turning points with the acts below.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    figure = new_figure(path, 11, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    draw_segmentation(upper, result.scene)
    draw_segmentation(lower, result.act)
    upper.set_xlabel("")
    upper.set_title(title)
    figure.savefig(path, dpi=150)
