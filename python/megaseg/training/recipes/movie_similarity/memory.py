"""Memory of a training step, estimated before it is taken."""

from __future__ import annotations

from collections.abc import Mapping

from megaseg.training.memory import FLOAT, require_memory
from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig


def estimated_bytes(
    config: MovieSimilarityConfig, widths: Mapping[str, int], parameters: int, movies: int, shots: int
) -> int:
    """Most bytes that a step of training holds, to within about a factor of 1.5, beside the model.

    Args:
        config: sizes.
        widths: scaled features a shot, by modality.
        parameters: weights of the model.
        movies: of a batch.
        shots: most of a movie that are read at once.
    """
    row = (2 + 8 * config.num_layers) * config.hidden_size + 3 * config.output_size + 3 * sum(widths.values())
    return FLOAT * (movies * shots * row + 4 * parameters)  # gradient, momentum, average, best weights


def check_memory(
    config: MovieSimilarityConfig, widths: Mapping[str, int], parameters: int, movies: int, shots: int
) -> None:
    """Refuse a batch that does not fit the memory that is free; arguments as ``estimated_bytes``.

    Raises:
        ResourceLimitError: says how much a batch takes, and how much is free.
    """
    needed = estimated_bytes(config, widths, parameters, movies, shots)
    require_memory(needed, "max_length", f"{shots} shots of each of {movies} movies")
