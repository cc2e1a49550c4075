"""Threads on one engine: in builds of Python without a GIL they run at once."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from megaseg import Engine

FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.mark.skipif(not FREE, reason="this Python has a GIL")
def test_importing_the_extension_leaves_the_gil_off() -> None:
    code = "import sys, megaseg._C; print(sys._is_gil_enabled())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_threads_that_share_an_engine_get_the_bits_of_one() -> None:
    engine = Engine.from_checkpoint("screenplay-scenes", compute_type="float32", num_threads=1)
    rng = np.random.default_rng(0)
    widths = {"description": 384, "dialogue": 384, "structure": 80}
    movies = [
        {name: rng.normal(size=(n, width)).astype("f4") for name, width in widths.items()} for n in (3, 40, 77, 9)
    ]
    alone = [engine.logits(movie) for movie in movies]
    start = Barrier(4)

    def work(first: int) -> list[np.ndarray]:
        start.wait(timeout=30)
        return [engine.logits(movies[(first + i) % 4]) for i in range(8)]

    with ThreadPoolExecutor(4) as pool:
        for first, results in enumerate(pool.map(work, range(4), timeout=60)):
            for i, logits in enumerate(results):
                np.testing.assert_array_equal(logits, alone[(first + i) % 4])
