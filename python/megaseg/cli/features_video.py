"""``megaseg features video``: films to raw features of their shots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from megaseg.cli.console import (
    ComputeTypeOption,
    JsonOption,
    ThreadsOption,
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
    films_of,
    one_file_each,
    require_one_film,
)
from megaseg.cli.inputs import Failures
from megaseg.engine.inputs.feature_files import save_features
from megaseg.features import VideoExtractor
from megaseg.features.audio.speech import write_srt
from megaseg.features.video.registry import EXTRACTORS

ExtractorsOption = Annotated[
    list[str] | None,
    typer.Option("--extractor", "-x", help=f"Repeat for several of {', '.join(EXTRACTORS)}; default: all but clip."),
]


def video(
    inputs: Annotated[list[str], typer.Argument(help="Films, or folders of them.")],
    output_path: Annotated[Path, typer.Option("--output", "-o", help="A .npz file for one film, or a folder.")],
    extractor: ExtractorsOption = None,
    detector: DetectorOption = "adaptive",
    shots: ShotsOption = None,
    subtitles: SubtitlesOption = None,
    speech: SpeechOption = None,
    clip: Annotated[
        Path | None, typer.Option(help="Folder of a CLIP model, in place of efficientnet; ONNX, or extra clip.")
    ] = None,
    compute_type: ComputeTypeOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """One .npz a film: raw features of every shot by modality, and the shots' times.

    Modalities are visual, colour, motion, audio and dialogue, those that the film has. What was measured before comes
    from the cache. What --speech transcribed is written beside the features as .srt. A film that fails does not stop
    the others. Exit code 1 with failures, 2 where every film failed.
    """
    failures = Failures()
    films = films_of(inputs, failures)
    if not films:
        failures.end(0)
    require_one_film(len(films), shots, subtitles)
    files = one_file_each([film.name for film in films], output_path, ".npz", failed=len(failures))
    rows: list[dict[str, Any]] = []
    with progress("films", len(films)) as bar:
        stages = Stages(bar)
        own = VideoExtractor(
            detector=detector,
            shots=shots,
            features=extractor,
            clip=clip,
            subtitles=subtitles,
            speech=speech,
            advance=stages.advance,
            compute_type=compute_type,
            num_threads=threads,
        )
        for film, file in zip(films, files, strict=True):
            with failures.of(film.path), stages.of(film.name):
                reading = own.read(film)
                made = reading.raw
                print_warnings(reading.remarks)
                file.parent.mkdir(parents=True, exist_ok=True)
                save_features(file, made)
                if reading.transcribed:
                    write_srt(file.with_suffix(".srt"), reading.lines)
                widths = {name: array.shape[1] for name, array in made.modalities.items()}
                rows.append({"name": film.name, "file": str(file), "shots": made.num_shots, "modalities": widths})
            bar.advance(bar.task_ids[0])
    if rows and json:
        print_json({"films": rows})
    elif rows:
        _print(rows)
    failures.end(len(rows))


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(Column("film", overflow="fold"), "shots", "modalities", Column("file", overflow="fold"))
    for row in rows:
        names = ", ".join(f"{name} {width}" for name, width in row["modalities"].items())
        table.add_row(row["name"], str(row["shots"]), names, row["file"])
    output.print(table)
