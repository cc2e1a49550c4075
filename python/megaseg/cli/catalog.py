"""``megaseg catalog``: results or embeddings of a catalogue, in this process or on a Ray cluster, resumable."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.catalog.results import FEATURES, JSON, Results
from megaseg.catalog.run import check_titles, segment_titles, titles_left
from megaseg.catalog.storage import is_url
from megaseg.catalog.titles import find_titles
from megaseg.catalog.workers import LocalWorkers, Workers
from megaseg.cli.console import (
    FLAGS,
    MODEL_KEYWORDS,
    BackendOption,
    CheckpointsOption,
    ComputeTypeOption,
    DeviceOption,
    JsonOption,
    LengthOption,
    OrderedOption,
    OverflowOption,
    ScenesOption,
    ThreadsOption,
    ThresholdOption,
    named_flags,
    output,
    print_json,
    progress,
    require_folder,
    with_flags,
)
from megaseg.engine.inputs.files import sha256
from megaseg.engine.model.checkpoint import resolve_checkpoint
from megaseg.errors import FeatureError
from megaseg.pipelines.embedding import is_encoder
from megaseg.pipelines.shipped import shipped_for_paths


def catalog(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Folders, films, screenplays, feature files, Parquet lists; paths, or URLs of storage."),
    ],
    output_path: Annotated[
        str, typer.Option("--output", "-o", help="Folder of results: one file a title, and failures.jsonl.")
    ],
    checkpoint: CheckpointsOption = None,
    ray: Annotated[
        str | None,
        typer.Option(help="A Ray cluster: auto, local (starts one), host:port or ray://host:port; else this process."),
    ] = None,
    workers: Annotated[int, typer.Option(help="With --ray: workers; 0 is as many as there is room for.", min=0)] = 0,
    batch_size: Annotated[int, typer.Option(help="Titles that run together.", min=1)] = 8,
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = None,
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    overflow: OverflowOption = "error",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    path_column: Annotated[str, typer.Option(help="Column of a Parquet list that names the files.")] = "path",
    retry_failed: Annotated[bool, typer.Option(help="Run the titles of failures.jsonl again.")] = False,
    json: JsonOption = False,
) -> None:
    """Segment a whole catalogue, or embed it; after a kill or with new titles, run it again and it goes on.

    A title is the path of its file below INPUT without the suffix, and its result is that path under the output: JSON,
    or of an encoder the feature file that megaseg embed writes. Titles without a result are listed in failures.jsonl
    with the reason. With --ray, --threads are those of each worker (default 1). Exit code 0 when every title has its
    result, 1 with failures, 2 for what must be mended.
    """
    if is_url(output_path):
        raise FeatureError(f"--output: expected a folder, got {output_path}; copy the results to storage afterwards")
    require_folder(output_path)
    if workers and ray is None:
        raise FeatureError(f"--workers: expected --ray with it, got {workers} workers without a cluster")
    with named_flags("path_column"):
        titles = find_titles(inputs, path_column=path_column)
    chosen = checkpoint or shipped_for_paths(titles.values())
    names = [os.path.abspath(resolve_checkpoint(name)) if os.path.exists(name) else name for name in chosen]
    decision = {
        "threshold": threshold,
        "min_scene_length": min_scene_length,
        "num_scenes": num_scenes,
        "ordered": ordered,
    }
    model = {"device": device, "backend": backend, "overflow": overflow}
    given = _given(names, decision, skip_missing=not checkpoint)
    embeds = "makes" in given
    options = {**given, "compute_type": compute_type, **model}
    start = time.monotonic()
    # What Ray has to say, such as that a worker died, it prints: stdout is for the report.
    with redirect_stdout(sys.stderr), _workers(ray, options, workers, threads, device) as hands:
        settings = {
            "inputs": [name if is_url(name) else os.path.abspath(name) for name in inputs],
            "checkpoints": [sha256(resolve_checkpoint(name)).hexdigest() for name in names],
            "compute_types": [description["compute_type"] for description in hands.descriptions],
            **model,
            **decision,
            "min_scene_length": min_scene_length or 1,  # a run with the default goes on with 1
        }
        check_titles(titles, hands.descriptions)
        with Results.opened(Path(output_path), settings, FEATURES if embeds else JSON) as results:
            left = titles_left(titles, results, retry_failed=retry_failed)
            with progress("embedding" if embeds else "segmenting", len(left), "titles") as bar:
                advance = partial(bar.advance, bar.task_ids[0])
                done = segment_titles(
                    left, titles, results, hands, batch_size=batch_size, advance=advance, reason=with_flags
                )
    failures = sum(title in results.failures for title in titles)
    _report(results, "embedded" if embeds else "segmented", len(titles), done, failures, time.monotonic() - start, json)


def _given(names: list[str], decision: Mapping[str, Any], *, skip_missing: bool) -> dict[str, Any]:
    """Options of ``hand_of`` for these checkpoints.

    Raises:
        FeatureError: an option of a decision, which an encoder does not make.
    """
    if len(names) > 1 or not is_encoder(names[0]):
        return {"checkpoint": names, "skip_missing": skip_missing, "decision": decision}
    for name, value in decision.items():
        if value is not None:
            raise FeatureError(f"{FLAGS[name]}: expected a model that decides, got {value} with an encoder of shots")
    return {"checkpoint": names[0], "makes": "embeddings"}


@named_flags(*MODEL_KEYWORDS)
def _workers(
    address: str | None, options: dict[str, Any], workers: int, threads: int, device: str
) -> AbstractContextManager[Workers]:
    if address is None:
        return nullcontext(LocalWorkers({**options, "num_threads": threads}))
    from megaseg.catalog.fleet import Fleet

    return Fleet(address, options, workers=workers, cpus=threads or 1, gpus=int(device == "cuda"))


def _report(results: Results, verb: str, titles: int, done: int, failures: int, seconds: float, json: bool) -> None:
    """Print what was done; exit code 1 with failures."""
    if json:
        counts = {"titles": titles, verb: done, "results": titles - failures, "failures": failures}
        print_json({**counts, "seconds": seconds, "output": str(results.folder), "manifest": str(results.manifest)})
    else:
        output.print(
            f"{titles:,} titles: {done:,} {verb} now, {titles - failures - done:,} before, {failures:,} failures",
        )
        if failures:
            output.print(f"reasons: {results.manifest}; --retry-failed runs them again", soft_wrap=True)
    if failures:
        raise typer.Exit(1)
