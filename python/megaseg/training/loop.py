"""Train MEGA on the scene task: every row of a random window is a target; the centre row of a centred one serves."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.mega import MegaConfig
from megaseg.errors import CheckpointError
from megaseg.evaluation.metrics import SceneMetrics, best_threshold, scene_metrics
from megaseg.models import Mega, to_checkpoint
from megaseg.training.config import TrainingConfig
from megaseg.training.corpus import Corpus
from megaseg.training.scaling import fit_scalings
from megaseg.training.state import load_state, optimizer_tensors, restore_optimizer, save_state

_EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class Epoch:
    """One finished epoch: mean training loss and the averaged weights' figures on validation."""

    number: int
    loss: float
    validation: SceneMetrics


class Trainer:
    """One run: model, averaged weights, optimiser; ``run`` goes on from ``state_path`` where an earlier run stopped."""

    def __init__(self, config: TrainingConfig, train: Corpus, validation: Corpus, state_path: Path) -> None:
        self._scalings = fit_scalings(train.rows, config.components)
        self._raw = train.modalities
        self._train, self._validation = train.scaled(self._scalings), validation.scaled(self._scalings)
        self._config, self._state_path = config, state_path
        torch.manual_seed(config.seed)
        self._model = _new_model(config, self._train)
        self._average = copy.deepcopy(self._model).eval()
        self._best: dict[str, Tensor] = {}
        self._names: dict[Tensor, str] = {p: name for name, p in self._model.named_parameters()}
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
        self._history: list[Epoch] = []

    def run(
        self,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
        advance: Callable[[int], None] = lambda rows: None,
    ) -> tuple[Checkpoint, list[Epoch]]:
        """Train until ``epochs`` or until validation AP has not risen for ``patience`` epochs.

        Returns the best epoch's averaged weights, features' scalings folded into the projections, and all epochs.

        Raises:
            CheckpointError: a state file of another configuration or other movies.
        """
        if self._state_path.exists():
            self._resume()
        while len(self._history) < self._config.epochs and self._best_age() < self._config.patience:
            number = len(self._history)
            loss = self._train_epoch(number, advance)
            epoch = Epoch(number, loss, self._validate(self._average))
            self._history.append(epoch)
            if self._best_age() == 0:
                self._best = {name: tensor.clone() for name, tensor in self._average.state_dict().items()}
            self._save()
            on_epoch(epoch)
        self._average.load_state_dict(self._best)
        best = max(self._history, key=lambda epoch: epoch.validation.ap)
        return self._folded(best.validation.threshold), list(self._history)

    def _best_age(self) -> int:
        figures = [epoch.validation.ap for epoch in self._history]
        return len(figures) - 1 - figures.index(max(figures)) if figures else 0

    def _train_epoch(self, number: int, advance: Callable[[int], None]) -> float:
        config = self._config
        # Seeded by epoch, so that a resumed run draws what an uninterrupted one would.
        generator = torch.Generator().manual_seed(config.seed * 100_003 + number)
        torch.manual_seed(config.seed * 100_003 + number)
        windows = sum(math.ceil(int(n) / config.window_stride) for n in self._train.edges.diff())
        steps = math.ceil(windows / config.batch_size)  # to within one window a movie
        losses = []
        self._model.train()
        for step, (features, labels, counts) in enumerate(self._train.training_windows(config, generator)):
            done = (number + min(1.0, step / steps)) / config.epochs
            self._set_rate(config.learning_rate * _schedule(done, config.warmup))
            loss = self._loss(features, labels, counts)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self._model.parameters(), config.gradient_clip)
            self._optimizer.step()
            self._update_average(number * steps + step)
            losses.append(loss.item())
            advance(len(labels))
        return float(np.mean(losses))

    def _set_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _loss(self, features: dict[str, Tensor], labels: Tensor, counts: Tensor) -> Tensor:
        """Weighted cross-entropy over the rows that count."""
        weight = torch.tensor([1.0, self._config.positive_weight])
        logits = self._model(features)[counts]
        return functional.cross_entropy(logits, labels[counts], weight)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self._config.ema_decay, (step + 1) / (step + 10))  # short memory at first
        for average, parameter in zip(self._average.parameters(), self._model.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)

    @torch.inference_mode()
    def _validate(self, model: Mega) -> SceneMetrics:
        length, corpus = self._config.max_length, self._validation
        scores = torch.zeros(len(corpus.labels))
        for features, centres in corpus.centred_windows(length, _EVALUATION_BATCH):
            scores[centres] = model(features)[:, length // 2].softmax(-1)[:, 1]
        return _metrics(corpus, scores.numpy())

    def _folded(self, threshold: float) -> Checkpoint:
        """The averaged model on raw features."""
        checkpoint = to_checkpoint(self._average)
        tensors = dict(checkpoint.tensors)
        for name, scaling in self._scalings.items():
            keys = f"modalities.{name}.proj.weight", f"modalities.{name}.proj.bias"
            folded = scaling.folded(*(torch.from_numpy(tensors[key]) for key in keys))
            tensors |= {key: tensor.numpy() for key, tensor in zip(keys, folded, strict=True)}
        config = checkpoint.config.replaced(modalities=self._raw, threshold=threshold)
        return Checkpoint(config, tensors)

    def _identity(self) -> dict[str, Any]:
        """What a state file must share with this run to be its continuation."""
        movies = [list(self._train.names), list(self._validation.names)]
        return json.loads(json.dumps({"config": dataclasses.asdict(self._config), "movies": movies}))  # type: ignore[no-any-return]

    def _save(self) -> None:
        history = [dataclasses.asdict(epoch) for epoch in self._history]
        groups = {
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "best": self._best,
            "optimizer": optimizer_tensors(self._optimizer, self._names),
        }
        save_state(self._state_path, groups, {**self._identity(), "history": history})

    def _resume(self) -> None:
        groups, progress = load_state(self._state_path)
        history = progress.pop("history")
        if progress != self._identity():
            raise CheckpointError(
                f"{self._state_path}: expected the state of this configuration and these movies, got another run's; "
                "remove it to start afresh"
            )
        self._model.load_state_dict(groups["model"])
        self._average.load_state_dict(groups["average"])
        self._best = groups["best"]
        restore_optimizer(self._optimizer, self._names, groups["optimizer"])
        self._history = [Epoch(e["number"], e["loss"], SceneMetrics(**e["validation"])) for e in history]


def _new_model(config: TrainingConfig, corpus: Corpus) -> Mega:
    model = Mega(
        MegaConfig(
            task="scene",
            modalities=corpus.modalities,
            max_length=config.max_length,
            num_bottleneck=config.num_bottleneck,
            hidden_size=config.hidden_size,
            ffn_size=config.ffn_size,
            num_heads=config.num_heads,
            num_unimodal_layers=config.num_unimodal_layers,
            num_fusion_layers=config.num_fusion_layers,
            num_classes=2,
            dropout=config.dropout,
            recipe=corpus.recipe,
        )
    )
    for name, parameter in model.named_parameters():
        if name.endswith("position.weight"):
            nn.init.normal_(parameter, std=config.position_std)
    return model


def _schedule(done: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to zero; ``done`` is the finished share of the run."""
    return min(1.0, done / warmup if warmup else 1.0) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _metrics(corpus: Corpus, scores: NDArray[np.float32]) -> SceneMetrics:
    edges = corpus.edges.tolist()
    spans = {name: slice(edges[k], edges[k + 1]) for k, name in enumerate(corpus.names)}
    labels = {name: corpus.labels[span].numpy().astype(np.uint8) for name, span in spans.items()}
    truth = np.concatenate([marks[:-1] for marks in labels.values()])
    found = {name: scores[span] for name, span in spans.items()}
    threshold = best_threshold(truth, np.concatenate([part[:-1] for part in found.values()]))
    return scene_metrics(labels, found, threshold)
