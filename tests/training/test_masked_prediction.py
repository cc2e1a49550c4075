"""Masked prediction against loops in float64, its gradients, and its edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from megaseg.training.objectives.masked_prediction import contrast, cosine_contrast, regression, unit  # noqa: E402

Rows = Sequence[Sequence[float]]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def eq_1(predictions: Rows, candidates: Rows, own: Sequence[int], score: Callable[..., float] = dot) -> float:
    """The equation token by token."""
    terms = []
    for p, k in zip(predictions, own, strict=True):
        terms.append(score(p, candidates[k]) - math.log(math.fsum(math.exp(score(p, w)) for w in candidates)))
    return -math.fsum(terms) / len(terms)


def cosine_over(temperature: float) -> Callable[..., float]:
    return lambda a, b: dot(a, b) / math.sqrt(dot(a, a)) / math.sqrt(dot(b, b)) / temperature


def example(masked: int = 3, tokens: int = 7, width: int = 4, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    rows = (torch.from_numpy(rng.standard_normal((n, width))) for n in (masked, tokens))
    return (*rows, torch.from_numpy(rng.permutation(tokens)[:masked]))


@pytest.mark.parametrize("sizes", [(3, 7, 4), (1, 1, 2), (5, 5, 3), (1, 6, 1)])
def test_contrast_is_the_equation(sizes: tuple[int, int, int]) -> None:
    p, w, own = example(*sizes)
    assert contrast(p, w, own).item() == pytest.approx(eq_1(p.tolist(), w.tolist(), own.tolist()), abs=1e-12)
    expected = eq_1(p.tolist(), w.tolist(), own.tolist(), cosine_over(0.2))
    assert cosine_contrast(p, w, own, 0.2).item() == pytest.approx(expected, abs=1e-12)


def test_regression_is_the_mean_of_squares() -> None:
    p, w, own = example()
    squares = [
        (a - b) ** 2
        for row, k in zip(p.tolist(), own.tolist(), strict=True)
        for a, b in zip(row, w[k].tolist(), strict=True)
    ]
    assert regression(p, w, own).item() == pytest.approx(sum(squares) / 12, abs=1e-12)


@pytest.mark.parametrize("loss", [contrast, lambda p, w, own: cosine_contrast(p, w, own, 0.3), regression])
def test_gradients(loss: Callable[..., Any]) -> None:
    p, w, own = example()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, own), (p.requires_grad_(), w.requires_grad_()))


@pytest.mark.parametrize("loss", [contrast, lambda p, w, own: cosine_contrast(p, w, own, 0.3), regression])
def test_nothing_masked_is_no_loss(loss: Callable[..., Any]) -> None:
    _, w, own = example()
    assert loss(torch.zeros(0, 4), w, own[:0]) is None


def test_one_token_costs_nothing_and_identical_rows_the_logarithm_of_their_number() -> None:
    p, w, own = example(1, 1)
    assert contrast(p, w, own).item() == 0
    same = w.expand(8, -1)
    assert contrast(p, same, own).item() == pytest.approx(math.log(8))
    assert cosine_contrast(p, same, own, 0.01).item() == pytest.approx(math.log(8))


def test_a_good_prediction_costs_less_than_a_poor_one() -> None:
    _, w, _ = example(tokens=6)
    every, others = torch.arange(6), torch.arange(6).roll(1)
    assert contrast(3 * w, w, every) < contrast(3 * w, w, others)
    assert cosine_contrast(w, w, every, 0.1) < math.log(6) < cosine_contrast(w, w, others, 0.1)
    assert regression(w, w, every) == 0 < regression(w, w, others)


def test_large_products_and_zeros_stay_finite() -> None:
    p, w, own = example()
    assert math.isfinite(contrast(p.float() * 1e6, w.float(), own))
    zero = torch.zeros_like(p, requires_grad=True)
    loss = cosine_contrast(zero, w, own, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(7))
    assert torch.isfinite(zero.grad).all()
    assert not unit(torch.zeros(2, 3)).any()
