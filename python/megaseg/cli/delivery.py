"""Where results go: files, pictures, JSON lines and tables."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from megaseg.cli.console import output, print_json
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.track import Track
from megaseg.errors import FeatureError
from megaseg.features import Screenplay
from megaseg.media.stills import stills
from megaseg.media.video import Video
from megaseg.pipelines.sources import Source
from megaseg.report.text import clock

STILL_HEIGHT = 180  # rows of a scene's picture


def to_stdout(output_path: Path | None) -> bool:
    """Whether results go to stdout in place of a file: the output is ``-``."""
    return output_path == Path("-")


def targets(
    names: list[str], output_path: Path | None, plot: Path | None = None, *, failed: int = 0
) -> list[Path | None]:
    """The JSON file of each movie: the given one, or one a movie in the given folder; settled before any work.

    ``failed`` are further movies, which will have none.

    Raises:
        FeatureError: one file or picture for several movies, two movies of one name, a file that is no folder, or a
            picture of another kind.
        UnsupportedError: a picture without the extra ``plot``.
    """
    count = len(names) + failed
    if plot is not None:
        _require_one_picture(plot, count)
    if output_path is None or to_stdout(output_path):
        return [None] * len(names)
    if output_path.suffix.lower() == ".json" and not output_path.is_dir():
        if count > 1:
            raise FeatureError(f"{output_path}: expected a folder for {count} movies, got a .json file")
        return [output_path]
    if output_path.exists() and not output_path.is_dir():
        raise FeatureError(f"{output_path}: expected a .json file or a folder, got another file")
    files = [re.sub(r"[/\0]", "_", name) + ".json" for name in names]
    counts = Counter(files)
    twice = sorted({name for name, file in zip(names, files, strict=True) if counts[file] > 1})
    if twice:
        raise FeatureError(f"{output_path}: expected movies of different names, got two of {', '.join(twice)}")
    return [output_path / file for file in files]


def _require_one_picture(plot: Path, movies: int) -> None:
    from megaseg.report.plots import require_picture

    if movies > 1:
        raise FeatureError(f"--plot: expected one movie, got {movies}")
    require_picture(plot)


@dataclass(frozen=True, slots=True)
class Movie:
    """A movie as tables show it: its name, its source where that is known, and what a row of its features is called."""

    name: str
    source: Source | None = None
    row: str = "shot"


def deliver(result: Segmentation, movie: Movie, target: Path | None, plot: Path | None, json: bool) -> None:
    """Write a movie's result and picture where they are wanted, and print a line of JSON or tables."""
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            temporary.write_text(result.to_json(indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        _plot(result, movie, plot)
    if json:
        print_json(result.to_dict())
        return
    for track in result.tracks.values():
        output.print(_table(result, track, movie))


def _plot(result: Segmentation, movie: Movie, path: Path) -> None:
    """Curves and segments; of a film with scenes, a picture of each scene."""
    from megaseg.report.film import picture_ticks, plot_film
    from megaseg.report.plots import plot_segmentation

    if isinstance(movie.source, Video) and result.scenes:
        plot_film(result, stills(movie.source.path, picture_ticks(result), STILL_HEIGHT), path, title=movie.name)
    else:
        plot_segmentation(result, path, title=movie.name)


def _table(result: Segmentation, track: Track, movie: Movie) -> Table:
    """A row a segment, with its text where there is some, else its score as a bar; then a row a point."""
    rows = f"{movie.row}s"
    title = f"{movie.name}: {len(track.segments)} {track.name} in {result.num_shots} {rows}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column(track.task, no_wrap=True)
    for column in ["first", "last", rows] + ["start", "end"] * (result.times is not None) + ["score"]:
        table.add_column(column, justify="right", no_wrap=True)
    play = movie.source if isinstance(movie.source, Screenplay) else None
    if play:
        table.add_column("begins", no_wrap=True)
    elif not track.points:
        table.add_column("", style="cyan", no_wrap=True)
    letters, bar = (20, 6) if track.points else (32, 12)
    for number, part in enumerate(track.segments, start=1):
        shots = (part.first_shot, part.last_shot, part.last_shot - part.first_shot + 1)
        clocks = _clocks(result, part.start_ticks, part.end_ticks)
        last = play.blocks[part.first_shot].text[:letters] if play else "━" * round(bar * part.score)
        table.add_row(str(number), *map(str, shots), *clocks, f"{part.score:.3f}", last)
    for point in track.points:
        start = None if result.times is None else int(result.times[point.shot, 0])
        begins = [*_clocks(result, start), ""] if result.times is not None else []
        table.add_row(point.name, str(point.shot), "", "", *begins, f"{point.score:.3f}", style="bold")
    return table


def _clocks(result: Segmentation, *ticks: int | None) -> list[str]:
    return [clock(result.seconds(tick)) for tick in ticks if tick is not None]
