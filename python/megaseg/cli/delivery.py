"""Where results go: files, pictures, JSON lines and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rich import box
from rich.table import Table

from megaseg.cli.console import output, print_json, require_folder, require_writable
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.track import Track
from megaseg.errors import FeatureError
from megaseg.export import Format, Timeline, format_of
from megaseg.export import formats as all_formats
from megaseg.export.ads.rules import AdRules
from megaseg.features import Screenplay
from megaseg.media.video import Video
from megaseg.pipelines.sources import Source
from megaseg.report.text import clock


def to_stdout(output_path: Path | None) -> bool:
    """Whether results go to stdout in place of a file: the output is ``-``."""
    return output_path == Path("-")


def read_result(path: Path) -> Segmentation:
    """The result in a JSON file.

    Raises:
        FeatureError: another file; names it.
    """
    try:
        return Segmentation.from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise FeatureError(f"{path}: expected the JSON of a result, got binary data") from error
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class File:
    """A file to write, and the format that it will have."""

    path: Path
    format: Format


def formats_of(names: str | None) -> tuple[Format, ...]:
    """Formats by name, several with commas between them, each once.

    Raises:
        FeatureError: an unknown one.
    """
    return tuple(dict.fromkeys(format_of(name.strip()) for name in names.split(","))) if names else ()


def targets(
    names: list[str],
    output_path: Path | None,
    *,
    formats: Sequence[Format] = (),
    failed: int = 0,
) -> list[tuple[File, ...]]:
    """The files of each movie: the given one, or those in the given folder; settled before any work.

    ``formats`` are JSON where none is given. ``failed`` are further movies, which will have no file.

    Raises:
        FeatureError: one file for several movies or formats, two movies of one name, or a file that is no folder.
    """
    count, wanted = len(names) + failed, formats or (format_of("json"),)
    if output_path is None or to_stdout(output_path):
        if formats:
            raise FeatureError(f"--output: expected a folder with --format, got {output_path or 'none'}")
        return [()] * len(names)
    if (only := _format_of_file(output_path, formats)) is not None:
        if count > 1:
            raise FeatureError(f"{output_path}: expected a folder for {count} movies, got a {only.suffix} file")
        require_writable(output_path)
        return [(File(output_path, only),)]
    if output_path.exists() and not output_path.is_dir():
        raise FeatureError(f"{output_path}: expected a {wanted[0].suffix} file or a folder, got another file")
    require_folder(output_path)
    return in_folder(names, output_path, wanted)


def require_not_read(files: Iterable[Sequence[File]], *read: Path | None) -> None:
    """Check that no file to write is one that is read, such as a list of shots in the same folder.

    Raises:
        FeatureError: one that is.
    """
    own = {path.resolve() for path in read if path is not None}
    for file in chain.from_iterable(files):
        if file.path.resolve() in own:
            raise FeatureError(f"{file.path}: expected another file than the one that is read, which is left as it is")


def in_folder(names: list[str], folder: Path, formats: Sequence[Format]) -> list[tuple[File, ...]]:
    """Files of movies in a folder, each named after its movie.

    Raises:
        FeatureError: two movies of one name.
    """
    stems = [re.sub(r"[/\0]", "_", name) for name in names]
    counts = Counter(stems)
    twice = sorted({name for name, stem in zip(names, stems, strict=True) if counts[stem] > 1})
    if twice:
        raise FeatureError(f"{folder}: expected movies of different names, got two of {', '.join(twice)}")
    return [tuple(File(folder / f"{stem}{one.suffix}", one) for one in formats) for stem in stems]


def _format_of_file(path: Path, formats: Sequence[Format]) -> Format | None:
    """The only format of a file with its suffix; None for a folder and for any other file."""
    if path.is_dir() or len(formats) > 1:
        return None
    if formats:  # captions.vtt as well as film.chapters.vtt
        return formats[0] if path.suffix.lower() == Path(formats[0].suffix).suffix else None
    fitting = [one for one in all_formats() if path.name.lower().endswith(one.suffix)]
    return max(fitting, key=lambda one: len(one.suffix), default=None)


@dataclass(frozen=True, slots=True)
class Movie:
    """A movie as tables show it: its name, its source where that is known, and what a row of its features is called."""

    name: str
    source: Source | None = None
    row: str = "shot"


def save(result: Segmentation, movie: Movie, files: Sequence[File], ads: AdRules | None = None) -> None:
    """Write a movie's files.

    Raises:
        FeatureError: what formats cannot say.
    """
    if files:
        media = str(movie.source.path.absolute()) if isinstance(movie.source, Video) else None
        try:
            write_files(Timeline.of(result, title=movie.name, media=media, ads=ads), files)
        except FeatureError as error:
            hint = "; megaseg export takes --frame-rate" if "frame_rate" in str(error) else ""
            raise FeatureError(f"{error}{hint}") from error


def show(result: Segmentation, movie: Movie, json: bool) -> None:
    """Print a line of JSON or tables."""
    if json:
        print_json(result.to_dict())
        return
    for track in result.tracks.values():
        output.print(_table(result, track, movie))


def write_files(timeline: Timeline, files: Sequence[File]) -> None:
    """Write a movie's files, each whole or not at all; what one format cannot say does not stop the others.

    Raises:
        FeatureError: what formats cannot say, in one message that names them.
    """
    refused: dict[str, list[str]] = {}  # formats by the reason
    rendered: dict[Path, bytes] = {}
    for file in files:
        try:
            rendered[file.path] = file.format.render(timeline)
        except FeatureError as error:
            refused.setdefault(str(error), []).append(file.format.name)
    for folder in {path.parent for path in rendered}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as writers:  # disks keep several files safe in about the time of one
        list(writers.map(_write, rendered, rendered.values()))
    if refused:
        raise FeatureError("; ".join(f"{', '.join(names)}: {reason}" for reason, names in refused.items()))


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


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
