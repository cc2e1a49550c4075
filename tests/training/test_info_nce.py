"""InfoNCE against loops in float64, their gradients, and their edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from megaseg.training.objectives.info_nce import info_nce, symmetric  # noqa: E402

TAU = 0.3


def similarity(a: Any, b: Any) -> float:
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a)) / math.sqrt(np.dot(b, b)))


def eq_3(queries: Any, keys: Any, tau: float) -> float:
    """The sum that Eq. 3 prints, over pairs one by one."""
    total = 0.0
    for i, query in enumerate(queries):
        every = [math.exp(similarity(query, key) / tau) for key in keys]
        total -= math.log(every[i] / math.fsum(every))
    return total


def views(pairs: int = 6, width: int = 5, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return tuple(torch.from_numpy(rng.standard_normal((pairs, width))) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("sizes", [(6, 5), (1, 3), (2, 1), (17, 4)])
def test_it_is_the_equation(sizes: tuple[int, int]) -> None:
    v, a = views(*sizes)
    there, back = eq_3(v.numpy(), a.numpy(), TAU), eq_3(a.numpy(), v.numpy(), TAU)
    assert info_nce(v, a, TAU, summed=True).item() == pytest.approx(there, abs=1e-10)
    assert info_nce(v, a, TAU).item() == pytest.approx(there / sizes[0], abs=1e-11)
    assert symmetric(v, a, TAU).item() == pytest.approx((there + back) / sizes[0], abs=1e-11)
    assert symmetric(v, a, TAU, summed=True).item() == pytest.approx(there + back, abs=1e-10)


def test_gradients() -> None:
    v, a = (view.requires_grad_() for view in views())
    assert torch.autograd.gradcheck(lambda x, y: info_nce(x, y, TAU), (v, a))
    assert torch.autograd.gradcheck(lambda x, y: symmetric(x, y, TAU), (v, a))


def test_no_pair_is_no_loss() -> None:
    v, a = views(0)
    assert symmetric(v, a, TAU) is None
    assert info_nce(v, a, TAU) is None


def test_one_pair_costs_nothing_and_identical_rows_the_logarithm_of_their_number() -> None:
    v, a = views(1)
    assert symmetric(v, a, TAU).item() == 0
    assert symmetric(v.expand(5, -1), a.expand(5, -1), TAU).item() == pytest.approx(2 * math.log(5))


def test_pairs_that_agree_cost_less() -> None:
    v, _ = views(8)
    assert symmetric(v, 4 * v, TAU) < symmetric(v, v.roll(1, 0), TAU)
    assert symmetric(v, 4 * v, TAU).item() == pytest.approx(symmetric(v, v, TAU).item())  # lengths do not matter
