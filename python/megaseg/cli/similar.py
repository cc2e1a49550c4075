"""``megaseg similar``: scenes of an index that are most like a scene of a film."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from megaseg.cli.console import (
    BackendOption,
    ComputeTypeOption,
    DeviceOption,
    JsonOption,
    ThreadsOption,
    named_flags,
    output,
    print_json,
    print_warnings,
    progress,
)
from megaseg.cli.film import DetectorOption, Stages
from megaseg.cli.views import require_page
from megaseg.errors import CheckpointError, FeatureError, SearchIndexError
from megaseg.features import VideoExtractor
from megaseg.pipelines import find_source
from megaseg.pipelines.embedding import encoder_sha256
from megaseg.report.plots import require_picture
from megaseg.report.text import clock
from megaseg.search.describing import Describer, Movie
from megaseg.search.explaining import Explainer, Found
from megaseg.search.index import SceneIndex
from megaseg.search.query import Part, Query, of_movie, of_title


def similar(
    film: Annotated[
        str, typer.Argument(help="A title of the index, or a film, a screenplay or a feature file, in it or not.")
    ],
    index: Annotated[Path, typer.Option("--index", help="Folder that megaseg index wrote.")],
    scene: Annotated[int | None, typer.Option(help="The scene to search with: its number, from 1.")] = None,
    shots: Annotated[str | None, typer.Option(help="Or shots: the first and the last, such as 100:120.")] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Or what is shown: at a time the scene (1:02:03), between two the shots (12:00-13:10)."),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-k", help="How many scenes to find.", min=1)] = 10,
    same_film: Annotated[bool, typer.Option("--same-film", help="Also scenes of the film itself.")] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", help="The encoder of the index.", show_default="where it was when indexed"),
    ] = None,
    scenes: Annotated[
        str | None, typer.Option(help="Of a film that is not in the index: where its scenes end, as of megaseg index.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="With the block of shots that match best; titles are read again.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="HTML page of the results, with pictures and the shots that match."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Picture of the shots that match (.png, .svg); extra plot.")
    ] = None,
    detector: DetectorOption = "adaptive",
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Find the scenes of an index that are most like one: of a title of the index, or of any other film.

    A title's stored vectors are used, also where FILM is its file; another film goes through the encoder first. A
    distance is 0 between equal scenes and at most 2. Scenes of the film itself are left out.
    """
    with named_flags("scene", "shots", "time", part="--scene, --shots, --time"):
        part = Part.parse(scene, shots, time)
    for flag, path in (("--report", report), ("--plot", plot)):
        if path is not None:
            require_page(flag, path) if flag == "--report" else require_picture(path)
            _require_place(flag, path)
    opened = SceneIndex.open(index)
    model = {"device": device, "compute_type": compute_type, "backend": backend, "num_threads": threads}
    with progress("reading", None) as bar:
        stages = Stages(bar)
        films = VideoExtractor(detector=detector, advance=stages.advance, num_threads=threads)
        reader = _Reader(opened, checkpoint, {"scenes": scenes, "extractors": [films], **model})
        with named_flags("scene", "shots", "time", "scenes", title="FILM"), stages.of(film):
            query, movie, own = _query(opened, reader, film, part)
            hits = opened.nearest(query.vector, count, without=None if same_film else own)
        found = [Found(hit) for hit in hits]
        if explain or report is not None or plot is not None:
            explainer = Explainer(opened, reader.describer)
            with stages.of(film):
                movie = explainer.title(own) if movie is None and own is not None else movie
                found = explainer.found(query, movie, hits)
            print_warnings(dict.fromkeys(explainer.remarks))
    _write(query, found, report, plot)
    if json:
        print_json({"query": query.to_dict(), "results": [one.to_dict() for one in found]})
    else:
        _print(query, found)
        if not found:
            print_warnings([_nothing(own, same_film)])


