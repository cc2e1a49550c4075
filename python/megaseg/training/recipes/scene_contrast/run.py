"""A run of scene contrast: movies and scene pairs to a scene encoder, a log, and a state to go on from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import ENCODER, Checkpoint, save_checkpoint
from megaseg.models.shot_encoders import saved
from megaseg.pipelines.mined_pairs import MinedPairs
from megaseg.training.logged import LoggedRun
from megaseg.training.loop import Loop, Settings, Validation, Work, cosine
from megaseg.training.objectives.momentum_contrast import contrast_logits, momentum_contrast
from megaseg.training.recipes.scene_contrast.batches import SceneBatch
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig
from megaseg.training.recipes.scene_contrast.models import Keys, SceneProjection
from megaseg.training.recipes.scene_contrast.setup import Prepared, prepare
from megaseg.training.recipes.scene_contrast.start import keep_layers
from megaseg.training.scaling import unscaled

_MOST_JUDGED = 2048  # held-out pairs
Figures = dict[str, float]


def pretrain_scene_contrast(
    movies: Mapping[str, Features],
    pairs: MinedPairs | None,
    config: SceneContrastConfig,
    folder: Path,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
    advance: Callable[[int], None] = lambda pairs: None,
    notes: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Pretrain a scene encoder on scene pairs; writes ``encoder.safetensors`` and ``log.jsonl`` into ``folder``.

    An interrupted run goes on after its last epoch, to the same bits, when it is called again. With scene pairs between
    held-out movies, each epoch is judged by its loss and ``accuracy`` on them, how often a scene is nearer to its
    partner than to the scenes of all other movies, and the best epoch's weights are kept; else the last one's.

    Args:
        movies: features by name; those without a scene pair are not read. Halves of scenes need their labels.
        pairs: scene pairs of these movies; None where positives are halves of scenes.
        config: everything else that fixes the run.
        folder: of the run; made if it is not there.
        report: called with every line of the log.
        advance: called with the number of pairs of every batch.
        notes: more of what the checkpoint's metadata ``training`` says.

    Raises:
        FeatureError: scene pairs of other movies, movies that cannot be learnt from or that are too few for negatives,
            or a loss that is not finite.
        CheckpointError: a config that does not fit the movies, or the state of another run.
        ResourceLimitError: a batch that does not fit the memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = prepare(movies, pairs, config)
    run = _Run(own, config)
    data = [*own.parts.values(), [own.content]]
    logged = LoggedRun(run.loop, folder, config, data, companion=run.keys)
    encoder = unscaled(saved(logged.train(report, advance).encoder, None), own.scalings)
    best, mined_by = logged.best(), None if pairs is None else pairs.encoder
    training = {
        **(notes or {}),
        "config": dataclasses.asdict(config),
        "data": {"recipe": encoder.config.recipe, **own.parts, "mined_by": mined_by, "positives": len(own.train)},
        "epochs": 0 if best is None else best["epoch"] + 1,
        "validation": {} if best is None else best.get("validation", {}),
    }
    checkpoint = Checkpoint(encoder.config, encoder.tensors, {"training": json.dumps(training)})
    save_checkpoint(folder / ENCODER, checkpoint)
    logged.finish()
    return checkpoint


class _Run:
    """The loop of one run, and its keys."""

    def __init__(self, own: Prepared, config: SceneContrastConfig) -> None:
        self._own, self._config = own, config
        self._settings = Settings(
            config.epochs, config.learning_rate, cosine(config.warmup), config.weight_decay, config.seed,
            gradient_clip=config.gradient_clip, ema_decay=config.ema_decay, reseed=True,
        )  # fmt: skip
        torch.manual_seed(config.seed)
        model = SceneProjection(own.model, config.projection_size, config.projection_layers, config.start)
        if config.keep_layers:
            keep_layers(model.encoder)
        self.keys = Keys(model, own.queue_size, own.related, config.key_momentum)
        self._held = own.validate.fixed(config.length, _MOST_JUDGED) if len(own.validate) else None
        judged = self._held is not None and self._negatives(self._held.owners).any()
        validation = Validation(self._judge, lambda figures: figures["loss"], config.patience) if judged else None
        steps = math.ceil(min(len(own.train), config.pairs_per_epoch or len(own.train)) / config.batch_size)
        self.loop: Loop[SceneProjection, SceneBatch, Figures] = Loop(
            model, Work(self._batches, steps, self._loss), self._settings, validation
        )

    def _batches(self, epoch: int) -> Iterator[Sequence[SceneBatch]]:
        generator = torch.Generator().manual_seed(self._settings.seed_of(epoch))
        return ((batch,) for batch in self._own.train.training(self._config, generator))

    def _loss(self, model: SceneProjection, batch: SceneBatch) -> Tensor | None:
        keys = self.keys.next(model, batch.keys, batch.owners[:, 1])
        queue, permitted = self.keys.negatives(batch.owners)
        return momentum_contrast(model(batch.queries), keys, queue, permitted, self._config.temperature)

    def _negatives(self, owners: Tensor) -> Tensor:
        """Which held-out keys (n,) the positives of these owners (n, 2) may have."""
        return self._own.related.allowed(owners, owners[:, 1])

    def _judge(self, model: SceneProjection) -> Figures:
        assert self._held is not None
        queries, keys = model(self._held.queries), model(self._held.keys)
        permitted = self._negatives(self._held.owners)
        logits = contrast_logits(queries, keys, keys, permitted, self._config.temperature)[permitted.any(1)]
        losses = logits.logsumexp(1) - logits[:, 0]
        nearest = logits[:, 0] > logits[:, 1:].max(1).values
        return {"loss": float(losses.mean()), "accuracy": float(nearest.float().mean())}
