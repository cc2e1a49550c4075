"""``eval scene`` of raw features, the shipped video-scenes, and what noise in other modalities does to it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from shot_features import film
from typer.testing import CliRunner

from megaseg import Engine, save_features
from megaseg.cli import app
from megaseg.engine.inputs.features import Features
from megaseg.evaluation.metrics import average_precision, f1_within, scene_metrics
from megaseg.evaluation.scene import boundary_scores
from megaseg.features.video.similarity import rows_of


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.from_checkpoint("video-scenes", compute_type="float32", num_threads=1)


def ap(engine: Engine, movies: list[Features]) -> float:
    scores = boundary_scores(engine, {str(k): movie for k, movie in enumerate(movies)})
    figures = [average_precision(m.labels[:-1], scores[str(k)][:-1]) for k, m in enumerate(movies)]
    return float(np.mean(figures))


def test_f1_within_matches_each_boundary_once() -> None:
    true = [0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    assert f1_within(true, [0, 1, 0, 1, 0, 0, 0, 1, 0, 0], 0) == 0
    assert f1_within(true, [0, 1, 0, 1, 0, 0, 0, 1, 0, 0], 1) == pytest.approx(2 * 2 / 5)  # two claims on shot 2
    assert f1_within(true, [0, 0, 1, 0, 0, 0, 1, 0, 0, 1], 0) == 1  # the last shot is not scored
    assert f1_within([0, 1, 1, 0, 0], [1, 1, 0, 0, 0], 1) == 1  # 0 with 1, 1 with 2
    assert f1_within(true, [0] * 10, 2) == 0


def test_f1_at_is_a_mean_over_movies() -> None:
    labels = {"a": np.array([0, 1, 0, 1], np.uint8), "b": np.array([1, 0, 0, 1], np.uint8)}
    scores = {"a": np.array([0, 0.9, 0, 0], np.float32), "b": np.array([0, 0.9, 0, 0], np.float32)}
    assert scene_metrics(labels, scores, 0.5).f1_at == {"0": 0.5, "1": 1.0, "2": 1.0}


def test_raw_films_are_scored_by_name(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sklearn", "torch"):  # what scores a film needs no extra
        monkeypatch.setitem(sys.modules, package, None)
    for seed in range(3):
        save_features(tmp_path / f"{seed}.npz", film(seed=seed))
    done = CliRunner().invoke(app, ["eval", "scene", str(tmp_path), "--checkpoint", "video-scenes", "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert set(figures["f1_at"]) == {"0", "1", "2"}
    assert figures["movies"] == 3
    assert figures["threshold"] == engine.config.threshold
    assert {"ap", "map", "f1", "miou"} <= set(figures)
    assert figures["map"] == pytest.approx(ap(engine, [film(seed=seed) for seed in range(3)]), abs=1e-6)


def test_rows_and_raw_features_score_alike(engine: Engine) -> None:
    movie = film()
    raw, rows = (boundary_scores(engine, {"film": own})["film"] for own in (movie, rows_of(movie)))
    np.testing.assert_array_equal(raw, rows)


@pytest.mark.parametrize("name", ["audio", "dialogue"])
def test_noise_in_sound_and_speech_does_little(engine: Engine, name: str) -> None:
    rng = np.random.default_rng(0)
    movies = [film(shots=200, seed=seed) for seed in range(4)]
    alone = ap(engine, movies)
    noisy = []
    for movie in movies:
        noise = rng.standard_normal((movie.num_shots, 64)).astype(np.float32)
        noisy.append(Features({**movie.modalities, name: noise}, movie.times, movie.time_base, movie.labels))
    assert alone > 0.7
    assert ap(engine, noisy) > alone - 0.05


@pytest.mark.parametrize("names", [("visual",), ("colour",), ("audio",), ("dialogue",)])
def test_each_modality_alone_finds_scenes(engine: Engine, names: tuple[str, ...]) -> None:
    movies = [film(shots=200, seed=seed, names=names) for seed in range(3)]
    assert ap(engine, movies) > 0.4  # 0.17 by chance


def test_it_is_small_and_says_what_it_is_of() -> None:
    from megaseg import load_checkpoint
    from megaseg.engine.model.checkpoint import resolve_checkpoint

    assert resolve_checkpoint("video-scenes").stat().st_size < 1_500_000
    training = json.loads(load_checkpoint("video-scenes").metadata["training"])
    assert len({name.partition("@")[0] for name in training["data"]["movies"]}) == 29
    assert "OVSD" in training["data"]["terms"]
