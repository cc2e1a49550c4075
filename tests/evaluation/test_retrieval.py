"""Retrieval between modalities: ranks against loops, and pairs of an encoder's contextual features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shot_encoders import contextualizer, expected, film, long_range

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.retrieval import paired_rows, retrieval_metrics
from megaseg.models import contextualizer as of_shots
from megaseg.models import long_range as of_modalities


def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return of_modalities.to_checkpoint(of_modalities.LongRange(long_range()))


def ranks_by_loops(queries: np.ndarray, candidates: np.ndarray) -> list[int]:
    found = []
    for k, query in enumerate(queries):
        similar = candidates @ query / (np.linalg.norm(candidates, axis=1) * np.linalg.norm(query))
        found.append(1 + int((np.delete(similar, k) >= similar[k]).sum()))
    return found


def test_metrics_of_ranks_by_loops() -> None:
    rng = np.random.default_rng(0)
    candidates = rng.standard_normal((1500, 6)).astype(np.float32)  # more than one block
    queries = candidates * rng.uniform(0.1, 9, (1500, 1)) + 0.7 * rng.standard_normal((1500, 6))
    for count in (40, 1500):
        own = queries[:count].astype(np.float32), candidates[:count]
        ranks = np.array(ranks_by_loops(*(rows.astype(np.float64) for rows in own)))
        found = retrieval_metrics(*own)
        shares = [np.mean(ranks <= most) for most in (1, 5, 10)]
        assert [found.recall_at_1, found.recall_at_5, found.recall_at_10] == shares
        assert (found.median_rank, found.mean_rank, found.candidates) == (np.median(ranks), np.mean(ranks), count)


def test_the_same_rows_are_found_and_equal_ones_are_not() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    found = retrieval_metrics(rows, 3 * rows)
    assert (found.recall_at_1, found.mean_rank) == (1.0, 1.0)
    equal = retrieval_metrics(np.ones((30, 4), np.float32), np.ones((30, 4), np.float32))
    assert (equal.recall_at_10, equal.median_rank) == (0.0, 30.0)
    with pytest.raises(FeatureError, match="two pairs or more"):
        retrieval_metrics(rows[:1], rows[:1])


def test_a_pair_is_the_same_clip_or_shot() -> None:
    own = checkpoint()
    movies = {f"film-{n}": film(own.config, n) for n in (3, 8, 12)}  # type: ignore[arg-type]
    outputs = [expected(own, movie) for movie in movies.values()]
    engine = Engine.from_checkpoint(own, backend="torch")
    features = {name: Features.from_mapping(movie) for name, movie in movies.items()}
    video, audio = paired_rows(engine, features, ("video", "audio"))
    np.testing.assert_allclose(video, [each["context.video"].mean(0) for each in outputs], atol=2e-5)
    np.testing.assert_allclose(audio, [each["context.audio"].mean(0) for each in outputs], atol=2e-5)
    language, video = paired_rows(engine, features, ("language", "video"), "shot")
    told = [np.unique(movie["language.shots"]) for movie in movies.values()]
    for got, name in ((language, "context.language"), (video, "context.video")):
        rows = [each[name][shots] for each, shots in zip(outputs, told, strict=True)]
        np.testing.assert_allclose(got, np.concatenate(rows), atol=2e-5)


def test_films_without_a_modality_are_left_out() -> None:
    own = checkpoint()
    engine = Engine.from_checkpoint(own, backend="torch")
    movies = {f"film-{n}": Features.from_mapping(film(own.config, n)) for n in (4, 6, 9)}  # type: ignore[arg-type]
    mute = Features({"video": movies["film-4"].modalities["video"]})
    silent = Features.from_mapping(film(own.config, 5, tokens=0))  # type: ignore[arg-type]
    rows, _ = paired_rows(engine, {**movies, "mute": mute}, ("video", "audio"))
    assert len(rows) == 3
    rows, _ = paired_rows(engine, {**movies, "silent": silent}, ("video", "language"))
    assert len(rows) == 3
    with pytest.raises(FeatureError, match="expected films with video and audio, got none of 1"):
        paired_rows(engine, {"mute": mute}, ("video", "audio"))


def test_roles_and_units_that_are_not_there_are_refused() -> None:
    engine = Engine.from_checkpoint(checkpoint(), backend="torch")
    with pytest.raises(UnsupportedError, match="expected two of video, audio, language, got 'sound'"):
        paired_rows(engine, {}, ("video", "sound"))
    with pytest.raises(UnsupportedError, match="unit: expected one of clip, shot, got 'frame'"):
        paired_rows(engine, {}, ("video", "audio"), "frame")
    other = of_shots.to_checkpoint(of_shots.Contextualizer(contextualizer()))
    with pytest.raises(UnsupportedError, match="expected a model of family long_range, got one of contextualizer"):
        paired_rows(Engine.from_checkpoint(other, backend="torch"), {}, ("video", "audio"))
