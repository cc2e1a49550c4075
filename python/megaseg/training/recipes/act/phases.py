"""The three phases: synopsis model, M-step of the synchronisation, knowledge transfer; each is one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from megaseg.models import Mega
from megaseg.training.loop import Epoch, Loop, Model, Settings, Validation, Work, cosine
from megaseg.training.objectives.distillation import divergence
from megaseg.training.objectives.synchronisation import contrastive
from megaseg.training.objectives.turning_points import cross_entropy
from megaseg.training.recipes.act.config import ActConfig
from megaseg.training.recipes.act.data import ActMovie
from megaseg.training.recipes.act.embeddings import Pair, batch
from megaseg.training.recipes.act.model import SENTENCE, ShotModel

Report = Callable[[Epoch[float]], None]
Targets = Sequence[tuple[ActMovie, Tensor]]  # movies and p (scenes, 5)


def train_synopsis(
    model: Mega,
    movies: Sequence[ActMovie],
    validation: Sequence[ActMovie],
    config: ActConfig,
    seed: int,
    report: Report,
) -> Mega:
    """Phase 1: turning points of labelled synopses, cross-entropy to the annotators' shares over sentences."""

    def loss(net: Mega, index: int) -> Tensor:
        movie = movies[index]
        noisy = movie.sentences + config.noise * movie.sentences.std() * torch.randn_like(movie.sentences)
        return cross_entropy(net({SENTENCE: noisy[None]})[0], movie.labels)

    def judge(net: Mega) -> float:
        return _mean_loss((net({SENTENCE: m.sentences[None]})[0], m.labels) for m in validation)

    return _loop(
        model, len(movies), loss, config, config.synopsis_epochs, seed, judge if validation else None
    ).run(report)  # fmt: skip


def maximisation(
    pair: Pair, movies: Sequence[ActMovie], positives: Sequence[Tensor], config: ActConfig, seed: int, report: Report
) -> Pair:
    """M-step: ``round_epochs`` epochs of the contrastive loss on fixed W; a movie whose W is all zero has no loss."""

    def loss(net: Pair, index: int) -> Tensor | None:
        movie = movies[index]
        u, v = net(jittered(movie.scenes, config), movie.sentences)
        return contrastive(u, v, positives[index], config.temperature)

    return _loop(pair, len(movies), loss, config, config.round_epochs, seed).run(report)


def distil(
    model: ShotModel, train: Targets, validation: Targets, config: ActConfig, seed: int, report: Report
) -> ShotModel:
    """Phase 3, Eqs. 7 and 8: o, softmax over scenes of the logits, towards p; scenes are left out at random."""

    def loss(net: ShotModel, index: int) -> Tensor:
        movie, target = train[index]
        kept = torch.rand(movie.num_scenes) >= config.scene_dropout
        kept[torch.randint(movie.num_scenes, (1,))] = True
        logits = net(batch(jittered({name: rows[kept] for name, rows in movie.scenes.items()}, config)))[0]
        return divergence(logits, target[kept], reverse=config.reverse)

    def judge(net: ShotModel) -> float:
        return _mean_loss((net(batch(movie.scenes))[0], target) for movie, target in validation)

    return _loop(model, len(train), loss, config, config.epochs, seed, judge if validation else None).run(report)


def jittered(scenes: Mapping[str, Tensor], config: ActConfig) -> dict[str, Tensor]:
    """Scaled features with noise."""
    return {name: rows + config.noise * torch.randn_like(rows) for name, rows in scenes.items()}


def _loop(
    model: Model,
    movies: int,
    loss: Callable[[Model, int], Tensor | None],
    config: ActConfig,
    epochs: int,
    seed: int,
    judge: Callable[[Model], float] | None = None,
) -> Loop[Model, int, float]:
    """The loop of a phase, over mini-batches of ``batch_size`` movies in random order."""
    rng = np.random.default_rng(seed)
    steps = math.ceil(movies / config.batch_size)

    def batches(epoch: int) -> list[list[int]]:
        return [group.tolist() for group in np.array_split(rng.permutation(movies), steps)]

    settings = Settings(
        epochs,
        config.learning_rate,
        cosine(config.warmup),
        config.weight_decay,
        seed,
        gradient_clip=config.gradient_clip,
        ema_decay=config.ema_decay,
    )
    validation = None if judge is None else Validation(judge, float, config.patience)
    return Loop(model, Work(batches, steps, loss), settings, validation)


def _mean_loss(pairs: Iterator[tuple[Tensor, Tensor]]) -> float:
    """Mean cross-entropy of (logits, targets) by movie."""
    return float(np.mean([cross_entropy(logits, targets).item() for logits, targets in pairs]))
