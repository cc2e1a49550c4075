"""One scene model: every row of a random window is a target; of a centred window only the centre row serves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.mega import MegaConfig
from megaseg.evaluation.metrics import SceneMetrics, best_threshold, scene_metrics
from megaseg.models import Mega, to_checkpoint
from megaseg.training.corpus import Corpus, WindowBatch
from megaseg.training.loop import Epoch, Loop, Settings, Validation, Work, cosine
from megaseg.training.objectives.boundary import weighted_cross_entropy
from megaseg.training.recipes.scene.config import SceneConfig
from megaseg.training.scaling import fit_scalings, unscaled
from megaseg.training.state import StateFile, content_of

SceneEpoch = Epoch[SceneMetrics]
_EVALUATION_BATCH = 256


class SceneTrainer:
    """One run on ``train``, stopped by AP on ``validation``; its state is kept at ``state_path`` after every epoch."""

    def __init__(self, config: SceneConfig, train: Corpus, validation: Corpus, state_path: Path) -> None:
        self._scalings = fit_scalings(train.rows, config.components)
        self._train, self._validation = train.scaled(self._scalings), validation.scaled(self._scalings)
        content = content_of(array for part in (train, validation) for array in (*part.rows.values(), part.labels))
        self._config = config
        self._state = StateFile(state_path, config, (train.names, validation.names, [content]))
        self._settings = Settings(
            config.epochs,
            config.learning_rate,
            cosine(config.warmup),
            config.weight_decay,
            config.seed,
            gradient_clip=config.gradient_clip,
            ema_decay=config.ema_decay,
            reseed=True,
        )
        torch.manual_seed(config.seed)
        windows = sum(math.ceil(int(n) / config.window_stride) for n in train.edges.diff())
        steps = math.ceil(windows / config.batch_size)  # to within one window a movie
        self._loop: Loop[Mega, WindowBatch, SceneMetrics] = Loop(
            _new_model(config, self._train),
            Work(self._batches, steps, self._loss),
            self._settings,
            Validation(self._validate, lambda metrics: -metrics.ap, config.patience),
        )

    def run(
        self,
        on_epoch: Callable[[SceneEpoch], None] = lambda epoch: None,
        advance: Callable[[int], None] = lambda windows: None,
    ) -> tuple[Checkpoint, list[SceneEpoch]]:
        """Train until ``epochs`` or until validation AP has not risen for ``patience`` epochs.

        Goes on where an earlier run stopped. Returns the best epoch's averaged weights, features' scalings folded into
        the projections, and all epochs.

        Raises:
            CheckpointError: a state file of another configuration or other movies.
        """
        found = self._state.load()
        if found is not None:
            groups, progress = found
            history = [Epoch(e["number"], e["loss"], SceneMetrics(**e["validation"])) for e in progress["history"]]
            self._loop.restore(groups, history)

        def keep(epoch: SceneEpoch) -> None:
            self._state.save(self._loop.state(), {"history": [dataclasses.asdict(e) for e in self._loop.history]})
            on_epoch(epoch)

        model = self._loop.run(keep, lambda batch: advance(len(batch[0].labels)))
        checkpoint = unscaled(to_checkpoint(model), self._scalings)
        best = best_of(self._loop.history)
        config = checkpoint.config.replaced(threshold=best.threshold)
        return Checkpoint(config, checkpoint.tensors), list(self._loop.history)

    def _batches(self, epoch: int) -> Iterator[Sequence[WindowBatch]]:
        config = self._config
        generator = torch.Generator().manual_seed(self._settings.seed_of(epoch))
        windows = self._train.training_windows(
            config.max_length, config.window_stride, config.batch_size, generator, config.block_dropout
        )
        return ((batch,) for batch in windows)

    def _loss(self, model: Mega, batch: WindowBatch) -> Tensor:
        logits = model(batch.features)[batch.counts]
        return weighted_cross_entropy(logits, batch.labels[batch.counts], self._config.positive_weight)

    def _validate(self, model: Mega) -> SceneMetrics:
        length, corpus = self._config.max_length, self._validation
        scores = torch.zeros(len(corpus.labels))
        for features, centres in corpus.centred_windows(length, _EVALUATION_BATCH):
            scores[centres] = model(features)[:, length // 2].softmax(-1)[:, 1]
        return _metrics(corpus, scores.numpy())


def best_of(history: Sequence[SceneEpoch]) -> SceneMetrics:
    """Figures of the epoch of highest AP."""
    return max((epoch.validation for epoch in history if epoch.validation is not None), key=lambda own: own.ap)


def _new_model(config: SceneConfig, corpus: Corpus) -> Mega:
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
    model.spread_positions(config.position_std)
    return model


def _metrics(corpus: Corpus, scores: NDArray[np.float32]) -> SceneMetrics:
    edges = corpus.edges.tolist()
    spans = {name: slice(edges[k], edges[k + 1]) for k, name in enumerate(corpus.names)}
    labels = {name: corpus.labels[span].numpy().astype(np.uint8) for name, span in spans.items()}
    truth = np.concatenate([marks[:-1] for marks in labels.values()])
    found = {name: scores[span] for name, span in spans.items()}
    threshold = best_threshold(truth, np.concatenate([part[:-1] for part in found.values()]))
    return scene_metrics(labels, found, threshold)
