"""``megaseg mux``: chapters written into a copy of a film."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import CheckpointsOption, ThreadsOption, output, print_warnings, progress
from megaseg.cli.delivery import read_result
from megaseg.cli.film import Stages
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.export import Timeline
from megaseg.features import VideoExtractor
from megaseg.media.mux import FORMATS, Chapter, format_of, write_chapters
from megaseg.media.video import Video
from megaseg.pipelines import Pipelines


def mux(
    film: Annotated[Path, typer.Argument(help="A film.", exists=True, dir_okay=False)],
    result: Annotated[
        Path | None,
        typer.Option(
            help="Its result, which megaseg segment wrote; default: the film is segmented.", exists=True, dir_okay=False
        ),
    ] = None,
    chapters: Annotated[
        bool, typer.Option("--chapters/--act-chapters", help="Scenes or acts as the chapters of the copy.")
    ] = True,
    output_path: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The copy (.mkv, .mp4, .mov, .webm) or its folder; default: film.chapters.mp4 here."
        ),
    ] = None,
    offset: Annotated[str, typer.Option(help="Seconds to add to all times, such as 1.5 or -10.")] = "0",
    checkpoint: CheckpointsOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Write chapters into a copy of a film, for players and for Jellyfin, Plex and Emby; nothing is encoded again.

    Every stream stays as it is, and so do subtitles, attachments and texts. The film itself is not changed, and the
    copy is there when it is whole. A format that cannot hold a stream of the film is refused.
    """
    target = _target(film, output_path)
    format_of(film, target)  # refused before any work
    found = _segmented(film, checkpoint, threads) if result is None else read_result(result)
    timeline = Timeline.of(found, offset=offset, media=str(film))
    parts = timeline.scenes if chapters else timeline.acts
    if not timeline.timed or not parts:
        what = "times" if parts else "acts"
        raise FeatureError(f"{result or film}: expected a result with {what} for chapters, got none")
    own = [Chapter(part.start, part.end, part.name) for part in parts]
    target.parent.mkdir(parents=True, exist_ok=True)
    left = write_chapters(film, target, own)
    print_warnings(f"{target}: without {stream}, which the format has no place for" for stream in left)
    output.print(f"{target}: {len(own)} chapter{'s' * (len(own) > 1)}", soft_wrap=True)


def _target(film: Path, output_path: Path | None) -> Path:
    """The copy's file: the given one, or one named after the film, of its format where that has chapters."""
    if output_path is not None and not output_path.is_dir():
        return output_path
    suffix = film.suffix if film.suffix.lower() in FORMATS else ".mkv"
    return (output_path or Path()) / f"{film.stem}.chapters{suffix}"


def _segmented(film: Path, checkpoint: list[str] | None, threads: int) -> Segmentation:
    with progress("segmenting", 1) as bar:
        stages = Stages(bar)
        films = VideoExtractor(advance=stages.advance, num_threads=threads)
        pipelines = Pipelines(checkpoint, extractors=[films], num_threads=threads)
        with stages.of(film.stem):
            pipeline, opened = pipelines.opened(Video(film.stem, film))
            result = pipeline.segment(opened)
    print_warnings(result.remarks)
    return result
