"""On a real Ray cluster: Ray Data, and ``megaseg catalog`` whose workers are killed half-way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleet.titles import command, descendants, expected_results, make_titles, named, results_in, wait_for
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, Features, save_checkpoint
from megaseg.catalog import fleet
from megaseg.catalog.fleet import Fleet
from megaseg.errors import FeatureError, ResourceLimitError, UnsupportedError
from megaseg.ray import Segmenter

ray = pytest.importorskip("ray")
# Ray Data sets options of its own that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`use_.*:DeprecationWarning:ray.data.context")
CONFIG = small_config()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two CPUs in processes of their own, which are gone afterwards."""
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "CRITICAL"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        context = ray.init("local", num_cpus=2, object_store_memory=100 << 20, **options)
        assert descendants(os.getpid())
        yield context.address_info["gcs_address"]
        cluster = descendants(os.getpid())
        ray.shutdown()
    wait_for(lambda: not named("ray", cluster), "end of Ray's processes")


def actors(name: str = "ray::_Actor") -> set[int]:
    """This cluster's processes of workers; one that runs a batch is called ``ray::_Actor.run``."""
    return named(name, descendants(os.getpid()))


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    save_checkpoint(tmp_path / "scene.safetensors", random_checkpoint(CONFIG))
    return str(tmp_path / "scene.safetensors")


def batches(folder: Path, names: list[str], size: int) -> Iterator[list[tuple[str, str]]]:
    titles = [(name, str(folder / f"{name}.npz")) for name in names]
    return (titles[i : i + size] for i in range(0, len(titles), size))


def write_features(folder: Path, count: int) -> list[str]:
    for i in range(count):
        np.savez(folder / f"{i}.npz", **random_features(CONFIG, 10 + i, seed=i))
    return [str(i) for i in range(count)]


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.slow
def test_an_actor_runs_as_many_threads_as_it_has_cpus(address: str, checkpoint: str, cpus: int) -> None:
    actor = ray.remote(num_cpus=cpus)(Segmenter).remote(checkpoint)
    assert ray.get(actor.describe.remote())[0]["num_threads"] == cpus
    ray.kill(actor)
    with Fleet(address, {"checkpoint": checkpoint}, cpus=cpus) as workers:
        assert workers.descriptions[0]["num_threads"] == cpus


def test_workers_share_the_compiled_model(address: str, checkpoint: str, tmp_path: Path) -> None:
    names = write_features(tmp_path, 8)
    with Fleet(address, {"checkpoint": checkpoint}, workers=2) as workers:
        assert len(list(workers.run(batches(tmp_path, names, 1)))) == len(names)
        wait_for(lambda: len(actors()) == 2, "second worker")
        artefact = Path(workers.descriptions[0]["artefact"])
        inode = f" {artefact.stat().st_ino} "
        wait_for(
            lambda: all(inode in Path(f"/proc/{pid}/maps").read_text() for pid in actors()),
            "map of the one file in each",
        )


@pytest.mark.slow
def test_map_batches_over_files(address: str, checkpoint: str, tmp_path: Path) -> None:
    names = [*write_features(tmp_path, 5), "torn"]
    (tmp_path / "torn.npz").write_bytes(b"PK")
    rows = [{"id": name, "path": str(tmp_path / f"{name}.npz")} for name in names]
    found = ray.data.from_items(rows, override_num_blocks=3).map_batches(
        Segmenter,
        fn_constructor_kwargs={"checkpoint": checkpoint, "decision": {"threshold": 0.3}},
        compute=ray.data.ActorPoolStrategy(size=1),
        batch_size=2,
    )
    found.write_parquet(str(tmp_path / "results"))  # blocks with and without errors are of one schema
    results = {row["id"]: row for row in ray.data.read_parquet(str(tmp_path / "results")).take_all()}
    assert results.keys() == set(names)
    torn = results.pop("torn")
    assert torn["result"] is None
    assert f"{tmp_path}/torn.npz: expected a readable .npz" in torn["error"]
    engine = Engine.from_checkpoint(checkpoint)
    for name, row in results.items():
        assert row["error"] is None
        assert row["path"] == str(tmp_path / f"{name}.npz")
        assert row["result"] == engine.segment(row["path"], threshold=0.3).to_json()


