"""Every kernel test runs on every CPU target of this machine, forced one by one, against the oracle in float64."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg import _C

pytest.importorskip("torch", reason="the oracle is written in torch")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``target`` alone, or with each ``storage`` that it has: float32, bfloat16; or with each ``compute_type``.

    A module's ``PRODUCT`` leaves out targets without it.
    """
    product = getattr(metafunc.module, "PRODUCT", "float32")
    targets = [target for target in _C.available_targets() if product in _C.compute_types(target)]
    if "compute_type" in metafunc.fixturenames:
        pairs = [(target, name) for target in targets for name in _C.compute_types(target)]
        metafunc.parametrize(("target", "compute_type"), pairs)
    elif "storage" in metafunc.fixturenames:
        pairs = [(target, name) for target in targets for name in _C.compute_types(target) if name != "int8"]
        metafunc.parametrize(("target", "storage"), pairs)
    elif "target" in metafunc.fixturenames:
        metafunc.parametrize("target", targets)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's name: fresh data for every case, the same on every run."""
    return np.random.default_rng(list(request.node.name.encode()))
