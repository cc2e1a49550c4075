"""One engine, many threads: results are those of a serial run, bit for bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from forked import status_of_fork
from support import random_checkpoint, random_features, small_config

from megaseg import Engine
from megaseg.errors import UnsupportedError


@pytest.mark.parametrize("task", ["scene", "act"])
def test_eight_threads_of_mixed_requests_equal_a_serial_run(task: str) -> None:
    config = small_config(task)
    engine = Engine.from_checkpoint(random_checkpoint(config), num_threads=2)
    lengths = [1 + (17 * i) % 40 for i in range(200)]
    requests = [random_features(config, shots, seed) for seed, shots in enumerate(lengths)]
    serial = [engine.logits(request) for request in requests]

    def client(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(requests))
        return all(np.array_equal(engine.logits(requests[i]), serial[i]) for i in order)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(client, range(8)))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_use_after_fork_raises_and_does_not_hang(num_threads: int) -> None:
    config = small_config()
    engine = Engine.from_checkpoint(random_checkpoint(config), num_threads=num_threads)
    features = random_features(config, 9)
    before = engine.logits(features)
    engines = [engine]

    def child() -> int:
        with pytest.raises(UnsupportedError, match="fork"):
            engines[0].logits(features)
        engines.clear()  # gives the plan back: must not wait for threads that are not here
        return 7

    del engine
    assert status_of_fork(child) == 7
    assert np.array_equal(engines[0].logits(features), before)
