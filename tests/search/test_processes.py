"""Several processes: one that is killed as it writes, and readers while one writes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from search.indexes import titles, write

from megaseg.errors import OverloadedError
from megaseg.search import SceneIndex
from megaseg.search.writer import IndexWriter

TESTS = Path(__file__).parents[1]
ADDS = """
import sys
from pathlib import Path
from search.indexes import NEW, title
from megaseg.search import writer
from megaseg.search.writer import IndexWriter
writer.EXACT = 40
with IndexWriter.opened(Path(sys.argv[1]), NEW) as index:
    for number in range(int(sys.argv[2]), 100_000):
        index.add(f"film{number}", title(20 + number % 7, number))
        index.commit()
        print(number, flush=True)
        if number % 3 == 0:
            index.settle(threads=1)
"""


def adding(folder: Path, first: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{TESTS}"}
    return subprocess.Popen(
        [sys.executable, "-c", ADDS, str(folder), str(first)], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_a_writer_killed_at_any_moment_leaves_a_whole_index(tmp_path: Path) -> None:
    pytest.importorskip("usearch", reason="needs the extra search")
    chance = random.Random(0)
    first = 0
    for _ in range(4):
        process = adding(tmp_path / "index", first)
        assert process.stdout is not None
        told = first - 1
        for line in process.stdout:
            told = int(line)
            if told >= first + 3:
                break
        time.sleep(chance.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        told = max([told, *map(int, rest.split())])
        index = SceneIndex.open(tmp_path / "index")
        kept = {int(name.removeprefix("film")) for name in index.manifest.titles}
        assert kept == set(range(max(kept) + 1))
        assert max(kept) in (told, told + 1), "all that was told, and perhaps the one after"
        films = titles(max(kept) + 1)
        for name in films:
            assert np.array_equal(index.vectors(name), films[name].vectors)
        first = max(kept) + 1
    with IndexWriter.opened(tmp_path / "index") as writer:
        writer.settle()
        names = {f"{name}{suffix}" for name in writer.manifest.segments for suffix in (".vectors.npy", ".scenes.npy")}
        graphs = {f"{name}.graph" for name, entry in writer.manifest.segments.items() if "graph" in entry.files}
    assert {path.name for path in (tmp_path / "index" / "segments").iterdir()} == names | graphs
    assert {path.name for path in (tmp_path / "index").iterdir()} == {"index.json", "segments"}


def test_readers_while_a_writer_replaces(tmp_path: Path) -> None:
    """A reader has the index as it was or as it is: film0 always, and the others as far as they are added."""
    films = titles(30)
    write(tmp_path, {"film0": films["film0"]})
    done, problems, counts = threading.Event(), list[BaseException](), set[int]()

    def read() -> None:
        index = SceneIndex.open(tmp_path)
        try:
            while not done.is_set():
                index = index.current()
                counts.add(len(index.manifest.titles))
                (hit,) = index.nearest(films["film0"].vectors[4], 1)
                assert (hit.title, hit.scene) == ("film0", 5)
                assert len(SceneIndex.open(tmp_path).nearest(films["film0"].vectors[4], 15)) == 15
        except BaseException as error:  # noqa: BLE001 (for the test's own thread)
            problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for name, own in films.items():
        with IndexWriter.opened(tmp_path) as writer:
            writer.add(name, own)
            writer.settle()
    with IndexWriter.opened(tmp_path) as writer:
        for name in [name for name in films if name != "film0"]:
            writer.remove(name)
            writer.settle()
    done.set()
    for reader in readers:
        reader.join()
    assert not problems, problems[0]
    assert len(counts) > 3


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    write(tmp_path, titles(1))
    process = adding(tmp_path, 1)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OverloadedError, match="another process writes to the index now"):
            IndexWriter.opened(tmp_path).__enter__()
    finally:
        process.kill()
        process.communicate()


FULL = """
import resource, signal, sys
from pathlib import Path
from search.indexes import NEW, title
from megaseg.search import writer
from megaseg.search.writer import IndexWriter
writer.EXACT = int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    with IndexWriter.opened(Path(sys.argv[1])) as index:
        index.add("large", title(400, 1))
        index.settle(threads=1)
except OSError as error:
    print(type(error).__name__, error.filename)
"""


@pytest.mark.parametrize(("exact", "limit"), [(10_000, 15_000), (100, 22_000), (10_000, 800)])
def test_a_full_disk_leaves_the_index_before(tmp_path: Path, exact: int, limit: int) -> None:
    """Full while vectors, the graph or the manifest are written."""
    pytest.importorskip("usearch", reason="needs the extra search")
    write(tmp_path, titles(2))
    environment = {**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{TESTS}"}
    command = [sys.executable, "-c", FULL, str(tmp_path), str(exact), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OSError"), done.stdout
    assert {"film0", "film1"} <= set(SceneIndex.open(tmp_path).manifest.titles)
