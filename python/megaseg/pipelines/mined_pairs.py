"""Mined scene pairs on disk: an ``.npz`` that says which scenes of which movies are similar, and by which encoder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.feature_files import read_arrays
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError

FORMAT = "megaseg-scene-pairs/1"


@dataclass(frozen=True, slots=True)
class MinedPairs:
    """Scene pairs of movies: scene p of movie ``names[movies[p, 0]]`` and that of ``names[movies[p, 1]]``.

    ``movies`` int32 (P, 2); ``first`` int32 (P, 2), the first shots of both scenes, of ``window`` shots each;
    ``scores`` float32 (P,), how similar they are. Pairs of the same movies stand together, best first. ``shots`` int32
    (names,) and ``cuts`` (a digest of the times of each movie's shots, empty without times) tell other movies of the
    same names. ``encoder`` is the digest of the encoder that found them. Checked when made.

    Raises:
        FeatureError: arrays that do not fit each other.
    """

    names: tuple[str, ...]
    shots: NDArray[np.int32]
    cuts: tuple[str, ...]
    movies: NDArray[np.int32]
    first: NDArray[np.int32]
    scores: NDArray[np.float32]
    window: int
    encoder: str

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise FeatureError(f"scene pairs: {problem}")

    def __len__(self) -> int:
        return len(self.movies)

    def require_movies(self, movies: Mapping[str, Features]) -> None:
        """Check that the scenes lie in these movies: each is there with the shots that it was mined with.

        Raises:
            FeatureError: names the movie.
        """
        for name, shots, cuts in zip(self.names, self.shots.tolist(), self.cuts, strict=True):
            if name not in movies:
                raise FeatureError(f"scene pairs: expected the movies that they were mined from, {name} is not there")
            if movies[name].num_shots != shots:
                raise FeatureError(
                    f"{name}: expected the {shots} shots that scene pairs were mined from, got {movies[name].num_shots}"
                )
            own = cuts_of(movies[name])
            if cuts and own and cuts != own:
                raise FeatureError(f"{name}: expected the shots that scene pairs were mined from, got other times")

    def require_encoder(self, digest: str) -> None:
        """Check that an encoder found the pairs.

        Raises:
            FeatureError: another one did.
        """
        if self.encoder != digest:
            raise FeatureError(
                f"scene pairs: expected those of encoder {digest[:12]}, got those of {self.encoder[:12]}"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file, format=np.array(FORMAT), names=_texts(self.names), shots=self.shots, cuts=_texts(self.cuts),
                movies=self.movies, first=self.first, scores=self.scores, window=np.array(self.window, np.int32),
                encoder=np.array(self.encoder),
            )  # fmt: skip

    def _problem(self) -> str | None:
        pairs, count = len(self.movies), len(self.names)
        if len(set(self.names)) != count or self.shots.shape != (count,) or len(self.cuts) != count:
            return f"expected a number of shots and a digest for each of {count} movies"
        if self.movies.shape != (pairs, 2) or self.first.shape != (pairs, 2) or self.scores.shape != (pairs,):
            return f"expected two movies, two shots and a score for each of {pairs} pairs"
        if self.window < 1 or not np.isfinite(self.scores).all():
            return f"expected a window of shots and finite scores, got {self.window}"
        if not pairs:
            return None
        if self.movies.min() < 0 or self.movies.max() >= count or (self.movies[:, 0] == self.movies[:, 1]).any():
            return f"expected pairs of two of {count} movies"
        if self.first.min() < 0 or (self.first + self.window > self.shots[self.movies]).any():
            return f"expected scenes of {self.window} shots inside their movies"
        return None


def cuts_of(movie: Features) -> str:
    """A digest of the times of a movie's shots; empty without times."""
    if movie.times is None or movie.time_base is None:
        return ""
    digest = hashlib.sha256(f"{movie.time_base}".encode())
    digest.update(np.ascontiguousarray(movie.times).tobytes())
    return digest.hexdigest()[:16]


def read_mined(path: str | os.PathLike[str]) -> MinedPairs:
    """Read what ``MinedPairs.save`` wrote.

    Raises:
        FeatureError: an unreadable file, or one that is none of this format.
    """
    arrays = read_arrays(path, "scene pairs (.npz)")
    try:
        if str(arrays["format"]) != FORMAT:
            raise FeatureError(f"{os.fspath(path)}: expected the format {FORMAT}, got {str(arrays['format'])!r:.40}")
        names, cuts = (tuple(str(text) for text in arrays[name].tolist()) for name in ("names", "cuts"))
        shots, movies, first = (_cast(arrays[name], np.int32) for name in ("shots", "movies", "first"))
        scores, window = _cast(arrays["scores"], np.float32), int(arrays["window"])
        return MinedPairs(names, shots, cuts, movies, first, scores, window, str(arrays["encoder"]))
    except KeyError as error:
        raise FeatureError(f"{os.fspath(path)}: expected scene pairs of {FORMAT}, got no array {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise FeatureError(f"{os.fspath(path)}: expected scene pairs of {FORMAT}, got: {error}") from error
    except FeatureError as error:
        raise FeatureError(f"{os.fspath(path)}: {error}") from error


def _cast(array: NDArray[Any], kind: type[Any]) -> NDArray[Any]:
    return array.astype(kind, casting="same_kind")


def _texts(texts: tuple[str, ...]) -> NDArray[np.str_]:
    return np.array(texts, dtype=np.str_)
