"""What a scene contrast trains on: movies, their scene pairs in two parts, and the sizes of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.scene_encoder import SceneEncoderConfig
from megaseg.errors import FeatureError
from megaseg.evaluation.split import held_out
from megaseg.pipelines.mined_pairs import MinedPairs
from megaseg.training.recipes.pretrain.checks import check_films
from megaseg.training.recipes.pretrain.films import Films, fitted, shot_modalities
from megaseg.training.recipes.scene_contrast.batches import Positives, ScenePairs
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig
from megaseg.training.recipes.scene_contrast.halves import SceneHalves
from megaseg.training.recipes.scene_contrast.memory import check_memory
from megaseg.training.recipes.scene_contrast.models import Related, SceneProjection
from megaseg.training.scaling import Scaling
from megaseg.training.state import content_of, content_of_movies


@dataclass(frozen=True, slots=True)
class Prepared:
    """Positives of movies that ``train`` and that ``validate``.

    ``parts`` are the names of these movies, ``related`` says which give each other no negatives, ``queue_size`` is that
    of the run, and ``content`` tells movies and positives of the same names apart.
    """

    scalings: Mapping[str, Scaling]
    parts: Mapping[str, list[str]]
    train: Positives
    validate: Positives
    related: Related
    queue_size: int
    model: SceneEncoderConfig
    content: str


def prepare(movies: Mapping[str, Features], mined: MinedPairs | None, config: SceneContrastConfig) -> Prepared:
    """Check, part and scale what a run trains on.

    Raises:
        FeatureError: scene pairs of other movies, movies that cannot be learnt from, or too few for negatives.
        CheckpointError: components that do not fit. ResourceLimitError: a batch that does not fit the memory.
    """
    own = _movies(movies, mined, config)
    names = shot_modalities(own, config.modalities)
    check_films(own, names, None)
    held = held_out(list(own), config.validation_share)
    parts = {"films": [name for name in own if name not in set(held)], "held_out": held}
    scalings = fitted({name: own[name] for name in parts["films"]}, names, config.components)
    films = Films.scaled(own, scalings, None)
    train, validate = (_positives(films, own, mined, part) for part in parts.values())
    related = _related(len(own), mined, config.excluded)
    _require_negatives(train, related, len(parts["films"]))
    queue_size = min(config.queue_size, len(train), config.pairs_per_epoch or len(train))
    model = _model(scalings, config, next(iter(own.values())).recipe)
    with torch.device("meta"):  # a model that does not fit is never made
        parameters = sum(
            p.numel() for p in SceneProjection(model, config.projection_size, config.projection_layers).parameters()
        )
    check_memory(config, {m.name: m.feature_size for m in model.modalities}, parameters, queue_size)
    arrays = [movie.labels for movie in own.values()] if mined is None else [mined.movies, mined.first]
    content = content_of(arrays, content_of_movies(own) + repr(None if mined is None else mined.names))
    return Prepared(scalings, parts, train, validate, related, queue_size, model, content)


def _movies(
    movies: Mapping[str, Features], mined: MinedPairs | None, config: SceneContrastConfig
) -> Mapping[str, Features]:
    """The movies that have positives of the config's kind."""
    if (mined is None) != (config.positives == "halves"):
        wanted = "none, as positives are halves of scenes" if mined is not None else "some, of which positives are made"
        raise FeatureError(f"scene pairs: expected {wanted}")
    if mined is None:
        return movies
    mined.require_movies(movies)
    return {name: movies[name] for name in mined.names}


def _positives(
    films: Films, movies: Mapping[str, Features], mined: MinedPairs | None, names: Sequence[str]
) -> Positives:
    """The positives of the movies of these names alone."""
    if mined is None:
        return SceneHalves.of(films, movies, names)
    inside = np.isin(mined.names, names)
    return ScenePairs.of(films, mined, torch.from_numpy(inside[mined.movies].all(1)))


def _model(scalings: Mapping[str, Scaling], config: SceneContrastConfig, recipe: str | None) -> SceneEncoderConfig:
    return SceneEncoderConfig(
        task="embedding",
        modalities=tuple(Modality(name, scaling.basis.shape[1]) for name, scaling in scalings.items()),
        max_length=config.length,
        hidden_size=config.hidden_size,
        ffn_size=config.ffn_size,
        num_heads=config.num_heads,
        num_layers=config.num_layers,
        dropout=config.dropout,
        recipe=recipe,
    )


def _related(count: int, mined: MinedPairs | None, excluded: str) -> Related:
    if mined is None or excluded == "pair":
        return Related()
    related = torch.zeros(count, count, dtype=torch.bool)
    a, b = torch.from_numpy(mined.movies).long().T
    related[a, b] = related[b, a] = True
    return Related(related)


def _require_negatives(train: Positives, related: Related, movies: int) -> None:
    """Some positive must have negatives among the others."""
    if not len(train):
        raise FeatureError(f"scenes: expected positives in the {movies} movies to train on, got none")
    owners = train.owners()
    others = torch.unique(owners)
    if not any(related.allowed(part, others).any() for part in torch.split(owners, 1024)):
        raise FeatureError(
            f"scenes: expected movies beside the two of a pair, which give negatives, got {movies} to train on, all of "
            "them related"
        )
