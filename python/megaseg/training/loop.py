"""The training loop: AdamW or SGD over epochs of batches, averaged weights, early stopping, a state to go on from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from megaseg.errors import FeatureError
from megaseg.training.state import Groups, optimizer_tensors, restore_optimizer

Model = TypeVar("Model", bound=nn.Module)
Example = TypeVar("Example")
Verdict = TypeVar("Verdict")


@dataclass(frozen=True, slots=True)
class Place:
    """Optimiser step ``step`` of about ``steps`` in epoch ``epoch`` of ``epochs``; both count from 0."""

    epoch: int
    step: int
    steps: int
    epochs: int

    @property
    def number(self) -> int:
        """Optimiser steps before this one."""
        return self.epoch * self.steps + self.step

    @property
    def share(self) -> float:
        """Finished share of the run, at most 1."""
        return min(1.0, (self.epoch + min(1.0, self.step / self.steps)) / self.epochs)


Schedule = Callable[[Place], float]
OPTIMIZERS = ("adamw", "sgd")


def cosine(warmup: float) -> Schedule:
    """Linear warm-up over the share ``warmup`` of the run, times half a cosine to zero."""

    def factor(place: Place) -> float:
        done = place.share
        return min(1.0, done / warmup if warmup else 1.0) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


def linear(warmup_steps: int) -> Schedule:
    """Linear warm-up over ``warmup_steps`` optimiser steps, times a linear decay to zero."""

    def factor(place: Place) -> float:
        return min(1.0, (place.number + 1) / warmup_steps) * (1 - place.number / (place.steps * place.epochs))

    return factor


@dataclass(frozen=True, slots=True)
class Settings:
    """Numbers of an optimisation; ``schedule`` gives the factor of ``learning_rate`` at each step.

    ``ema_decay`` is the decay of the averaged weights; at 0 the average is the weights of the last step. With
    ``reseed`` every epoch has a seed of its own, so that a restored run draws what an uninterrupted one would.
    ``shares`` are learning rates of parameters by the beginning of their names, as shares of ``learning_rate``.
    ``optimizer`` is one of ``OPTIMIZERS``; ``momentum`` is SGD's.
    """

    epochs: int
    learning_rate: float
    schedule: Schedule
    weight_decay: float
    seed: int
    betas: tuple[float, float] = (0.9, 0.98)
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    reseed: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    optimizer: str = "adamw"
    momentum: float = 0.9

    def share_of(self, name: str) -> float:
        """Learning rate of a parameter, as a share of ``learning_rate``."""
        return next((share for start, share in self.shares.items() if name.startswith(start)), 1.0)

    def seed_of(self, epoch: int) -> int:
        """Seed of an epoch's draws where epochs are seeded anew."""
        return self.seed * 100_003 + epoch


@dataclass(frozen=True, slots=True)
class Work(Generic[Model, Example]):
    """What a recipe trains on.

    ``batches(epoch)`` gives an epoch's mini-batches, each a sequence of examples, about ``steps`` of them. The loss of
    a mini-batch is the mean of ``loss(model, example)``; an example whose loss is None adds nothing.
    """

    batches: Callable[[int], Iterable[Sequence[Example]]]
    steps: int
    loss: Callable[[Model, Example], Tensor | None]


@dataclass(frozen=True, slots=True)
class Validation(Generic[Model, Verdict]):
    """Early stopping: ``judge`` the averaged model after every epoch by a ``figure`` of the verdict, lower is better.

    ``patience`` epochs without a lower figure end the run.
    """

    judge: Callable[[Model], Verdict]
    figure: Callable[[Verdict], float]
    patience: int


@dataclass(frozen=True, slots=True)
class Epoch(Generic[Verdict]):
    """One finished epoch: mean training loss (NaN without any) and the verdict on the averaged weights."""

    number: int
    loss: float
    validation: Verdict | None


