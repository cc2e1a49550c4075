"""What a run trains on: movies of pairs in three parts, scaled, and the sizes of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.errors import FeatureError
from megaseg.evaluation.split import held_out
from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig
from megaseg.training.recipes.movie_similarity.memory import check_memory
from megaseg.training.recipes.movie_similarity.models import MovieSimilarity
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs
from megaseg.training.recipes.pretrain.checks import check_films
from megaseg.training.recipes.pretrain.films import Films, fitted, shot_modalities
from megaseg.training.scaling import Scaling
from megaseg.training.state import content_of_movies

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """Movies and pairs of a run.

    ``films`` are all movies of pairs, scaled; ``parts`` are the names that train, validate and test; ``numbers`` those
    of the pairs' names in ``films``. ``content`` tells movies of the same names apart.
    """

    films: Films
    scalings: Mapping[str, Scaling]
    pairs: MoviePairs
    numbers: Tensor
    parts: Mapping[str, list[str]]
    model: MovieEncoderConfig
    content: str

    def between(self, part: str, other: str) -> MoviePairs:
        """The pairs of one movie of a part and one of another, or the same."""
        return self.pairs.between(self.parts[part], self.parts[other])


def prepare(movies: Mapping[str, Features], pairs: MoviePairs, config: MovieSimilarityConfig) -> Prepared:
    """Check and scale what a run trains on.

    Raises:
        FeatureError: pairs of movies that are not there, movies that cannot be learnt from, or no pair of either kind
            among those that train.
        CheckpointError: components that do not fit. ResourceLimitError: a batch that does not fit the memory.
    """
    own = _of_pairs(movies, pairs)
    names = shot_modalities(own, config.modalities)
    check_films(own, names, None)
    parts = split(list(own), config)
    training = pairs.between(parts["train"], parts["train"])
    similar = int(training.similar.sum())
    if not 0 < similar < len(training):
        raise FeatureError(
            f"pairs: expected similar pairs and others among the {len(parts['train'])} movies to train on, got "
            f"{similar} similar of {len(training)}"
        )
    scalings = fitted({name: own[name] for name in parts["train"]}, names, config.components)
    films = Films.scaled(own, scalings, None)
    widths = {name: scaling.basis.shape[1] for name, scaling in scalings.items()}
    model = MovieEncoderConfig(
        "embedding", tuple(Modality(name, width) for name, width in widths.items()),
        config.max_length, config.hidden_size, config.num_layers, config.output_size,
        dropout=config.dropout, recipe=next(iter(own.values())).recipe,
    )  # fmt: skip
    with torch.device("meta"):  # a model that does not fit is never made
        parameters = sum(p.numel() for p in MovieSimilarity(model).parameters())
    longest = max(own[name].num_shots for name in parts["train"])
    count = min(config.movies_per_batch or 2 * config.batch_size, len(parts["train"]))
    check_memory(config, widths, parameters, count, min(config.max_length, longest))
    known = {name: number for number, name in enumerate(own)}
    numbers = torch.tensor([known.get(name, -1) for name in pairs.names])
    return Prepared(films, scalings, pairs, numbers, parts, model, content_of_movies(own))


def split(names: list[str], config: MovieSimilarityConfig) -> dict[str, list[str]]:
    """Movies that ``train``, those that choose the epoch (``validation``) and those kept out (``test``), by name."""
    test = held_out(names, config.test_share)
    rest = [name for name in names if name not in set(test)]
    share = config.validation_share / (1 - config.test_share)
    validation = held_out(rest, share)
    return {"train": [name for name in rest if name not in set(validation)], "validation": validation, "test": test}


def _of_pairs(movies: Mapping[str, Features], pairs: MoviePairs) -> dict[str, Features]:
    """The movies that pairs name, in the order of the movies."""
    used = {pairs.names[k] for k in set(pairs.pairs.flatten().tolist())}
    missing = sorted(used - set(movies))
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise FeatureError(f"pairs: expected movies that are there, got {len(missing)} that are not: {shown}")
    return {name: movie for name, movie in movies.items() if name in used}
