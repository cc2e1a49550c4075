"""Learning which movies are similar, on films of two themes: what is learnt, that runs go on, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from themed_films import RECIPE, film, films, theme_of

from megaseg import Engine, Features, load_checkpoint
from megaseg.errors import CheckpointError, FeatureError, ResourceLimitError
from megaseg.evaluation.metrics import area_under_roc
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

torch = pytest.importorskip("torch")
from megaseg.pipelines.similarity import movie_vectors, similarities  # noqa: E402
from megaseg.training.objectives.movie_similarity import similarity_loss  # noqa: E402
from megaseg.training.recipes.movie_similarity import batches  # noqa: E402
from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig  # noqa: E402
from megaseg.training.recipes.movie_similarity.figures import cosines, pair_figures  # noqa: E402
from megaseg.training.recipes.movie_similarity.run import train_movie_similarity  # noqa: E402
from megaseg.training.recipes.movie_similarity.setup import split  # noqa: E402
from megaseg.training.recipes.pretrain.films import Films, fitted  # noqa: E402

CONFIG = MovieSimilarityConfig(
    max_length=32, hidden_size=24, num_layers=1, output_size=8, dropout=0.0, epochs=12, patience=12, batch_size=16,
    optimizer="adamw", learning_rate=1e-2, test_share=0.25, validation_share=0.2,
)  # fmt: skip


def themed(names: list[str]) -> MoviePairs:
    """Films of one theme are similar."""
    return MoviePairs.of_rows((a, b, theme_of(a) == theme_of(b)) for a, b in itertools.combinations(names, 2))


def shuffled(names: list[str], seed: int) -> MoviePairs:
    """As many similar pairs, at random."""
    pairs = themed(names)
    return dataclasses.replace(pairs, similar=np.random.default_rng(seed).permutation(pairs.similar))


def training_of(checkpoint: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(checkpoint.metadata["training"])
    return found


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "sgd", "learning_rate": 0.1, "epochs": 30}, {"movies_per_batch": 12, "epochs": 40}]
)
def test_it_tells_films_it_has_not_seen(tmp_path: Path, changes: dict[str, Any]) -> None:
    movies = films(24)
    pairs = themed(list(movies))
    told: list[dict[str, Any]] = []
    config = dataclasses.replace(CONFIG, validation_share=0.3, **changes)
    checkpoint = train_movie_similarity(movies, pairs, config, tmp_path, told.append)
    training = training_of(checkpoint)
    test = training["test"]
    assert test["model"]["both"]["auc"] > 0.95
    assert test["model"]["one"]["auc"] > 0.95
    assert test["baseline"]["both"]["auc"] < 0.8
    assert (len(training["data"]["test"]), test["model"]["both"]["pairs"]) == (6, 15)
    assert told[-1]["train"]["loss"] < told[0]["train"]["loss"]
    engine = Engine.from_checkpoint(tmp_path)
    names = training["data"]["test"]
    likely = similarities(engine, movie_vectors(engine, [movies[name] for name in names]))
    same = np.array([[theme_of(a) == theme_of(b) for a in names] for b in names])
    assert likely[same].mean() > 0.7
    assert likely[~same].mean() < 0.3
    assert (engine.config.family, engine.config.recipe) == ("movie_encoder", RECIPE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.safetensors", "log.jsonl"]


def test_shuffled_labels_teach_nothing_of_others(tmp_path: Path) -> None:
    movies = films(24)
    found = []
    for seed in range(4):
        pairs = shuffled(list(movies), seed)
        checkpoint = train_movie_similarity(movies, pairs, dataclasses.replace(CONFIG, epochs=2), tmp_path / str(seed))
        found.append(training_of(checkpoint)["test"]["model"]["one"]["auc"])
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_no_film_that_is_held_out_is_in_a_training_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movies = films()
    seen: set[str] = set()
    drawn = batches.Reader.drawn

    def watched(self: Any, chosen: Any, *rest: Any) -> Any:
        seen.update(self.films.names[k] for k in chosen.tolist())
        return drawn(self, chosen, *rest)

    monkeypatch.setattr(batches.Reader, "drawn", watched)
    data = training_of(train_movie_similarity(movies, themed(list(movies)), CONFIG, tmp_path))["data"]
    assert seen == set(data["train"])
    assert sorted(data["train"] + data["validation"] + data["test"]) == sorted(movies)
    assert all(data[part] for part in ("train", "validation", "test"))


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    movies, config = films(), dataclasses.replace(CONFIG, epochs=4, dropout=0.2, drop_share=0.3)
    pairs = themed(list(movies))
    whole = train_movie_similarity(movies, pairs, config, tmp_path / "a")

    class Stop(Exception):
        pass

    def stop(line: dict[str, Any]) -> None:
        if line["epoch"] == 1:
            raise Stop

    with pytest.raises(Stop):
        train_movie_similarity(movies, pairs, config, tmp_path / "b", stop)
    for other in (shuffled(list(movies), 0), pairs):
        changed = config if other is not pairs else dataclasses.replace(config, seed=5)
        with pytest.raises(CheckpointError, match="another run"):
            train_movie_similarity(movies, other, changed, tmp_path / "b")
    told: list[int] = []
    resumed = train_movie_similarity(movies, pairs, config, tmp_path / "b", lambda line: told.append(line["epoch"]))
    assert told == [2, 3]
    assert resumed.config == whole.config
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(tensor, resumed.tensors[name], err_msg=name)
    assert training_of(whole) == training_of(resumed)


def test_the_seed_fixes_the_run(tmp_path: Path) -> None:
    movies = films(10)
    for epochs in (0, 1):
        config = dataclasses.replace(CONFIG, epochs=epochs)
        pairs = themed(list(movies))
        made = [
            train_movie_similarity(movies, pairs, dataclasses.replace(config, seed=seed), tmp_path / f"{run}{epochs}")
            for run, seed in (("a", 0), ("b", 0), ("c", 1))
        ]
        first, second, other = (checkpoint.tensors["output.weight"] for checkpoint in made)
        np.testing.assert_array_equal(first, second)
        assert (first != other).any()


def test_the_loss_is_the_cross_entropy_of_its_equation() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5, 3))
    pairs, similar = np.array([[0, 1], [2, 4], [3, 3]]), np.array([True, False, True])
    scale, offset = torch.tensor(2.5, dtype=torch.float64), torch.tensor(-0.5, dtype=torch.float64)
    rows = torch.from_numpy(vectors).requires_grad_()
    loss = similarity_loss(rows, torch.from_numpy(pairs), torch.from_numpy(similar), scale, offset)
    losses = []
    for (a, b), alike in zip(pairs, similar, strict=True):
        u, v = vectors[a], vectors[b]
        p = 1 / (1 + math.exp(-(2.5 * (u @ v) / math.sqrt((u @ u) * (v @ v)) - 0.5)))
        losses.append(-math.log(p if alike else 1 - p))
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: similarity_loss(x, torch.from_numpy(pairs), torch.from_numpy(similar), scale, offset), (rows,)
    )


def test_auc_is_how_often_a_true_one_scores_higher() -> None:
    rng = np.random.default_rng(3)
    truth, scores = rng.random(60) < 0.3, rng.integers(0, 9, 60)
    every = [
        (a > b) + 0.5 * (a == b) for a in scores[truth] for b in scores[~truth]
    ]  # fmt: skip
    assert area_under_roc(truth, scores) == pytest.approx(np.mean(every))
    with pytest.raises(FeatureError, match="auc: expected some that are true"):
        area_under_roc(np.ones(3), scores[:3])


def test_figures_are_of_cosines() -> None:
    pairs = MoviePairs.of_rows([("a", "b", True), ("a", "c", False), ("b", "d", False)])
    vectors = {"a": np.array([1, 0]), "b": np.array([2, 0.1]), "c": np.array([0, 3]), "d": np.zeros(2)}
    own = {name: vector.astype(np.float32) for name, vector in vectors.items()}
    np.testing.assert_allclose(cosines(pairs, own), [2 / math.hypot(2, 0.1), 0, 0], atol=1e-7)
    assert pair_figures(pairs, own) == {"auc": 1.0, "pairs": 3, "similar": 1}
    assert pair_figures(pairs.between("ab", "ab"), own)["auc"] is None


def test_shots_are_drawn_anew_and_modalities_left_out() -> None:
    movies = {"a": film(0, 0, 9), "b": film(1, 1, 3)}
    scaled = Films.scaled(movies, fitted(movies, ["picture", "sound"], {}), None)
    reader = batches.Reader(scaled, 4)
    own = scaled.rows["picture"].values
    drawn = [reader.drawn(torch.tensor([0, 1]), 0.0, torch.Generator().manual_seed(k)) for k in range(9)]
    for movies_read in drawn:
        assert movies_read.there.tolist() == [[True] * 4, [True] * 3 + [False]]
        places = [int((own == row).all(1).nonzero()[0]) for row in movies_read.features["picture"][0]]
        assert places == sorted(set(places))
        torch.testing.assert_close(movies_read.features["picture"][1, :3], own[9:12])
    assert any(not torch.equal(drawn[0].features["sound"], other.features["sound"]) for other in drawn)
    left = [reader.drawn(torch.tensor([0]), 0.6, torch.Generator().manual_seed(k)).features for k in range(60)]
    absent = [{m for m, rows in one.items() if torch.equal(rows[0, 0], scaled.rows[m].values[-1])} for one in left]
    assert {frozenset(own) for own in absent} == {frozenset(), frozenset({"picture"}), frozenset({"sound"})}


def test_an_epoch_has_every_similar_pair_once() -> None:
    movies = films(8)
    pairs = themed(list(movies))
    scaled = Films.scaled(movies, fitted(movies, ["picture", "sound"], {}), None)
    reader, numbers = batches.Reader(scaled, 4), torch.arange(8)
    generator = torch.Generator().manual_seed(0)
    made = list(batches.similar_and_others(pairs, numbers, reader, 10, 0.0, generator))
    assert [len(batch) for batch in made] == [10, 10, 4]
    assert [int(batch.similar.sum()) for batch in made] == [5, 5, 2]
    (whole,) = batches.pairs_of_movies(pairs, numbers, reader, 8, 0.0, generator)
    assert len(whole) == len(pairs)
    assert sorted(map(tuple, whole.pairs[whole.similar].tolist())) == sorted(
        map(tuple, pairs.pairs[pairs.similar].tolist())
    )
    some = list(batches.pairs_of_movies(pairs, numbers, reader, 5, 0.0, generator))
    assert [len(batch) for batch in some] == [10, 10]


def test_films_are_parted_by_name() -> None:
    names = [f"film{k}" for k in range(50)]
    config = MovieSimilarityConfig(test_share=0.2, validation_share=0.1)
    parts = split(names, config)
    assert {part: len(own) for part, own in parts.items()} == {"train": 35, "validation": 5, "test": 10}
    assert set(split(names[:40], config)["test"]) <= set(parts["test"])


def test_what_cannot_be_learnt_from_is_named(tmp_path: Path) -> None:
    movies = films(8)
    pairs = themed(list(movies))
    alike = dataclasses.replace(pairs, similar=np.ones(len(pairs), bool))
    gone = {name: movie for name, movie in movies.items() if name != "film03-1"}
    flat = movies | {"film00-0": Features({m: np.ones_like(r) for m, r in movies["film00-0"].modalities.items()})}
    for own, given, message in [
        (gone, pairs, "pairs: expected movies that are there, got 1 that are not: film03-1"),
        (movies, alike, r"expected similar pairs and others among the \d movies to train on"),
        (flat, pairs, "film00-0: picture: expected rows that differ"),
        ({}, pairs, "pairs: expected movies that are there, got 8"),
    ]:
        with pytest.raises(FeatureError, match=message):
            train_movie_similarity(own, given, CONFIG, tmp_path)
    with pytest.raises(FeatureError, match="smell: expected a modality|expected any of the modalities"):
        train_movie_similarity(movies, pairs, dataclasses.replace(CONFIG, modalities=("smell",)), tmp_path)
    hot = dataclasses.replace(CONFIG, optimizer="sgd", learning_rate=1e30, warmup=0.0)
    with pytest.raises(FeatureError, match="loss: expected a finite value"):
        train_movie_similarity(movies, pairs, hot, tmp_path)


def test_memory_is_checked_before_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movies = films(8)
    huge = dataclasses.replace(CONFIG, hidden_size=2**20, num_layers=64)
    with pytest.raises(ResourceLimitError, match=r"max_length: .*32 shots of each of \d movies, an estimated"):
        train_movie_similarity(movies, themed(list(movies)), huge, tmp_path)
    monkeypatch.setattr("megaseg.training.memory.free_bytes", lambda: 1000)
    with pytest.raises(ResourceLimitError, match="max_length"):
        train_movie_similarity(movies, themed(list(movies)), CONFIG, tmp_path)


@pytest.mark.parametrize(
    "values",
    [{"optimizer": "lion"}, {"learning_rate": 0}, {"batch_size": 1}, {"test_share": 1.0}, {"max_length": 0},
     {"momentum": 1.0}, {"components": {"picture": 99}}, {"validation_share": 0.5, "test_share": 0.5},
     {"weight_decay": -1}, {"epochs": 2.5}, {"epoch": 3}],
)  # fmt: skip
def test_a_bad_config_is_named(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=f"{next(iter(values))}"):
        train_movie_similarity(films(8), themed(list(films(8))), MovieSimilarityConfig.read(path), tmp_path)


def test_the_encoder_reads_raw_features(tmp_path: Path) -> None:
    movies = films(8)
    train_movie_similarity(movies, themed(list(movies)), dataclasses.replace(CONFIG, epochs=1), tmp_path)
    saved = load_checkpoint(tmp_path / "encoder.safetensors")
    assert {m.name: m.feature_size for m in saved.config.modalities} == {"picture": 12, "sound": 7}
    figures = training_of(saved)["validation"]["model"]["one"]
    data = training_of(saved)["data"]
    engine = Engine.from_checkpoint(saved)
    vectors = dict(zip(movies, movie_vectors(engine, movies.values()), strict=True))
    again = pair_figures(themed(list(movies)).between(data["validation"], data["train"]), vectors)
    assert again["auc"] == pytest.approx(figures["auc"], abs=0.02)
