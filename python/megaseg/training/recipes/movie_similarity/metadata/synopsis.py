"""Synopsis: films whose synopses are alike, by the cosine of their vectors.

Vectors come ready, from an ``.npz`` of a vector a film, or are made of the texts of a CSV: the mean of the sentence
vectors of a text encoder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.feature_files import read_arrays
from megaseg.errors import FeatureError
from megaseg.training.recipes.movie_similarity.metadata.names import known_films, unknown_remark
from megaseg.training.recipes.movie_similarity.metadata.tables import rows_of
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

COLUMNS = ("name", "synopsis")
Vectors = dict[str, NDArray[np.float64]]
Encode = Callable[[Sequence[str]], NDArray[np.float32]]
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def read(path: Path, names: Sequence[str], share: float, encode: Encode | None = None) -> MoviePairs:
    """Pairs of films, which the metadata names as their feature files are.

    Args:
        path: an ``.npz`` of vectors by film, all of one width, or a CSV ``name,synopsis``.
        names: of the films.
        share: of the pairs that are similar.
        encode: texts to vectors; by default the text encoder of the extra ``text``.

    Raises:
        FeatureError: an unreadable file, names the film or the line; fewer than two films with a synopsis, or no
            similar pair.
        UnsupportedError: texts, and no text encoder.
    """
    vectors, unread = (
        _stored(path, set(names)) if path.suffix == ".npz" else _written(path, set(names), encode or _default_encode)
    )
    known, absent = known_films(path, names, vectors, "synopsis")
    rows = np.stack([vectors[name] for name in known])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return MoviePairs.of_scores(known, unit @ unit.T, share, [*unknown_remark(unread, "synopses"), *absent])


def _stored(path: Path, names: set[str]) -> tuple[Vectors, int]:
    arrays = read_arrays(path, "an .npz of a vector a film")
    vectors = {name: _vector(path, name, array) for name, array in arrays.items() if name in names}
    if len(widths := {len(vector) for vector in vectors.values()}) > 1:
        raise FeatureError(f"{path}: expected vectors of one width, got {sorted(widths)}")
    return vectors, len(arrays) - len(vectors)


def _vector(path: Path, name: str, array: NDArray[np.generic]) -> NDArray[np.float64]:
    if array.ndim != 1 or array.dtype.kind != "f" or not np.isfinite(array).all() or not array.any():
        raise FeatureError(
            f"{path}: {name}: expected a vector of finite numbers that are not all 0, got {array.dtype} {array.shape}"
        )
    return array.astype(np.float64)


def _written(path: Path, names: set[str], encode: Encode) -> tuple[Vectors, int]:
    texts: dict[str, str] = {}
    unread = 0
    for line, (name, text) in rows_of(path, COLUMNS):
        key = name.strip()
        if key not in names:
            unread += 1
        elif key in texts:
            raise FeatureError(f"{path}: line {line}: expected each film once, got {key!r:.80} again")
        elif text.strip():
            texts[key] = text.strip()
    vectors = {name: encode(_SENTENCE_END.split(text)).astype(np.float64).mean(0) for name, text in texts.items()}
    return {name: _vector(path, name, vector) for name, vector in vectors.items()}, unread


def _default_encode(texts: Sequence[str]) -> NDArray[np.float32]:
    from megaseg.features.text.encoder import Encoder

    return Encoder.from_checkpoint().encode(texts)
