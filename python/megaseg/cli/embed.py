"""``megaseg embed``: films, screenplays and features to embeddings of their shots, as feature files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

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
from megaseg.cli.film import (
    DetectorOption,
    ShotsOption,
    SpeechOption,
    Stages,
    SubtitlesOption,
    one_file_each,
    require_one_film,
)
from megaseg.cli.inputs import Failures, path_of, sources
from megaseg.cli.stdin import FromOption, NameOption, require_kind
from megaseg.engine.backends.protocol import EMBEDDING
from megaseg.engine.inputs.feature_files import save_features
from megaseg.errors import FeatureError
from megaseg.features import VideoExtractor
from megaseg.media.video import Video
from megaseg.pipelines.embedding import Embedded, Embedder
from megaseg.pipelines.sources import FeatureFile, Source


def embed(
    inputs: Annotated[
        list[str], typer.Argument(help="Feature files, films, screenplays, folders of them, or - (stdin).")
    ],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", "-c", help="Checkpoint of an encoder, or the folder of its pretraining.")
    ],
    output_path: Annotated[Path, typer.Option("--output", "-o", help="A .npz file for one movie, or a folder.")],
    keep: Annotated[
        str | None, typer.Option("--keep", help="Modalities of the input to copy along, several with commas.")
    ] = None,
    kind: FromOption = None,
    name: NameOption = "stdin",
    detector: DetectorOption = "adaptive",
    shots: ShotsOption = None,
    subtitles: SubtitlesOption = None,
    speech: SpeechOption = None,
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """One .npz a movie: the embedding of every shot by an encoder, with the input's times and labels.

    Models are trained on the files as on any others (megaseg train scene). They bear the encoder's name, so that a
    model refuses the embeddings of another one. Modalities that a movie does not have are read as zeros, which stderr
    says. A movie that fails does not stop the others. Exit code 1 with failures, 2 where every movie failed.
    """
    require_kind(kind, inputs)
    failures = Failures()
    movies = sources(inputs, failures, kind, name)
    if not movies:
        failures.end(0)
    require_one_film(sum(isinstance(movie, Video) for movie in movies), shots, subtitles)
    files = _files(movies, output_path, len(failures))
    kept = [] if keep is None else [part.strip() for part in keep.split(",")]
    rows: list[dict[str, Any]] = []
    with progress("embedding", len(movies)) as bar:
        stages = Stages(bar)
        reads: dict[str, Any] = {"detector": detector, "advance": stages.advance, "num_threads": threads}
        films = VideoExtractor(shots=shots, subtitles=subtitles, speech=speech, **reads)
        with named_flags("device", "compute_type", "backend", embed="--checkpoint"):
            model = {"device": device, "compute_type": compute_type, "backend": backend, "num_threads": threads}
            embedder = Embedder(checkpoint, extractors=[films], **model)
        for movie, file in zip(movies, files, strict=True):
            with failures.of(path_of(movie)), named_flags("keep"), stages.of(movie.name):
                made = embedder.embed(movie, keep=kept)
                print_warnings((*made.remarks, *_told(movie.name, made)))
                file.parent.mkdir(parents=True, exist_ok=True)
                save_features(file, made.features)
                rows.append(_row(movie.name, file, made))
            bar.advance(bar.task_ids[0])
    if rows and json:
        print_json({"recipe": embedder.recipe, "movies": rows})
    elif rows:
        _print(rows)
    failures.end(len(rows))


def _files(movies: Sequence[Source], output_path: Path, failed: int) -> list[Path]:
    """The file of each movie.

    Raises:
        FeatureError: as ``one_file_each``, or a file that is one of the inputs.
    """
    names = [re.sub(r"[/\0]", "_", movie.name) for movie in movies]
    files = one_file_each(names, output_path, ".npz", failed=failed)
    read = {movie.path.resolve() for movie in movies if isinstance(movie, FeatureFile)}
    for file in files:
        if file.resolve() in read:
            raise FeatureError(f"{file}: expected another file than the features that are read, which stay as they are")
    return files


def _told(name: str, made: Embedded) -> list[str]:
    """What a user should hear of the modalities of a movie."""
    told = []
    if made.absent:
        told.append(f"{name}: {', '.join(made.absent)}: not there, read as zeros")
    if made.unread:
        told.append(f"{name}: {', '.join(made.unread)}: not read by the encoder")
    return told


def _row(name: str, file: Path, made: Embedded) -> dict[str, Any]:
    shots, width = made.features.modalities[EMBEDDING].shape
    return {"name": name, "file": str(file), "shots": shots, "width": width, "absent": list(made.absent)}


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(
        Column("movie", overflow="fold"), "shots", "embedding", "read as zeros", Column("file", overflow="fold")
    )
    for row in rows:
        absent = ", ".join(row["absent"]) or "-"
        table.add_row(row["name"], str(row["shots"]), str(row["width"]), absent, row["file"])
    output.print(table)