class _Reader:
    """The encoder of an index, loaded when something has to be read."""

    def __init__(self, index: SceneIndex, checkpoint: str | None, options: dict[str, Any]) -> None:
        self._index, self._checkpoint, self._options = index, checkpoint, options
        self._made: Describer | None = None
        if checkpoint is not None:
            self._require()

    @property
    def describer(self) -> Describer:
        """From a source to scenes and their vectors."""
        if self._made is None:
            self._require()
            path = self._checkpoint or self._index.manifest.checkpoint
            with named_flags("device", "compute_type", "backend", "scenes"):
                self._made = Describer.from_checkpoint(path, **self._options)
        return self._made

    def _require(self) -> None:
        """Check that the encoder is that of the index.

        Raises:
            SearchIndexError: another one.
        """
        wanted = self._index.manifest
        given = self._checkpoint or wanted.checkpoint
        try:
            digest = encoder_sha256(given)
        except CheckpointError as error:
            where = (
                "--checkpoint" if self._checkpoint else "the encoder of the index, whose new place --checkpoint tells"
            )
            raise type(error)(f"{where}: {error}") from error
        if digest != wanted.encoder:
            expected = f"{wanted.checkpoint} ({wanted.encoder[:12]})"
            raise SearchIndexError(
                f"{self._index.folder}: expected the encoder of the index, {expected}, got {given} ({digest[:12]})"
            )


def _query(index: SceneIndex, reader: _Reader, film: str, part: Part) -> tuple[Query, Movie | None, str | None]:
    """What is searched with, the movie where it was read, and the title that it is, if it is one."""
    titles = index.manifest.titles
    path = os.path.abspath(film)
    title = film if film in titles else next((name for name, own in titles.items() if own.source == path), None)
    if title is not None:
        return of_title(index, title, part), None, title
    if not os.path.exists(film) and os.path.basename(film) == film and "." not in film:
        index.title(film)  # which says what there is
    source = find_source(film)
    described = reader.describer.describe(source, source.name)
    print_warnings(f"{source.name}: {remark}" for remark in described.movie.remarks)
    own = source.name if source.name in titles else None
    return of_movie(reader.describer, source.name, described, part), described.movie, own


def _require_place(flag: str, path: Path) -> None:
    """Make the folder of an output, before films are read.

    Raises:
        FeatureError: it cannot be made or written to, or the output is a folder.
    """
    problem = "a folder" if path.is_dir() else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror
    if problem is None and not os.access(path.parent, os.W_OK):
        problem = "a folder that is read-only"
    if problem is not None:
        raise FeatureError(f"{flag}: expected a file that can be written, got {path}: {problem}")


def _write(query: Query, found: Sequence[Found], report: Path | None, plot: Path | None) -> None:
    from megaseg.report.matches import plot_matches, write_matches

    if report is not None:
        write_matches(report, query, found)
    if plot is not None:
        matched = [one for one in found if one.match is not None]
        if not matched:
            raise FeatureError("--plot: expected results whose shots can be compared, got none")
        plot_matches(query, matched, plot)


def _nothing(own: str | None, same_film: bool) -> str:
    """Why a search found nothing."""
    if own is None or same_film:
        return "the index has no scene that is like anything"
    return f"the index has no scenes of other films than {own}; --same-film lets in its own"


def _print(query: Query, found: Sequence[Found]) -> None:
    table = Table(title=f"like {told(query)}")
    table.add_column("title", overflow="fold")
    for column in ("scene", "first", "last", "start", "end", "distance", "match"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        hit, times = one.hit, ("-", "-")
        if hit.seconds is not None:
            times = (clock(hit.seconds[0]), clock(hit.seconds[1]))
        match = "-" if one.match is None else f"{one.match.mean:.3f}"
        shots = (str(hit.scene), str(hit.first_shot), str(hit.last_shot))
        table.add_row(hit.title, *shots, *times, f"{hit.distance:.4f}", match)
    output.print(table)


def told(query: Query) -> str:
    """A query in words."""
    if query.scene is not None:
        return f"scene {query.scene} of {query.name}"
    shots = f"shots {query.first_shot} to {query.last_shot} of {query.name}"
    if not query.scenes:
        return shots
    first, last = query.scenes[0], query.scenes[-1]
    return f"{'scene' if first == last else 'scenes'} {first}{'' if first == last else f' to {last}'} of {query.name}"