class Loop(Generic[Model, Example, Verdict]):
    """One run over ``model``, which is trained in place; the same seed gives the same run."""

    def __init__(
        self,
        model: Model,
        work: Work[Model, Example],
        settings: Settings,
        validation: Validation[Model, Verdict] | None = None,
    ) -> None:
        self._model, self._work, self._settings, self._validation = model, work, settings, validation
        self._average = copy.deepcopy(model).eval()
        self._best: dict[str, Tensor] = {}
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        self._optimizer = _optimizer(model, settings)
        self.history: list[Epoch[Verdict]] = []

    def run(
        self,
        on_epoch: Callable[[Epoch[Verdict]], Any] = lambda epoch: None,
        on_batch: Callable[[Sequence[Example]], Any] = lambda batch: None,
    ) -> Model:
        """Train for all epochs or until validation ends the run; a restored run goes on after its last epoch.

        Returns the averaged weights of the best epoch, without validation of the last, as a model in evaluation mode.

        Raises:
            FeatureError: a loss that is not finite.
        """
        while len(self.history) < self._settings.epochs and not self._is_over():
            number = len(self.history)
            loss = self._train_epoch(number, on_batch)
            self.history.append(Epoch(number, loss, self._judged()))
            if self.best_epoch() == number:
                self._best = {name: tensor.clone() for name, tensor in self._average.state_dict().items()}
            on_epoch(self.history[-1])
        if self._best:
            self._average.load_state_dict(self._best)
        return self._average

    def best_epoch(self) -> int | None:
        """The first epoch of the lowest figure; None without a figure so far."""
        best, least = None, math.inf
        for epoch in self.history:
            if self._validation is not None and epoch.validation is not None:
                figure = self._validation.figure(epoch.validation)
                if figure < least:
                    best, least = epoch.number, figure
        return best

    def state(self) -> Groups:
        """Tensors that, with the history, let a run of the same settings go on."""
        return {
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "best": self._best,
            "optimizer": optimizer_tensors(self._optimizer, self._names),
        }

    def restore(self, groups: Groups, history: Sequence[Epoch[Verdict]]) -> None:
        """Put back what ``state`` and ``history`` were."""
        self._model.load_state_dict(groups["model"])
        self._average.load_state_dict(groups["average"])
        self._best = groups.get("best", {})
        restore_optimizer(self._optimizer, self._names, groups["optimizer"])
        self.history = list(history)

    def _is_over(self) -> bool:
        if self._validation is None or not self.history:
            return False
        best = self.best_epoch()
        return len(self.history) - (0 if best is None else best + 1) >= self._validation.patience

    @torch.inference_mode()
    def _judged(self) -> Verdict | None:
        return None if self._validation is None else self._validation.judge(self._average)

    def _train_epoch(self, number: int, on_batch: Callable[[Sequence[Example]], Any]) -> float:
        settings = self._settings
        if settings.reseed:
            torch.manual_seed(settings.seed_of(number))
        elif number == 0:
            torch.manual_seed(settings.seed)
        self._model.train()
        losses: list[float] = []
        for step, batch in enumerate(self._work.batches(number)):
            place = Place(number, step, self._work.steps, settings.epochs)
            for group in self._optimizer.param_groups:
                group["lr"] = settings.learning_rate * group["share"] * settings.schedule(place)
            losses += self._step(batch)
            self._update_average(place.number)
            on_batch(batch)
        return float(np.mean(losses)) if losses else math.nan

    def _step(self, batch: Sequence[Example]) -> list[float]:
        self._optimizer.zero_grad()
        losses = []
        for example in batch:
            loss = self._work.loss(self._model, example)
            if loss is not None:
                losses.append(_finite(loss.item()))
                torch.autograd.backward(loss / len(batch))  # one graph in memory at a time
        if losses:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.gradient_clip)
            self._optimizer.step()
        return losses

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        decay = min(self._settings.ema_decay, (number + 1) / (number + 10))  # short memory at first
        for average, parameter in zip(self._average.parameters(), self._model.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise FeatureError(f"loss: expected a finite value, got {loss}: too large features or a too high learning_rate")
    return loss


def _optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    groups, rate, decay = _groups(model, settings), settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, momentum=settings.momentum, weight_decay=decay)
    return torch.optim.AdamW(groups, rate, betas=settings.betas, weight_decay=decay)


def _groups(model: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """Parameters by their share of the learning rate, in the order of the model."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(settings.share_of(name), []).append(parameter)
    return [{"params": parameters, "share": share} for share, parameters in groups.items()]
