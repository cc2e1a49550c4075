"""The block of nine by nine shots that match best, against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg import Features
from megaseg.errors import FeatureError
from megaseg.search.match import Match, best_block, similarities


def movie(shots: int, seed: int, **widths: int) -> Features:
    rng = np.random.default_rng(seed)
    return Features(
        {name: rng.standard_normal((shots, width)).astype(np.float32) + 3 for name, width in widths.items()}
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def expected(query: Features, result: Features, i: int, j: int) -> float:
    values = []
    for name in query.modalities.keys() & result.modalities.keys():
        a, b = query.modalities[name].astype(float), result.modalities[name].astype(float)
        if a[i].any() and b[j].any():
            values.append(cosine(a[i] - a[a.any(axis=1)].mean(0), b[j] - b[b.any(axis=1)].mean(0)))
    return float(np.mean(values)) if values else 0.0


@pytest.mark.parametrize(
    ("own", "other"), [((3, 30), (5, 19)), ((0, 3), (5, 19)), ((10, 18), (2, 4)), ((7, 7), (0, 40)), ((0, 8), (0, 8))]
)
def test_the_best_block(own: tuple[int, int], other: tuple[int, int]) -> None:
    query, result = movie(33, 0, video=7, audio=4), movie(41, 1, audio=4, video=7, colour=3)
    query.modalities["audio"][5:9] = 0
    found = best_block(query, own, result, other)
    rows, columns = min(9, own[1] - own[0] + 1), min(9, other[1] - other[0] + 1)
    means = {
        (i, j): np.mean([[expected(query, result, i + a, j + b) for b in range(columns)] for a in range(rows)])
        for i in range(own[0], own[1] - rows + 2)
        for j in range(other[0], other[1] - columns + 2)
    }
    assert (found.query_first, found.result_first) == max(means, key=means.__getitem__)
    assert found.similarities.shape == (rows, columns)
    assert found.mean == pytest.approx(max(means.values()), abs=1e-5)
    i, j = found.query_first, found.result_first
    assert found.similarities[-1, 0] == pytest.approx(expected(query, result, i + rows - 1, j), abs=1e-5)
    assert set(found.modalities) == {"video", "audio"}
    assert len(found.to_dict()["similarities"]) == rows


def test_the_same_scene_matches_shot_by_shot() -> None:
    film = movie(20, 3, video=9)
    found = best_block(film, (4, 15), film, (4, 15))
    assert np.diag(similarities(film, (4, 15), film, (4, 15))[1]) == pytest.approx(1)
    assert isinstance(found, Match)


def test_of_equal_blocks_the_first() -> None:
    film = Features({"video": np.tile(np.eye(2, dtype=np.float32), (10, 1))})
    found = best_block(film, (0, 19), film, (0, 19))
    assert (found.query_first, found.result_first) == (0, 0)


def test_movies_that_cannot_be_compared() -> None:
    tokens = Features(
        {"video": np.ones((3, 2), np.float32), "language": np.ones((5, 4), np.float32)},
        token_shots={"language": np.array([0, 0, 1, 2, 2], np.int32)},
    )
    other = Features({"language": np.ones((3, 4), np.float32), "video": np.ones((3, 5), np.float32)})
    with pytest.raises(FeatureError, match="match: expected movies that share a modality with a row a shot"):
        best_block(tokens, (0, 2), other, (0, 2))
    with pytest.raises(FeatureError, match="shots: expected from 0 to 2, got 1 to 3"):
        best_block(other, (1, 3), other, (0, 2))
