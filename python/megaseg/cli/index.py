"""``megaseg index``: scenes of a catalogue into an index that ``megaseg similar`` searches."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from megaseg.catalog.titles import find_titles
from megaseg.catalog.workers import LocalWorkers, Workers
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
    require_folder,
)
from megaseg.cli.film import DetectorOption, SpeechOption
from megaseg.cli.inputs import Failures
from megaseg.engine.model.checkpoint import resolve_checkpoint
from megaseg.errors import CheckpointError, FeatureError
from megaseg.search.building import Built, build_index, titles_left
from megaseg.search.contents import Contents
from megaseg.search.manifest import MANIFEST, Manifest, read_manifest
from megaseg.search.writer import IndexWriter


def index(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Films, screenplays, feature files, folders of them, Parquet lists; with --remove or --list, an index."
        ),
    ],
    output_path: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the index: a new one, or one to add to.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            "-c",
            help="An encoder of shots, or the folder of its pretraining.",
            show_default="that of the index",
        ),
    ] = None,
    scenes: Annotated[
        str | None,
        typer.Option(
            help="Where scenes end: a model of scenes, or results of megaseg segment (a .json, or a folder of them).",
            show_default="labels and headings, else the shipped model",
        ),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A title to remove from the index; several times.")] = None,
    list_titles: Annotated[bool, typer.Option("--list", help="List the titles of the index.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(help="A Ray cluster: auto, local (starts one), host:port or ray://host:port; else this process."),
    ] = None,
    workers: Annotated[int, typer.Option(help="With --ray: workers; 0 is as many as there is room for.", min=0)] = 0,
    detector: DetectorOption = "adaptive",
    speech: SpeechOption = None,
    path_column: Annotated[str, typer.Option(help="Column of a Parquet list that names the files.")] = "path",
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Index the scenes of a catalogue by an encoder of shots, for megaseg similar; run again, it adds what is new.

    A title is the path of its file below INPUT without the suffix. Titles whose file is as before are left as they are,
    those that changed are replaced. A killed run leaves the index as it was, or with whole titles more. A title that
    fails does not stop the others. Exit code 0 when every title is there, 1 with failures, 2 for what must be mended.
    """
    if remove or list_titles:
        _changed(inputs, remove or [], output_path is not None or checkpoint is not None, json)
        return
    if output_path is None:
        raise FeatureError("--output: expected the folder of the index, got none")
    require_folder(output_path)
    if workers and ray is None:
        raise FeatureError(f"--workers: expected --ray with it, got {workers} workers without a cluster")
    with named_flags("path_column"):
        titles = find_titles(inputs, path_column=path_column)
    encoder = _encoder(checkpoint, output_path)
    model = {"device": device, "compute_type": compute_type, "backend": backend}
    films = {"detector": detector, "speech": None if speech is None else os.path.abspath(speech)}
    own = scenes if scenes is None or not os.path.exists(scenes) else os.path.abspath(scenes)
    options = {"makes": "scenes", "checkpoint": encoder, "scenes": own, **films, **model}
    with named_flags("scenes"):
        contents = Contents(own, **films)
    built = Built()
    with redirect_stdout(sys.stderr), _workers(ray, options, workers, threads, device) as hands:
        (about, *_) = hands.descriptions
        new = Manifest(about["encoder"], encoder, about["width"])
        with IndexWriter.opened(output_path, new) as writer:
            left = titles_left(writer, titles, contents, built)
            with progress("indexing", len(left), "titles") as bar:
                build_index(writer, titles, left, hands, built, advance=partial(bar.advance, bar.task_ids[0]))
            _settled(partial(writer.settle, threads=threads))
            manifest = writer.manifest
    _report(manifest, built, output_path, json)


