"""A pretraining run: films without labels to an encoder, its losses a line an epoch, and a state to go on from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import ENCODER, Checkpoint, save_checkpoint
from megaseg.errors import FeatureError
from megaseg.evaluation.split import held_out
from megaseg.models.shot_encoders import saved
from megaseg.training.logged import LoggedRun
from megaseg.training.loop import Loop, Settings, Validation, Work, cosine
from megaseg.training.recipes.pretrain.batches import Batch, Changes, Windows
from megaseg.training.recipes.pretrain.checks import check_films
from megaseg.training.recipes.pretrain.config import PretrainConfig
from megaseg.training.recipes.pretrain.films import Films, fitted
from megaseg.training.recipes.pretrain.memory import check_memory
from megaseg.training.recipes.pretrain.models import ContextualizerPretraining, LongRangePretraining
from megaseg.training.recipes.pretrain.setup import new_model, roles_of
from megaseg.training.scaling import unscaled
from megaseg.training.state import content_of_movies

SCENES = "scenes.safetensors"
Losses = dict[str, float]  # by name, and ``loss``, their sum (Eq. 7)
Model = ContextualizerPretraining | LongRangePretraining


def pretrain(
    movies: Mapping[str, Features],
    config: PretrainConfig,
    folder: Path,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
    advance: Callable[[int], None] = lambda windows: None,
    notes: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Pretrain an encoder on films; writes ``encoder.safetensors`` and ``log.jsonl`` into ``folder``.

    With splices the same encoder is there as a scene model, too, ``scenes.safetensors``, which no label has seen.

    An interrupted run goes on after its last epoch, to the same bits, when it is called again.

    Args:
        movies: features by film; labels are not read.
        config: everything else that fixes the run.
        folder: of the run; made if it is not there.
        report: called with every line of the log.
        advance: called with the number of windows of every batch.
        notes: more of what the checkpoint's metadata ``training`` says.

    Raises:
        FeatureError: films that cannot be pretrained on, or a loss that is not finite.
        CheckpointError: a config that does not fit the films, or the state of another run.
        ResourceLimitError: a batch that does not fit the memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(movies, config, folder)
    checkpoint, scenes = run.train(report, advance)
    best = run.logged.best()
    training = {
        **(notes or {}),
        "config": dataclasses.asdict(config),
        "data": {"recipe": checkpoint.config.recipe, "films": list(run.train_names), "held_out": list(run.held_out)},
        "epochs": 0 if best is None else best["epoch"] + 1,
        "validation": {} if best is None else best.get("validation", {}),
    }
    checkpoint = Checkpoint(checkpoint.config, checkpoint.tensors, {"training": json.dumps(training)})
    save_checkpoint(folder / ENCODER, checkpoint)
    if scenes is not None:
        save_checkpoint(folder / SCENES, Checkpoint(scenes.config, scenes.tensors, checkpoint.metadata))
    run.logged.finish()
    return checkpoint


class _Run:
    """One run: its films, its model and its loop."""

    def __init__(self, movies: Mapping[str, Features], config: PretrainConfig, folder: Path) -> None:
        self._config = config
        roles = roles_of(movies, config)
        names = list(dict.fromkeys(roles.values()))
        language = roles.get("language") if config.family == "long_range" else None
        check_films(movies, names, language)
        self.held_out = held_out(list(movies), config.validation_share)
        self.train_names = [name for name in movies if name not in set(self.held_out)]
        train = {name: movies[name] for name in self.train_names}
        self._scalings = fitted(train, names, config.components)
        self._train = self._windows(train, language)
        held = {name: movies[name] for name in self.held_out}
        self._fixed = list(self._windows(held, language).fixed(config.batch_size, config.splice_share)) if held else []
        self._settings = Settings(
            config.epochs, config.learning_rate, cosine(config.warmup), config.weight_decay, config.seed,
            gradient_clip=config.gradient_clip, ema_decay=config.ema_decay, reseed=True,
        )  # fmt: skip
        widths = {name: own.basis.shape[1] for name, own in self._scalings.items()}
        recipe = next(iter(movies.values())).recipe
        with torch.device("meta"):  # a model that does not fit is never made
            parameters = sum(p.numel() for p in new_model(config, roles, widths, recipe).parameters())
        windows = min(config.batch_size, self._train.count())
        check_memory(config, widths, parameters, windows, self._train.most_rows())
        model = new_model(config, roles, widths, recipe)
        self._sums = _Sums()
        validation = Validation(self._judge, lambda losses: losses["loss"], config.patience) if held else None
        steps = max(1, math.ceil(self._train.count() / config.batch_size))
        loop: Loop[Model, Batch, Losses] = Loop(
            model, Work(self._batches, steps, self._loss), self._settings, validation
        )
        data = (self.train_names, self.held_out, [content_of_movies(movies)])
        self.logged = LoggedRun(loop, folder, config, data, lambda epoch: self._sums.means())

    def train(
        self, report: Callable[[dict[str, Any]], None], advance: Callable[[int], None]
    ) -> tuple[Checkpoint, Checkpoint | None]:
        """Train, or go on, and return the encoder of raw features, and with splices the scene model."""
        model = self.logged.train(report, advance)
        encoder = unscaled(saved(model.encoder, None), self._scalings)
        return encoder, None if model.splice is None else _scene_model(encoder, model.splice)

    def _windows(self, movies: Mapping[str, Features], language: str | None) -> Windows:
        share = self._config.mask_share if self._config.has("intra") else 0.0
        films = Films.scaled(movies, self._scalings, language)
        return Windows(films, self._config.length, share, together=self._config.family == "contextualizer")

    def _batches(self, epoch: int) -> Iterator[Sequence[Batch]]:
        config = self._config
        generator = torch.Generator().manual_seed(self._settings.seed_of(epoch))
        self._sums.clear()
        changes = Changes(config.splice_share, config.drop_share)
        batches = self._train.training(config.batch_size, config.windows_together, changes, generator)
        return ((batch,) for batch in batches)

    def _loss(self, model: Model, batch: Batch) -> Tensor | None:
        terms = model(batch)
        self._sums.add(terms)
        return sum(terms.values()) if terms else None

    def _judge(self, model: Model) -> Losses:
        sums = _Sums()
        for batch in self._fixed:
            sums.add(model(batch))
        return sums.means()


def _scene_model(encoder: Checkpoint, splice: torch.nn.Linear) -> Checkpoint:
    """The encoder with a head whose P(boundary) is that the next shot is from elsewhere."""
    weight, bias = (own.detach().numpy().copy() for own in (splice.weight, splice.bias))
    head = {"head.weight": np.concatenate([0 * weight, weight]), "head.bias": np.concatenate([0 * bias, bias])}
    return Checkpoint(encoder.config.replaced(task="scene", num_classes=2), {**encoder.tensors, **head})


class _Sums:
    """Means of losses over batches, each over the batches that have it."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._values = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add a batch's losses.

        Raises:
            FeatureError: one is not finite.
        """
        for name, term in terms.items():
            value = float(term.detach())
            if not math.isfinite(value):
                raise FeatureError(f"loss {name}: expected a finite value, got {value}; lower the learning_rate")
            self._values.setdefault(name, []).append(value)

    def means(self) -> Losses:
        """Mean of each loss, and ``loss``, the sum of the means.

        Raises:
            FeatureError: no batch had any.
        """
        if not self._values:
            raise FeatureError("films: expected some with the modalities that the losses compare, got none")
        means = {name: float(np.mean(values)) for name, values in sorted(self._values.items())}
        return {"loss": sum(means.values()), **means}
