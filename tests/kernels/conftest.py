"""Every kernel test runs on every CPU target of this machine, forced one by one, against the oracle in float64."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg import _C

pytest.importorskip("torch", reason="the oracle is written in torch")

MAX_VECTOR = 16  # floats in the widest vector


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        metafunc.parametrize("target", _C.available_targets())


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's name: fresh data for every case, the same on every run."""
    return np.random.default_rng(list(request.node.name.encode()))