def _encoder(checkpoint: str | None, folder: Path) -> str:
    """The encoder's file, or its shipped name: that of the index where none is given.

    Raises:
        FeatureError: none is given and there is no index yet. CheckpointError: that of the index is gone.
    """
    if checkpoint is None:
        if not (folder / MANIFEST).is_file():
            raise FeatureError("--checkpoint: expected an encoder of shots for a new index, got none")
        known = read_manifest(folder).checkpoint
        try:
            resolve_checkpoint(known)
        except CheckpointError as error:
            raise CheckpointError(
                f"--checkpoint: expected the encoder of the index, which is not at {known} any more, got none"
            ) from error
        return known
    path = resolve_checkpoint(checkpoint)
    return os.path.abspath(path) if os.path.exists(checkpoint) else checkpoint


@named_flags("device", "compute_type", "backend", "scenes", embed="--checkpoint")
def _workers(
    address: str | None, options: dict[str, Any], workers: int, threads: int, device: str
) -> AbstractContextManager[Workers]:
    if address is None:
        return nullcontext(LocalWorkers({**options, "num_threads": threads}))
    from megaseg.catalog.fleet import Fleet

    return Fleet(address, options, workers=workers, cpus=threads or 1, gpus=int(device == "cuda"))


def _settled(settle: Callable[..., None]) -> None:
    """Rewrite small segments and write graphs, which of many scenes takes minutes."""
    with progress("graph", None) as bar:
        task = bar.task_ids[0]
        settle(advance=lambda done, whole: bar.update(task, completed=done, total=whole))


def _report(manifest: Manifest, built: Built, folder: Path, json: bool) -> None:
    """Print what was done; exit code 1 with failures, 2 where nothing is there."""
    if json:
        values = {name: getattr(built, name) for name in ("added", "replaced", "unchanged", "failed")}
        counts = {"titles": len(manifest.titles), "scenes": manifest.num_scenes}
        print_json({"index": str(folder), **counts, **values})
    else:
        output.print(
            f"{folder}: {len(manifest.titles):,} titles, {manifest.num_scenes:,} scenes: {len(built.added):,} titles "
            f"added, {len(built.replaced):,} replaced, {len(built.unchanged):,} as before",
            soft_wrap=True,
        )
    if built.elsewhere:
        name, before = next(iter(built.elsewhere.items()))
        print_warnings([f"{len(built.elsewhere)} titles had another file before: {name} was {before}"])
    failures = Failures()
    for title, reason in built.failed.items():
        failures.add(title, reason)
    failures.end(len(built.added) + len(built.replaced) + len(built.unchanged))


def _changed(inputs: list[str], remove: list[str], others: bool, json: bool) -> None:
    """Remove titles from an index, or list what is there."""
    if len(inputs) != 1 or others:
        raise FeatureError("--remove, --list: expected the folder of one index, and neither --output nor --checkpoint")
    folder = Path(inputs[0])
    if not remove:
        _listed(folder, read_manifest(folder), json)
        return
    with IndexWriter.opened(folder) as writer:
        for title in remove:
            with named_flags(title="--remove"):
                writer.expect(title)
        for title in dict.fromkeys(remove):
            writer.remove(title)
        writer.settle()
        manifest = writer.manifest
    if json:
        print_json({"index": str(folder), "titles": len(manifest.titles), "scenes": manifest.num_scenes})
    else:
        output.print(f"{folder}: {len(manifest.titles):,} titles, {manifest.num_scenes:,} scenes", soft_wrap=True)


def _listed(folder: Path, manifest: Manifest, json: bool) -> None:
    if json:
        titles = [
            {"title": name, "scenes": title.scenes, "shots": title.shots, "found": title.found, "source": title.source}
            for name, title in sorted(manifest.titles.items())
        ]
        about = {"encoder": manifest.encoder, "checkpoint": manifest.checkpoint, "width": manifest.width}
        print_json({"index": str(folder), **about, "scenes": manifest.num_scenes, "titles": titles})
        return
    table = Table(title=f"{folder}: {manifest.num_scenes:,} scenes")
    for column in ("title", "scenes", "shots", "scenes by", "file"):
        table.add_column(column, overflow="fold")
    for name, title in sorted(manifest.titles.items()):
        table.add_row(name, str(title.scenes), str(title.shots), title.found, title.source)
    output.print(table)
