"""What a scene contrast trains on: movies, their scene pairs in two parts, and the sizes of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.scene_encoder import SceneEncoderConfig
from megaseg.errors import FeatureError
from megaseg.evaluation.split import held_out
from megaseg.pipelines.mined_pairs import MinedPairs
from megaseg.training.recipes.pretrain.checks import check_films
from megaseg.training.recipes.pretrain.films import Films, fitted, shot_modalities
from megaseg.training.recipes.scene_contrast.batches import ScenePairs
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig
from megaseg.training.recipes.scene_contrast.memory import check_memory
from megaseg.training.recipes.scene_contrast.models import SceneProjection, allowed
from megaseg.training.scaling import Scaling


@dataclass(frozen=True, slots=True)
class Prepared:
    """Movies, and their scene pairs that ``train`` and ``validate``.

    ``parts`` are the movies of these names; ``related`` (movies, movies) says which give each other no negatives, and
    ``queue_size`` is that of the run.
    """

    scalings: Mapping[str, Scaling]
    parts: Mapping[str, list[str]]
    train: ScenePairs
    validate: ScenePairs
    related: Tensor
    queue_size: int
    model: SceneEncoderConfig


def prepare(movies: Mapping[str, Features], mined: MinedPairs, config: SceneContrastConfig) -> Prepared:
    """Check, part and scale what a run trains on.

    Raises:
        FeatureError: scene pairs of other movies, movies that cannot be learnt from, or too few for negatives.
        CheckpointError: components that do not fit. ResourceLimitError: a batch that does not fit the memory.
    """
    mined.require_movies(movies)
    own = {name: movies[name] for name in mined.names}
    names = shot_modalities(own, config.modalities)
    check_films(own, names, None)
    held = held_out(list(own), config.validation_share)
    parts = {"films": [name for name in own if name not in set(held)], "held_out": held}
    scalings = fitted({name: own[name] for name in parts["films"]}, names, config.components)
    films = Films.scaled(own, scalings, None)
    train, validate = (ScenePairs.of(films, mined, _between(mined, part)) for part in parts.values())
    related = _related(len(own), mined, config.excluded)
    _require_negatives(train, related, len(parts["films"]))
    queue_size = min(config.queue_size, min(len(train), config.pairs_per_epoch or len(train)))
    model = _model(scalings, config, next(iter(own.values())).recipe)
    with torch.device("meta"):  # a model that does not fit is never made
        parameters = sum(p.numel() for p in SceneProjection(model, config.projection_size).parameters())
    check_memory(config, {m.name: m.feature_size for m in model.modalities}, parameters, queue_size)
    return Prepared(scalings, parts, train, validate, related, queue_size, model)


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


def _between(mined: MinedPairs, names: Sequence[str]) -> Tensor:
    """Which scene pairs (P,) are of two movies of ``names``."""
    inside = np.isin(mined.names, names)
    return torch.from_numpy(inside[mined.movies].all(1))


def _related(count: int, mined: MinedPairs, excluded: str) -> Tensor:
    related = torch.eye(count, dtype=torch.bool)
    if excluded == "similar":
        a, b = torch.from_numpy(mined.movies).long().T
        related[a, b] = related[b, a] = True
    return related


def _require_negatives(train: ScenePairs, related: Tensor, movies: int) -> None:
    """Some pair must have a movie in the other pairs that may give it negatives."""
    if not len(train):
        raise FeatureError(f"scene pairs: expected some between the {movies} movies to train on, got none")
    if not allowed(related, torch.unique(train.movies, dim=0), torch.unique(train.movies)).any():
        raise FeatureError(
            f"scene pairs: expected movies beside the two of a pair, which give negatives, got {movies} to train on, "
            "all of them related"
        )
