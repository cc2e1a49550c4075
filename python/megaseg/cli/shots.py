"""``megaseg shots``: films to their shots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from megaseg.cli.console import JsonOption, ThreadsOption, output, print_json, progress
from megaseg.cli.film import DetectorOption, Stages, films_of, one_file_each
from megaseg.cli.inputs import Failures
from megaseg.features import VideoExtractor
from megaseg.features.video.extractor import VideoReading
from megaseg.media.shots.lists import SUFFIXES, write_shots
from megaseg.report.text import clock


def shots(
    inputs: Annotated[list[str], typer.Argument(help="Films, or folders of them.")],
    detector: DetectorOption = "adaptive",
    output_path: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A .csv (PySceneDetect's columns), .scenes.txt or .json file, or a folder of .csv."
        ),
    ] = None,
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Find the shots of films: a table, or with --json one line a film.

    A list that is written may be mended by hand and given back to the other commands as --shots. A film that fails does
    not stop the others. Exit code 0 when every film has its shots, 1 when some have, 2 when none has.
    """
    failures = Failures()
    films = films_of(inputs, failures)
    if not films:
        failures.end(0)
    names = [film.name for film in films]
    files: Sequence[Path | None] = [None] * len(films)
    if output_path is not None:
        files = one_file_each(names, output_path, *SUFFIXES, failed=len(failures))
    done = 0
    with progress("films", len(films)) as bar:
        stages = Stages(bar)
        own = VideoExtractor(detector=detector, features=(), advance=stages.advance, num_threads=threads)
        for film, file in zip(films, files, strict=True):
            with failures.of(film.path), stages.of(film.name):
                _deliver(own.read(film), file, json)
                done += 1
            bar.advance(bar.task_ids[0])
    failures.end(done)


def _deliver(reading: VideoReading, file: Path | None, json: bool) -> None:
    """Write a film's shots where they are wanted, and print them."""
    recording, found = reading.recording, reading.shots.frames
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_shots(file, found, recording.frame_ticks, recording.info)
    ticks, base = reading.shots.ticks, recording.info.time_base
    if json:
        base_pair = list(base.as_integer_ratio())
        print_json(
            {"name": reading.video.name, "time_base": base_pair, "frames": found.tolist(), "times": ticks.tolist()}
        )
        return
    table = Table(title=f"{reading.video.name}: {len(found)} shots", box=box.SIMPLE_HEAD)
    for column in ("shot", "first frame", "last frame", "start", "end"):
        table.add_column(column, justify="right")
    for number, (frames, times) in enumerate(zip(found, ticks, strict=True)):
        clocks = (clock(float(int(tick) * base)) for tick in times)
        table.add_row(str(number), *map(str, frames.tolist()), *clocks)
    output.print(table)
