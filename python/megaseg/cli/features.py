"""``megaseg features``: sources to feature files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from megaseg.cli import features_movienet, features_video
from megaseg.cli.console import (
    ComputeTypeOption,
    JsonOption,
    ThreadsOption,
    output,
    print_json,
    print_warnings,
    progress,
    require_folder,
)
from megaseg.cli.inputs import Failures
from megaseg.cli.stdin import STDIN, FromOption, NameOption, from_stdin, require_kind
from megaseg.engine.inputs.feature_files import save_features
from megaseg.engine.inputs.features import Features
from megaseg.features import Screenplay, ScreenplayExtractor, build_features
from megaseg.features.build import FAILED, Built
from megaseg.features.text.encoder import Encoder
from megaseg.features.text.pretrained import MINILM
from megaseg.features.text.synopsis import read_synopses

EncoderOption = Annotated[
    Path | None, typer.Option(help="Folder of a text encoder; default: all-MiniLM-L6-v2 of the extra text.")
]
app = typer.Typer(help="Turn sources into per-shot feature files.", no_args_is_help=True)
app.command("video")(features_video.video)
app.command("movienet")(features_movienet.movienet)


@app.command("screenplay")
def screenplay(
    inputs: Annotated[
        list[str], typer.Argument(help="Screenplays: Fountain, plain text, Final Draft, PDF, JSONL, or - (stdin).")
    ],
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for one .npz a movie.")],
    unit: Annotated[
        str, typer.Option(help="A row: block (for scenes), scene (for acts), talk (scene by dialogue).")
    ] = "block",
    encoder: EncoderOption = None,
    kind: FromOption = None,
    name: NameOption = "stdin",
    reader: Annotated[Path | None, typer.Option(help="Reader file; default: the shipped one.")] = None,
    compute_type: ComputeTypeOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """One .npz a screenplay: description, dialogue, structure of each block (and labels when known) or scene.

    Runs again for free: files that are up to date stay as they are. An input that fails does not stop the others;
    stderr lists the failures at the end. Exit code 1 with failures, 2 where every input failed.
    """
    require_folder(folder)
    require_kind(kind, inputs)
    failures = Failures()
    plays: list[str | Screenplay] = []
    for given in inputs:
        with failures.of(name):
            for play in from_stdin(kind, name) if given == STDIN else [given]:
                plays.append(play)
    if not plays:
        failures.end(0)
    with progress("Reading", None) as bar:
        task = bar.task_ids[0]

        def advance(name: str, blocks: int) -> None:
            bar.update(task, advance=blocks, description=name)

        built = build_features(
            plays,
            folder,
            ScreenplayExtractor(encoder=encoder, reader=reader, compute_type=compute_type, num_threads=threads),
            unit=unit,
            kind=kind,
            advance=advance,
        )
    print_warnings(remark for movie in built for remark in movie.remarks)
    for movie in built:
        if movie.status == FAILED:
            failures.add(movie.name, str(movie.reason))
    done = sum(movie.status != FAILED for movie in built)
    if done and json:
        print_json({"folder": str(folder), "movies": [asdict(movie) for movie in built]})
    elif done:
        output.print(_table(built))
    failures.end(done)


def _table(built: list[Built]) -> Table:
    table = Table("movie", "status", "blocks", "scenes")
    for movie in built:
        table.add_row(movie.name, movie.status, str(movie.blocks), "-" if movie.scenes is None else str(movie.scenes))
    return table


@app.command("synopsis")
def synopsis(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="JSONL: name and sentences of one movie a line.")],
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for one .npz a movie.")],
    encoder: EncoderOption = None,
    json: JsonOption = False,
) -> None:
    """One .npz a synopsis: the vector of each sentence, which a synopsis model and ``megaseg explain`` read."""
    require_folder(folder)
    found = read_synopses(source, labelled=False)
    encode = Encoder.from_checkpoint(encoder or MINILM, compute_type="float32").encode
    folder.mkdir(parents=True, exist_ok=True)
    with progress("Reading", len(found)) as bar:
        for name, own in found.items():
            save_features(folder / f"{name}.npz", Features({"sentence": encode(list(own.sentences))}))
            bar.advance(bar.task_ids[0])
    counts = {name: len(own.sentences) for name, own in found.items()}
    if json:
        print_json({"folder": str(folder), "synopses": counts})
        return
    table = Table("synopsis", "sentences")
    for name, count in counts.items():
        table.add_row(name, str(count))
    output.print(table)
