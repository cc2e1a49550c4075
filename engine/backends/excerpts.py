"""From a movie's features to the excerpts that a backend runs, and from their rows back to the movie's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from megaseg.engine.backends.protocol import Check, Excerpt, Rows
from megaseg.engine.graph.sequences import Strided, Whole, longest_of, stitched, strided
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.tokens import tokens_within
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import FeatureError

_EXCERPT = re.compile(r"features of movie (\d+)")  # how backends begin errors of an excerpt


def absent(config: ModelConfig, movie: Features) -> tuple[str, ...]:
    """The model's modalities that a movie does not have, for which rows of zeros stand in; none of most families."""
    if not config.absent_as_zeros:
        return ()
    return tuple(modality.name for modality in config.modalities if modality.name not in movie.modalities)


def model_rows(config: ModelConfig, movie: Features) -> list[NDArray[Any]]:
    """Arrays of a whole movie for the model's inputs: (shots, D_m) a modality, then int32 shots (tokens, 1) if any.

    Raises:
        FeatureError: features that do not fit the model.
    """
    own, tokens = config.sequences, config.token_modality
    if config.absent_as_zeros:
        movie = movie.completed(config.modalities, tokens)
    most = own.most if isinstance(own, Whole) else None
    arrays = movie.ordered_for(config.modalities, config.recipe, most, tokens)
    return arrays if tokens is None else [*arrays, movie.token_shots[tokens][:, None]]


def excerpts_of(config: ModelConfig, movie: Features) -> list[Excerpt]:
    """What a backend runs of a movie: all of it, or each of its windows as a movie of its own.

    Raises:
        FeatureError: features that do not fit the model.
    """
    own, arrays = config.sequences, model_rows(config, movie)
    if not isinstance(own, Strided):
        return [Excerpt.whole(arrays)]
    windows = (slice(start, start + own.length) for start in strided(movie.num_shots, own.length, own.step).tolist())
    return [Excerpt.whole(_window(config, arrays, window)) for window in windows]


def movie_rows(config: ModelConfig, runs: Sequence[Rows], shots: int) -> Rows:
    """Outputs of a movie from those of its excerpts."""
    own = config.sequences
    if not isinstance(own, Strided):
        (rows,) = runs
        return rows
    return tuple(stitched(parts, shots, own.length, own.step) for parts in zip(*runs, strict=True))


def movie_error(config: ModelConfig, error: FeatureError, shots: Sequence[int]) -> FeatureError:
    """A backend's error, which counts excerpts, as one that names the movie and its shots; ``shots`` of each movie."""
    own, found = config.sequences, _EXCERPT.match(str(error))
    if not isinstance(own, Strided) or found is None:
        return error
    places = [(movie, start) for movie, rows in enumerate(shots) for start in strided(rows, own.length, own.step)]
    movie, start = places[int(found[1])]
    last = min(start + own.length, shots[movie]) - 1
    return FeatureError(f"features of movie {movie}, shots {start} to {last}{str(error)[found.end() :]}")


def remarks_of(check: Check | None, shots: int) -> tuple[str, ...]:
    """What a result of so many shots says of the check of centred windows; nothing where there was none.

    A stream that was resumed in another compute type has shots that were not checked.
    """
    if check is None or not check.counted:
        return ()
    doubt = "" if check.doubt is None else f", those after shot {check.doubt} because int8 was too far off there"
    if check.counted < shots:
        told = f"int8_checked: {check.again} of the first {check.counted} shots ran again{doubt}"
        return (f"{told}; the other {shots - check.counted} are of another compute type, and so are their boundaries",)
    told = f"int8_checked: {check.again} of {check.counted} shots ran again{doubt}"
    return (f"{told}; boundaries are float32's for that run's decision alone, other scores are not",)


def _window(config: ModelConfig, arrays: Sequence[NDArray[Any]], window: slice) -> list[NDArray[Any]]:
    """Arrays of a window's shots, and of the tokens that fall into them."""
    if config.token_modality is None:
        return [array[window] for array in arrays]
    *rows, shots = arrays
    index = [modality.name for modality in config.modalities].index(config.token_modality)
    tokens = tokens_within(rows[index], shots[:, 0], window.start, window.stop, longest_of(config.sequences))
    return [*(tokens[0] if at == index else array[window] for at, array in enumerate(rows)), tokens[1]]
