"""The loop that every phase shares: AdamW on groups of movies, averaged weights, early stopping."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from megaseg.training.act.config import ActConfig

Loss = Callable[[nn.Module, int], Tensor | None]


def fit(
    model: nn.Module,
    movies: int,
    loss: Loss,
    config: ActConfig,
    epochs: int,
    seed: int,
    *,
    judge: Callable[[nn.Module], float] | None = None,
    patience: int = 0,
    on_epoch: Callable[[int, float, float | None], None] = lambda epoch, loss, figure: None,
) -> nn.Module:
    """Train ``model`` in place and return its averaged weights as a model of its own, in evaluation mode.

    ``loss(model, movie)`` is one movie's loss, None where it has none. With ``judge`` (of the averaged model; lower is
    better) the best epoch's weights are returned, and ``patience`` epochs without a better one end the phase. The same
    seed gives the same run.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )
    average = copy.deepcopy(model).eval()
    steps = math.ceil(movies / config.batch_size)
    best, best_figure, age = None, math.inf, 0
    for epoch in range(epochs):
        model.train()
        losses = []
        order = rng.permutation(movies)
        for step, group in enumerate(np.array_split(order, steps)):
            rate = _schedule((epoch + step / steps) / epochs, config.warmup)
            for parameters in optimizer.param_groups:
                parameters["lr"] = config.learning_rate * rate
            losses += _step(model, optimizer, loss, group.tolist(), config.gradient_clip)
            _follow(average, model, min(config.ema_decay, (epoch * steps + step + 1) / (epoch * steps + step + 10)))
        figure = None if judge is None else judge(average)
        on_epoch(epoch, float(np.mean(losses)) if losses else math.nan, figure)
        if figure is not None:
            age += 1
            if figure < best_figure:
                best, best_figure, age = copy.deepcopy(average.state_dict()), figure, 0
            if age >= patience:
                break
    if best is not None:
        average.load_state_dict(best)
    return average


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, group: Sequence[int], clip: float
) -> list[float]:
    optimizer.zero_grad()
    losses = []
    for movie in group:
        own = loss(model, movie)
        if own is not None:
            torch.autograd.backward(own / len(group))
            losses.append(own.item())
    if losses:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return losses


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    for kept, parameter in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(parameter, 1 - decay)


def _schedule(done: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to zero; ``done`` is the finished share of the phase."""
    return min(1.0, done / warmup if warmup else 1.0) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
