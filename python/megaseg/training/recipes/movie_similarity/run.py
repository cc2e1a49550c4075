"""A run that learns which movies are similar: movies and pairs to a movie encoder, a log, and a state to go on from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import ENCODER, Checkpoint, save_checkpoint
from megaseg.models.shot_encoders import saved
from megaseg.training.logged import LoggedRun
from megaseg.training.loop import Loop, Settings, Validation, Work, cosine
from megaseg.training.recipes.movie_similarity.batches import (
    Movies,
    PairBatch,
    Reader,
    pairs_of_movies,
    similar_and_others,
)
from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig
from megaseg.training.recipes.movie_similarity.figures import Figures, pair_figures
from megaseg.training.recipes.movie_similarity.models import MovieSimilarity
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs
from megaseg.training.recipes.movie_similarity.setup import Prepared, prepare
from megaseg.training.scaling import unscaled
from megaseg.training.state import content_of

Vectors = dict[str, NDArray[np.float32]]


def train_movie_similarity(
    movies: Mapping[str, Features],
    pairs: MoviePairs,
    config: MovieSimilarityConfig,
    folder: Path,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
    advance: Callable[[int], None] = lambda pairs: None,
    notes: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Learn which movies are similar; writes ``encoder.safetensors`` and ``log.jsonl`` into ``folder``.

    An interrupted run goes on after its last epoch, to the same bits, when it is called again. Metadata ``training`` of
    the checkpoint has the figures of the movies that were kept out: ``test`` and ``validation``, each of the pairs of
    two such movies (``both``) and of one with a movie that is trained on (``one``), and the same of the ``baseline``,
    the cosine of the mean scaled features.

    Args:
        movies: features by name; those of no pair are not read.
        pairs: of these movies.
        config: everything else that fixes the run.
        folder: of the run; made if it is not there.
        report: called with every line of the log.
        advance: called with the number of pairs of every batch.
        notes: more of what the checkpoint's metadata ``training`` says.

    Raises:
        FeatureError: movies or pairs that cannot be learnt from, or a loss that is not finite.
        CheckpointError: a config that does not fit the movies, or the state of another run.
        ResourceLimitError: a batch that does not fit the memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(prepare(movies, pairs, config), config, folder)
    model = run.logged.train(report, advance)
    encoder = unscaled(dataclasses.replace(saved(model.encoder, None), config=model.config()), run.own.scalings)
    best = run.logged.best()
    training = {
        **(notes or {}),
        "config": dataclasses.asdict(config),
        "data": {"recipe": encoder.config.recipe, **run.own.parts, "remarks": list(pairs.remarks)},
        "epochs": 0 if best is None else best["epoch"] + 1,
        **run.figures(model),
    }
    checkpoint = Checkpoint(encoder.config, encoder.tensors, {"training": json.dumps(training)})
    save_checkpoint(folder / ENCODER, checkpoint)
    run.logged.finish()
    return checkpoint


class _Run:
    """One run: its movies, its model and its loop."""

    def __init__(self, own: Prepared, config: MovieSimilarityConfig, folder: Path) -> None:
        self.own, self._config = own, config
        self._reader = Reader(own.films, config.max_length)
        self._settings = Settings(
            config.epochs, config.learning_rate, cosine(config.warmup), config.weight_decay, config.seed,
            gradient_clip=config.gradient_clip, ema_decay=config.ema_decay, reseed=True,
            optimizer=config.optimizer, momentum=config.momentum,
        )  # fmt: skip
        self._train = own.between("train", "train")
        self._held = own.between("validation", "validation")
        covered = math.ceil(len(own.parts["train"]) / (config.movies_per_batch or 1))
        steps = covered if config.movies_per_batch else math.ceil(self._train.similar.sum() / (config.batch_size // 2))
        judged = pair_figures(self._held, self._means(own.parts["validation"]))["auc"] is not None
        validation = Validation(self._judge, _worth, config.patience) if judged else None
        torch.manual_seed(config.seed)
        model = MovieSimilarity(own.model, float(self._train.similar.mean()) if config.movies_per_batch else 0.5)
        model.centre(map(self._whole, own.parts["train"]))
        loop: Loop[MovieSimilarity, PairBatch, Figures] = Loop(
            model, Work(self._batches, steps, self._loss), self._settings, validation
        )
        data = [*own.parts.values(), [own.content, content_of([own.pairs.pairs, own.pairs.similar])]]
        self.logged = LoggedRun(loop, folder, config, data)

    @torch.inference_mode()
    def figures(self, model: MovieSimilarity) -> dict[str, Any]:
        """Figures of the movies that were kept out, and those of the baseline."""
        every = [name for part in self.own.parts.values() for name in part]
        found: dict[str, Any] = {}
        for part in ("validation", "test"):
            if not self.own.parts[part]:
                continue
            found[part] = {}
            for kind, vectors in (("model", self._vectors(model, every)), ("baseline", self._means(every))):
                both, one = (pair_figures(self.own.between(part, other), vectors) for other in (part, "train"))
                found[part][kind] = {"both": both, "one": one}
        return found

    def _batches(self, epoch: int) -> Iterator[Sequence[PairBatch]]:
        config = self._config
        generator = torch.Generator().manual_seed(self._settings.seed_of(epoch))
        kind, size = similar_and_others, config.batch_size
        if config.movies_per_batch:
            kind, size = pairs_of_movies, config.movies_per_batch
        made = kind(self._train, self.own.numbers, self._reader, size, config.drop_share, generator)
        return ((batch,) for batch in made)

    def _loss(self, model: MovieSimilarity, batch: PairBatch) -> Tensor | None:
        return model.loss(batch) if len(batch) else None

    def _judge(self, model: MovieSimilarity) -> Figures:
        return pair_figures(self._held, self._vectors(model, self.own.parts["validation"]))

    def _vectors(self, model: MovieSimilarity, names: Sequence[str]) -> Vectors:
        return {name: model.vectors(self._whole(name))[0].numpy() for name in names}

    def _means(self, names: Sequence[str]) -> Vectors:
        """The mean scaled features of movies."""
        wholes = {name: self._whole(name).features.values() for name in names}
        return {name: torch.cat([rows[0].mean(0) for rows in own]).numpy() for name, own in wholes.items()}

    def _whole(self, name: str) -> Movies:
        return self._reader.whole(self.own.films.names.index(name))


def _worth(figures: Figures) -> float:
    """The figure that chooses an epoch, lower is better."""
    return math.inf if figures["auc"] is None else -float(figures["auc"])
