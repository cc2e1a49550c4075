"""What commands write of a movie to look at: curves, a report and a contact sheet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.delivery import Movie
from megaseg.engine.inputs.features import Features
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.export.ads.rules import AdRules
from megaseg.export.timeline import Timeline
from megaseg.media.stills import stills
from megaseg.media.video import Video
from megaseg.pipelines import Explained, Pipeline
from megaseg.pipelines.sources import Source

STILL_HEIGHT = 180  # rows of a scene's picture

PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Picture of scores and boundaries (.png, .svg); extra plot.")
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="One movie: an HTML page of its scenes, to look at and to edit.")
]
SheetOption = Annotated[
    Path | None, typer.Option("--contact-sheet", help="One movie: picture of every scene (.png, .svg); extra plot.")
]


@dataclass(frozen=True, slots=True)
class Views:
    """Files to look at; each is of one movie."""

    plot: Path | None = None
    report: Path | None = None
    contact_sheet: Path | None = None

    def checked(self, movies: int) -> Views:
        """These views, after a check before any work that these files can be.

        Raises:
            FeatureError: several movies, a file of another kind, a folder, or one file for two views.
            UnsupportedError: a picture without the extra ``plot``.
        """
        given = {"--plot": self.plot, "--report": self.report, "--contact-sheet": self.contact_sheet}
        wanted = {flag: path for flag, path in given.items() if path is not None}
        for flag, path in wanted.items():
            if movies > 1:
                raise FeatureError(f"{flag}: expected one movie, got {movies}")
            if path.is_dir():
                raise FeatureError(f"{flag}: expected a file, got the folder {path}")
            _require_kind(flag, path)
        if len({os.path.realpath(path) for path in wanted.values()}) < len(wanted):
            raise FeatureError(f"{', '.join(wanted)}: expected different files, got one for two")
        return self

    def segment(self, pipeline: Pipeline, opened: Features | Source, **options: Any) -> Explained:
        """``Pipeline.segment``, with all that these views show besides the result."""
        if self.report is None and self.contact_sheet is None:
            return Explained(pipeline.segment(opened, **options))
        return pipeline.explained(opened, **options)

    def write(self, found: Explained, movie: Movie, ads: AdRules | None = None) -> None:
        """Write each view that is wanted, whole or not at all."""
        for path in (self.plot, self.report, self.contact_sheet):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
        if self.plot is not None:
            _plot(found.result, movie, self.plot)
        if self.report is not None:
            write_page(found, self.report, movie.name, ads)
        if self.contact_sheet is not None:
            _sheet(found, movie, self.contact_sheet)


def _require_kind(flag: str, path: Path) -> None:
    from megaseg.report.plots import require_picture

    if flag == "--report":
        require_page(flag, path)
    else:
        require_picture(path)


def require_page(flag: str, path: Path) -> None:
    """Check before any work that a report can be written.

    Raises:
        FeatureError: a file of another kind, or a folder.
    """
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise FeatureError(f"{flag}: expected a file ending in .html, got {path}")


def write_page(found: Explained, path: Path, title: str, ads: AdRules | None = None) -> None:
    """Write the report of a movie."""
    from megaseg.report.html import write_report

    result = found.result
    pictures = None if found.thumbnails is None or result.times is None else found.thumbnails.of_shots(result.times)
    write_report(path, result, title=title, thumbnails=pictures, importance=found.explanation, ads=ads)


def _sheet(found: Explained, movie: Movie, path: Path) -> None:
    from megaseg.report.contact_sheet import picture_shots, plot_contact_sheet

    timeline, times = Timeline.of(found.result, title=movie.name), found.result.times
    pictures = [b""] * len(timeline.scenes)
    if found.thumbnails is not None and times is not None:
        pictures = found.thumbnails.of_shots(times[picture_shots(timeline)])
    plot_contact_sheet(timeline, pictures, path)


def _plot(result: Segmentation, movie: Movie, path: Path) -> None:
    """Curves and segments; of a film with scenes, a picture of each scene."""
    from megaseg.report.film import picture_ticks, plot_film
    from megaseg.report.plots import plot_segmentation

    if isinstance(movie.source, Video) and result.scenes:
        plot_film(result, stills(movie.source.path, picture_ticks(result), STILL_HEIGHT), path, title=movie.name)
    else:
        plot_segmentation(result, path, title=movie.name)
