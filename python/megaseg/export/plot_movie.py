"""A picture of scenes and acts together: one row each, over the same shots."""

from __future__ import annotations

import os
from pathlib import Path

from megaseg.engine.movie import MovieSegmentation
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.export.plot import draw_segmentation


def plot_movie(result: MovieSegmentation, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Write a .png, .svg or .pdf: P(boundary) with the scenes above, the turning points with the acts below.

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
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    draw_segmentation(upper, result.scene)
    draw_segmentation(lower, result.act)
    upper.set_xlabel("")
    upper.set_title(title)
    figure.savefig(path, dpi=150)
