"""The training loop on a line: schedules, mini-batches, averaged weights, early stopping, and going on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from megaseg.errors import FeatureError  # noqa: E402
from megaseg.training.loop import Epoch, Loop, Place, Settings, Validation, Work, cosine, linear  # noqa: E402

SETTINGS = Settings(6, 0.05, cosine(0.0), 0.0, seed=3, ema_decay=0.9, reseed=True)


def batches(epoch: int) -> Iterator[Sequence[float]]:
    """Two mini-batches of two numbers, drawn from torch's global generator."""
    return (torch.rand(2).tolist() for _ in range(2))


def loss(model: Any, x: float) -> Any:
    return (model(torch.tensor([x])) - 2 * x).square().sum()


def loop(
    settings: Settings = SETTINGS, validation: Validation[Any, float] | None = None, loss: Callable[..., Any] = loss
) -> Loop[Any, float, float]:
    torch.manual_seed(0)
    return Loop(torch.nn.Linear(1, 1), Work(batches, 2, loss), settings, validation)


def told(figures: Sequence[float], patience: int) -> Validation[Any, float]:
    """Validation whose verdicts are known beforehand."""
    left = iter(figures)
    return Validation(lambda model: next(left), float, patience)


def test_schedules_warm_up_and_end_at_zero() -> None:
    places = [Place(epoch, step, 4, 5) for epoch in range(5) for step in range(4)]
    rise, fall = [cosine(0.5)(place) for place in places], [linear(5)(place) for place in places]
    assert rise[0] == 0
    assert rise[10] == pytest.approx(0.5)  # warm at half of the run, where half a cosine is at a half
    assert rise[19] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.95)))
    assert fall[:5] == pytest.approx([(k + 1) / 5 * (1 - k / 20) for k in range(5)])
    assert fall[19] == pytest.approx(1 / 20)
    assert Place(4, 9, 4, 5).share == 1  # an epoch may have a few steps more than expected


def test_a_batch_is_the_mean_of_its_examples() -> None:
    settings = dataclasses.replace(SETTINGS, epochs=1)
    apart = loop(settings).run().state_dict()

    def both(model: Any, pair: Any) -> Any:
        return torch.stack([loss(model, x) for x in pair]).mean()

    torch.manual_seed(0)
    work = Work(lambda epoch: ((batch,) for batch in batches(epoch)), 2, both)
    together = Loop(torch.nn.Linear(1, 1), work, settings).run().state_dict()
    for name, tensor in apart.items():
        torch.testing.assert_close(tensor, together[name])


def test_examples_without_a_loss_change_nothing() -> None:
    torch.manual_seed(0)
    before = torch.nn.Linear(1, 1).state_dict()
    silent = loop(loss=lambda model, x: None)
    after = silent.run().state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(math.isnan(epoch.loss) for epoch in silent.history)


def test_without_decay_the_average_is_the_last_step() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    average = Loop(model, Work(batches, 2, loss), dataclasses.replace(SETTINGS, ema_decay=0.0)).run()
    assert torch.equal(average.weight, model.weight)
    assert not average.training


@pytest.mark.parametrize(
    ("figures", "epochs", "best"),
    [([3, 2, 2, 2], 4, 1), ([5, 4, 3, 2, 1, 0], 6, 5), ([1, 2, 0, 3, 4], 5, 2), ([math.nan] * 2, 2, None)],
)
def test_it_stops_after_patience_epochs_without_a_lower_figure(
    figures: list[float], epochs: int, best: int | None
) -> None:
    found = loop(validation=told(figures, patience=2))
    weights = {}
    kept = found.run(lambda epoch: weights.update({epoch.number: found.state()["average"]["weight"].clone()}))
    assert (len(found.history), found.best_epoch()) == (epochs, best)
    assert torch.equal(kept.weight, weights[epochs - 1 if best is None else best])


def test_sgd_takes_the_steps_of_its_equation() -> None:
    settings = dataclasses.replace(
        SETTINGS, epochs=3, schedule=lambda place: 1.0, optimizer="sgd", momentum=0.5, gradient_clip=1e9, ema_decay=0.0
    )
    draws = torch.Generator()
    torch.manual_seed(0)
    weight, bias = (p.item() for p in torch.nn.Linear(1, 1).parameters())
    speed = np.zeros(2)
    for epoch in range(3):
        draws.manual_seed(settings.seed_of(epoch))
        for _ in range(2):
            xs = torch.rand(2, generator=draws).double().numpy()
            error = 2 * (weight * xs + bias - 2 * xs)
            speed = 0.5 * speed + np.array([np.mean(error * xs), np.mean(error)])
            weight, bias = np.array([weight, bias]) - 0.05 * speed
    found = loop(settings).run()
    assert found.weight.item() == pytest.approx(weight, rel=1e-5)
    assert found.bias.item() == pytest.approx(bias, rel=1e-5)


@pytest.mark.parametrize(("optimizer", "momentum"), [("adamw", 0.9), ("sgd", 0.9), ("sgd", 0.0)])
def test_a_restored_loop_goes_on_as_if_it_had_not_stopped(optimizer: str, momentum: float) -> None:
    figures = [3.0, 1.0, 2.0, 2.5, 0.5, 4.0]
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, momentum=momentum)
    whole = loop(settings, told(figures, patience=4))
    expected = whole.run().state_dict()

    class Stop(Exception):
        pass

    def stop(epoch: Epoch[float]) -> None:
        if epoch.number == 2:
            raise Stop

    first = loop(settings, told(figures, patience=4))
    with pytest.raises(Stop):
        first.run(stop)
    second = loop(settings, told(figures[3:], patience=4))
    second.restore(first.state(), first.history)
    found = second.run().state_dict()
    assert second.history == whole.history
    for name, tensor in expected.items():
        np.testing.assert_array_equal(tensor, found[name], err_msg=name)


def test_a_loss_that_is_not_finite_ends_the_run_before_the_weights_are_lost() -> None:
    run = loop(loss=lambda model, x: model(torch.tensor([x])).sum() * math.nan)
    with pytest.raises(FeatureError, match="loss: expected a finite value, got nan"):
        run.run()
    assert all(torch.isfinite(tensor).all() for tensor in run.state()["model"].values())