@pytest.mark.slow
@pytest.mark.parametrize("shots", [(6, 6, 6), (6, 9, 7)])
def test_map_batches_over_arrays(address: str, checkpoint: str, shots: tuple[int, ...]) -> None:
    movies = [random_features(CONFIG, n, seed=i) for i, n in enumerate(shots)]
    times = [np.arange(2 * n).reshape(-1, 2) for n in shots]
    rows = [
        {"id": i, "times": ticks, "time_base": "1/24", **movie}
        for i, (movie, ticks) in enumerate(zip(movies, times, strict=True))
    ]
    found = ray.data.from_items(rows).map_batches(
        Segmenter,
        fn_constructor_kwargs={"checkpoint": checkpoint},
        compute=ray.data.ActorPoolStrategy(size=1),
        batch_size=3,
    )
    engine = Engine.from_checkpoint(checkpoint)
    results = sorted(found.take_all(), key=lambda row: row["id"])
    assert [row.keys() for row in results] == [{"id", "result", "error"}] * 3
    for row, movie, ticks in zip(results, movies, times, strict=True):
        expected = engine.segment(Features.from_mapping({**movie, "times": ticks, "time_base": "1/24"}))
        assert row["result"] == expected.to_json()


def test_a_batch_without_features_is_refused(checkpoint: str) -> None:
    with pytest.raises(FeatureError, match="expected a column 'path' of files, 'screenplay' of text"):
        Segmenter(checkpoint)({"file": ["a.npz"]})


@pytest.mark.slow
def test_titles_of_a_killed_worker_are_done_once(address: str, tmp_path: Path) -> None:
    make_titles(tmp_path, 60)
    out = tmp_path / "out"
    arguments = [*command(tmp_path, "--ray", address)]
    catalog = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(results_in(out)) >= 5, "results")
    running: list[int] = []
    wait_for(lambda: running.extend(actors("ray::_Actor.run")) or running, "worker that runs a title")
    os.kill(running[0], signal.SIGKILL)
    count = len(results_in(out))
    stdout, stderr = catalog.communicate(timeout=60)
    assert 5 <= count < 60, "killed too late: the test needs more titles"
    assert "a worker died and is replaced" in stderr
    assert catalog.returncode == 0, stderr
    summary = json.loads(stdout)
    counts = {"titles": 60, "segmented": 60, "results": 60, "failures": 0}
    assert {key: summary[key] for key in counts} == counts
    assert results_in(out) == expected_results(tmp_path)


@pytest.mark.slow
def test_a_title_that_kills_its_workers_is_one_failure(
    address: str, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Poisoned(fleet._Actor):
        def run(self, batch: Any) -> Any:
            if "5" in [title for title, _ in batch]:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(batch)

    monkeypatch.setattr(fleet, "_Actor", Poisoned)
    names = write_features(tmp_path, 12)
    with Fleet(address, {"checkpoint": checkpoint}) as workers:
        outcomes = list(workers.run(batches(tmp_path, names, 4)))
    assert sorted(outcome.title for outcome in outcomes) == sorted(names)
    (failure,) = [outcome for outcome in outcomes if outcome.error]
    assert failure.title == "5"
    assert failure.error == "3 workers died as they ran it: a crash, or out of memory"
    engine = Engine.from_checkpoint(checkpoint)
    for outcome in outcomes:
        if outcome is not failure:
            assert outcome.result == engine.segment(outcome.path).to_json()


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run(address: str, checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match="backend: expected one of"):  # as the engine says it, not Ray
        Fleet(address, {"checkpoint": checkpoint, "backend": "none"})

    class Stillborn(fleet._Actor):
        def start(self, options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(fleet, "_Actor", Stillborn)
    with pytest.raises(ResourceLimitError, match="3 in a row died"):
        Fleet(address, {"checkpoint": checkpoint})


@pytest.mark.slow
def test_a_killed_driver_takes_its_workers_with_it_and_loses_no_title(tmp_path: Path) -> None:
    make_titles(tmp_path, 60)
    out = tmp_path / "out"
    catalog = subprocess.Popen(command(tmp_path, "--ray", "local"), stderr=subprocess.DEVNULL)
    wait_for(lambda: len(results_in(out)) >= 5, "results")
    cluster = descendants(catalog.pid)
    workers = named("ray::_Actor", cluster)
    assert workers
    catalog.kill()
    catalog.wait()
    wait_for(lambda: not named("ray::_Actor", workers), "end of the workers")
    for pid in named("ray::", cluster):  # Ray's agents wait a minute for a cluster that is gone
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*.json")}
    count = len(results_in(out))
    assert 5 <= count < 60, "killed too late: the test needs more titles"
    done = subprocess.run(command(tmp_path, "--ray", "local"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segmented"] == 60 - count
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert results_in(out) == expected_results(tmp_path)


def test_no_cluster_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UnsupportedError, match="nowhere: expected"):
        Fleet("nowhere", {"checkpoint": "screenplay-scenes"})
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UnsupportedError, match=r"megaseg\[fleet\]"):
        Fleet("auto", {"checkpoint": "screenplay-scenes"})
