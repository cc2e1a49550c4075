"""Titles per core-hour of ``megaseg catalog`` with its files: this process and Ray, and where a title's time goes.

Runs are the command's own loop, from feature files to fsynced results, without the start of engine and cluster; all
files are in the page cache, as random features are written just before. ``titles/core-hour`` counts the cores that
were given, busy or not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from benchmarks.inputs import SCENE, random_checkpoint
from benchmarks.rows import Row, alternate, row_of
from megaseg import Engine, load_checkpoint, load_features, save_checkpoint
from megaseg.catalog.results import Results
from megaseg.catalog.run import segment_titles
from megaseg.catalog.titles import find_titles
from megaseg.catalog.workers import LocalWorkers, Workers

CORES = 2
REPEATS = 3
LISTED = 100_000
WRITERS: dict[str, Callable[..., None]] = {
    "npz": np.savez,
    "npz, compressed": np.savez_compressed,
    "safetensors": lambda path, **arrays: safetensors.numpy.save_file(arrays, path),
}


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        save_checkpoint(path / "scene.safetensors", random_checkpoint(SCENE))
        preset, shipped = str(path / "scene.safetensors"), "screenplay-scenes"
        rows = _model(path / "preset", "scene preset", preset, shots=300, titles=8)
        rows += _long(path / "long", "scene preset", preset, shots=1500, titles=2)
        rows += _model(path / "shipped", shipped, shipped, shots=300, titles=160)
        return rows + _listing(path / "listing")


def _model(folder: Path, name: str, checkpoint: str, *, shots: int, titles: int) -> list[Row]:
    """Every kind of file and of worker, taken in turns."""
    sources = {kind: _write(folder / kind, checkpoint, kind, shots, titles) for kind in WRITERS}
    options = {"checkpoint": checkpoint}
    rows = _parts(folder, name, checkpoint, sources, shots)
    here = LocalWorkers(options)
    movies = [load_features(path) for path in sources["npz"].values()]
    engine = Engine.from_checkpoint(checkpoint)
    subjects: dict[str, tuple[int, Callable[[], object]]] = {
        "engine alone, features in memory": (CORES, lambda: engine.segment_many(movies)),
        **{
            f"one process, {kind}": (CORES, lambda kind=kind: _catalog(folder, sources[kind], here)) for kind in WRITERS
        },
    }
    rows += _rows(name, subjects, shots, titles, here)
    for workers in (1, 2):
        rows += _on_ray(folder, name, options, sources["npz"], shots, workers)
    return rows


def _long(folder: Path, name: str, checkpoint: str, *, shots: int, titles: int) -> list[Row]:
    paths = _write(folder, checkpoint, "npz", shots, titles)
    here = LocalWorkers({"checkpoint": checkpoint})
    subject = {"one process, npz": (CORES, lambda: _catalog(folder, paths, here))}
    return _rows(name, subject, shots, titles, here)


def _on_ray(
    folder: Path, name: str, options: dict[str, Any], paths: Mapping[str, str], shots: int, workers: int
) -> list[Row]:
    from megaseg.catalog.fleet import Fleet

    start = time.perf_counter()
    with closing(Fleet("local", options, workers=workers)) as fleet:
        started = time.perf_counter() - start
        _catalog(folder, paths, fleet)  # the second worker starts
        label = f"Ray, {workers} worker{'s' * (workers > 1)} of one core, npz"
        subjects = {label: (workers, lambda: _catalog(folder, paths, fleet))}
        return _rows(name, subjects, shots, len(paths), fleet, start_s=round(started, 1))


def _rows(
    name: str,
    subjects: Mapping[str, tuple[int, Callable[[], object]]],
    shots: int,
    titles: int,
    workers: Workers,
    **facts: Any,
) -> list[Row]:
    facts = {"shots": shots, "compute_type": workers.descriptions[0]["compute_type"], **facts}
    rows = []
    for subject, seconds in alternate({key: work for key, (_, work) in subjects.items()}, REPEATS).items():
        cores = subjects[subject][0]
        rates = [titles * 3600 / (cores * s) for s in seconds]
        core_hours = round(1e6 / float(np.median(rates)), 1)
        rows.append(
            row_of(
                f"catalog, {name}, {shots} shots a title",
                subject,
                "titles/core-hour",
                rates,
                cores=cores,
                million_titles_core_hours=core_hours,
                **facts,
            )
        )
    return rows


def _catalog(folder: Path, titles: Mapping[str, str], workers: Workers) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as output, Results.opened(Path(output), {}) as results:
        size = min(8, max(1, len(titles) // 4))  # a batch and one more at hand for each of two workers
        if segment_titles(list(titles), titles, results, workers, batch_size=size) != len(titles):
            sys.exit(f"catalog: titles failed: {next(iter(results.failures.values()))['reason']}")


def _parts(folder: Path, name: str, checkpoint: str, sources: Mapping[str, Mapping[str, str]], shots: int) -> list[Row]:
    """Milliseconds of each part of one title, on one thread."""
    case = f"one title's parts, {name}, {shots} shots, one core"
    engine = Engine.from_checkpoint(checkpoint, num_threads=1)
    paths = {kind: list(of.values())[:4] for kind, of in sources.items()}
    movies = [load_features(path) for path in paths["npz"]]
    result = engine.segment_many(movies)[0]
    text = result.to_json()

    def each(work: Callable[[Any], object], items: list[Any]) -> list[float]:
        seconds = []
        for item in items * REPEATS:
            start = time.perf_counter()
            work(item)
            seconds.append(1e3 * (time.perf_counter() - start))
        return seconds

    rows = [
        row_of(case, f"read {kind}", "ms", each(load_features, files), mbytes=Path(files[0]).stat().st_size / 1e6)
        for kind, files in paths.items()
    ]
    rows.append(row_of(case, "segment", "ms", each(engine.segment, movies)))
    rows.append(row_of(case, "result as JSON", "ms", each(lambda _: result.to_json(), movies)))
    with tempfile.TemporaryDirectory(dir=folder) as output, Results.opened(Path(output), {}) as results:
        written = each(lambda title: results.keep(title, text), [f"s/{i}" for i in range(20)])
    rows.append(row_of(case, "write the result, fsynced", "ms", written, mbytes=(len(text) + 1) / 1e6))
    return rows


def _listing(folder: Path) -> list[Row]:
    """Seconds until the first title runs: listing the inputs, and finding what is done."""
    for part in range(100):
        for kind in ("in", "out"):
            (folder / kind / f"{part:02}").mkdir(parents=True)
        for i in range(LISTED // 100):
            (folder / "in" / f"{part:02}" / f"movie-{i:06}.npz").touch()
            (folder / "out" / f"{part:02}" / f"movie-{i:06}.json").touch()
    subjects: dict[str, Callable[[], object]] = {
        "list the inputs": lambda: find_titles([str(folder / "in")]),
        "find the results": lambda: Results(folder / "out"),
    }
    case = f"{LISTED:,} titles in 100 folders"
    return [row_of(case, name, "s", seconds) for name, seconds in alternate(subjects, REPEATS).items()]


def _write(folder: Path, checkpoint: str, kind: str, shots: int, titles: int) -> dict[str, str]:
    """Random features of each title in a file; paths by title."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = {}
    for i in range(titles):
        arrays = {
            modality.name: rng.standard_normal((shots, modality.feature_size)).astype(np.float32)
            for modality in load_checkpoint(checkpoint).config.modalities
        }
        path = folder / f"{i}.{kind.split(',')[0]}"
        WRITERS[kind](path, **arrays)
        paths[f"{i}"] = str(path)
    return paths
