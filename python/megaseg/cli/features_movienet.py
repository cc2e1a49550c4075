"""``megaseg features movienet``: shots and labels of MovieNet-SSeg and subtitles to feature files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import (
    ComputeTypeOption,
    JsonOption,
    ThreadsOption,
    console,
    named_flags,
    print_json,
    progress,
    require_folder,
)
from megaseg.cli.inputs import Failures
from megaseg.features.movienet.build import MODALITIES, Builder, Built, require_subtitles
from megaseg.features.movienet.films import SPLITS, read_films
from megaseg.features.text.encoder import Encoder
from megaseg.features.text.pretrained import MINILM, load_pretrained


def movienet(
    labels: Annotated[
        Path, typer.Argument(help="Shots, labels and split of the films: labels_shots.json or .json.gz.")
    ],
    subtitles: Annotated[Path, typer.Argument(help="Folder of subtitle files by IMDb id, such as tt0047396.srt.")],
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for one .npz a film.")],
    split: Annotated[str | None, typer.Option(help=f"Films of one of {', '.join(SPLITS)}; default: all.")] = None,
    modalities: Annotated[
        str, typer.Option(help="What a file has, with commas: without language for models of whole rows, such as MEGA.")
    ] = ",".join(MODALITIES),
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of a text encoder; default: all-MiniLM-L6-v2 of the extra text.")
    ] = None,
    compute_type: ComputeTypeOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """One .npz a film: dialogue, rhythm and speech of each shot, language of each line, labels if known.

    Subtitles are moved to where their lines begin at cuts. Films without subtitles have zeros and no lines. Runs again
    for free: files that are up to date stay as they are. A film that fails does not stop the others. Exit code 1 with
    failures, 2 where every film failed.
    """
    require_folder(folder)
    films = read_films(labels, split)
    require_subtitles(films, subtitles)
    own = Encoder.from_checkpoint(encoder or MINILM, compute_type=compute_type, num_threads=threads)
    identity = f"{own.describe()['compute_type']} {load_pretrained(encoder).file_sha256()}"
    with named_flags("modalities"):
        builder = Builder(folder, subtitles, own.encode, identity, [name.strip() for name in modalities.split(",")])
    failures, built = Failures(), list[Built]()
    with progress("films", len(films)) as bar:
        for film in films:
            with failures.of(film.name):
                built.append(builder.build(film))
            bar.advance(bar.task_ids[0])
    if built:
        _print(folder, built, json)
    failures.end(len(built))


def _print(folder: Path, built: list[Built], json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"name": film.name, "status": film.status, "shots": film.shots, "lines": film.lines} for film in built
    ]
    if json:
        print_json({"folder": str(folder), "films": rows})
        return
    silent = sum(film.lines is None for film in built)
    kept = sum(film.status == "kept" for film in built)
    shots = sum(film.shots for film in built)
    console.print(f"{folder}: {len(built)} films, {shots} shots; {kept} up to date, {silent} without subtitles")
