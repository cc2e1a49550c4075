"""Scene contrast on films that share planted scenes: what it pulls together, its negatives, and that runs go on."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from themed_films import RECIPE, noisy, planted, subjects_of

from megaseg import Engine, Features, load_checkpoint, save_features
from megaseg.errors import CheckpointError, FeatureError, ResourceLimitError
from megaseg.pipelines.mined_pairs import MinedPairs

torch = pytest.importorskip("torch")
from megaseg.pipelines.scenes import scene_vectors  # noqa: E402
from megaseg.training.objectives.momentum_contrast import follow, momentum_contrast  # noqa: E402
from megaseg.training.recipes.pretrain.films import Films, fitted  # noqa: E402
from megaseg.training.recipes.scene_contrast.batches import ScenePairs  # noqa: E402
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig  # noqa: E402
from megaseg.training.recipes.scene_contrast.halves import SceneHalves  # noqa: E402
from megaseg.training.recipes.scene_contrast.models import Keys, Related, SceneProjection  # noqa: E402
from megaseg.training.recipes.scene_contrast.run import pretrain_scene_contrast  # noqa: E402
from megaseg.training.recipes.scene_contrast.setup import prepare  # noqa: E402

CONFIG = SceneContrastConfig(
    hidden_size=16, ffn_size=32, num_heads=2, num_layers=1, dropout=0.0, projection_size=12, key_momentum=0.9,
    epochs=3, batch_size=32, learning_rate=5e-3, warmup=0.1, validation_share=0.25, drop_share=0.0,
)  # fmt: skip
SCENES = np.array([[first, first + 8] for first in range(0, 54, 9)])


def mined(movies: dict[str, Features]) -> MinedPairs:
    """The scenes of one subject in every two of the films."""
    names = tuple(movies)
    there = [subjects_of(movies[name]) for name in names]
    rows = [
        (a, b, 9 * i, 9 * there[b].index(subject))
        for a in range(len(names)) for b in range(a + 1, len(names))
        for i, subject in enumerate(there[a]) if subject in there[b]
    ]  # fmt: skip
    pairs, first = np.array([row[:2] for row in rows], np.int32), np.array([row[2:] for row in rows], np.int32)
    shots = np.array([movie.num_shots for movie in movies.values()], np.int32)
    return MinedPairs(names, shots, ("",) * len(names), pairs, first, np.ones(len(rows), np.float32), 9, "e" * 64)


def nearest_is_of_the_subject(checkpoint: Any, movies: dict[str, Features], plain: dict[str, Features]) -> float:
    """How often a scene's nearest scene of another film has its subject, which films without noise tell."""
    engine = Engine.from_checkpoint(checkpoint, backend="torch")
    vectors = np.concatenate([scene_vectors(engine, movie, SCENES) for movie in movies.values()])
    subjects = np.concatenate([subjects_of(movie) for movie in plain.values()])
    films = np.repeat(np.arange(len(movies)), len(SCENES))
    scores = vectors @ vectors.T
    scores[films[:, None] == films] = -2
    return float(np.mean(subjects[scores.argmax(1)] == subjects))


def test_it_pulls_planted_pairs_together(tmp_path: Path) -> None:
    plain = planted(16, 16)
    movies = noisy(plain)
    config = dataclasses.replace(CONFIG, epochs=14, validation_share=0.3, learning_rate=4e-3, temperature=0.2)
    random = pretrain_scene_contrast(movies, mined(plain), dataclasses.replace(config, epochs=0), tmp_path / "r")
    told: list[dict[str, Any]] = []
    trained = pretrain_scene_contrast(movies, mined(plain), config, tmp_path / "t", told.append)
    for part, figure in (("train", "loss"), ("validation", "loss")):
        assert told[-1][part][figure] < 0.7 * told[0][part][figure]
    assert told[-1]["validation"]["accuracy"] > told[0]["validation"]["accuracy"]
    assert nearest_is_of_the_subject(random, movies, plain) < 0.6
    assert nearest_is_of_the_subject(trained, movies, plain) > 0.85
    saved = load_checkpoint(tmp_path / "t" / "encoder.safetensors")
    training = json.loads(saved.metadata["training"])
    assert (saved.config.family, saved.config.recipe) == ("scene_encoder", RECIPE)
    assert training["data"]["mined_by"] == "e" * 64
    assert (len(training["data"]["films"]), len(training["data"]["held_out"])) == (11, 5)
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["encoder.safetensors", "log.jsonl"]


def test_halves_need_no_other_film(tmp_path: Path) -> None:
    plain = planted(16, 16)
    movies = noisy(plain, 1.0)
    config = dataclasses.replace(CONFIG, positives="halves", epochs=30, scenes_together=6, batch_size=24)
    random = pretrain_scene_contrast(movies, None, dataclasses.replace(config, epochs=0), tmp_path / "r")
    trained = pretrain_scene_contrast(movies, None, config, tmp_path / "t")
    before, after = (nearest_is_of_the_subject(made, movies, plain) for made in (random, trained))
    assert after > before + 0.2


def test_momentum_contrast_is_its_equation() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((n, 3)) for n in (4, 4, 6)]
    queries, keys, queue = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows)
    allowed = rng.random((4, 6)) < 0.5
    allowed[0] = False
    allowed[1, 0] = True
    losses = []
    for i in range(1, 4):
        own = math.exp(queries[i] @ keys[i] / 0.2)
        others = sum(math.exp(queries[i] @ queue[j] / 0.2) for j in range(6) if allowed[i, j])
        losses.append(-math.log(own / (own + others)))
    tensors = [torch.from_numpy(x) for x in (queries, keys, queue)]
    found = momentum_contrast(*tensors, torch.from_numpy(allowed), 0.2)
    assert found is not None
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-12)
    assert momentum_contrast(*tensors, torch.zeros(4, 6, dtype=torch.bool), 0.2) is None
    tensors[0].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: momentum_contrast(x, *tensors[1:], torch.from_numpy(allowed), 0.2), (tensors[0],)
    )


def test_the_encoder_of_keys_follows_by_its_momentum() -> None:
    torch.manual_seed(0)
    keys, queries = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.9 * keys.weight.detach() + 0.1 * queries.weight.detach()
    follow(keys, queries, 0.9)
    torch.testing.assert_close(keys.weight.detach(), expected)


def test_the_queue_holds_the_last_keys() -> None:
    own = prepare(planted(), mined(planted()), CONFIG)
    model = SceneProjection(own.model, 12)
    keys = Keys(model, 5, Related(), 0.5)
    batch = own.train.fixed(9, 8)
    made = [
        keys.next(model, {"picture": batch.keys["picture"][k : k + 2]}, torch.tensor([k, k + 1])) for k in (0, 2, 4)
    ]
    rows, allowed = keys.negatives(torch.tensor([[2, 3], [9, 9]]))
    torch.testing.assert_close(rows[[1, 2, 3, 4, 0]], torch.cat(made)[1:])
    assert allowed.tolist() == [[True, True, False, False, True], [True] * 5]
    again = Keys(SceneProjection(own.model, 12), 5, Related(), 0.5)
    again.restore(keys.state())
    follow(model, model, 1.0)
    torch.testing.assert_close(
        again.next(model, batch.keys, batch.owners[:, 1]), keys.next(model, batch.keys, batch.owners[:, 1])
    )
    assert torch.equal(again.negatives(batch.owners)[0], keys.negatives(batch.owners)[0])


@pytest.mark.parametrize("excluded", ["pair", "similar"])
def test_negatives_never_come_from_the_movies_of_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excluded: str
) -> None:
    movies = planted()
    pairs = mined(movies)
    ring = np.isin((pairs.movies[:, 1] - pairs.movies[:, 0]) % 8, [1, 7])  # every film with its two neighbours
    pairs = dataclasses.replace(pairs, movies=pairs.movies[ring], first=pairs.first[ring], scores=pairs.scores[ring])
    joined = {frozenset(pair) for pair in pairs.movies.tolist()}
    seen: list[tuple[set[int], set[int]]] = []
    negatives = Keys.negatives

    def watched(self: Any, owners: Any) -> Any:
        rows, allowed = negatives(self, owners)
        queued = self._owners[: self._filled]
        seen.extend((set(pair), set(queued[own].tolist())) for pair, own in zip(owners.tolist(), allowed, strict=True))
        return rows, allowed

    monkeypatch.setattr(Keys, "negatives", watched)
    config = dataclasses.replace(CONFIG, excluded=excluded, own_share=0.3, validation_share=0.0, epochs=2)
    pretrain_scene_contrast(movies, pairs, config, tmp_path)
    assert any(others for _, others in seen)
    for own, others in seen:
        assert not own & others
        if excluded == "similar":
            assert not any(frozenset((a, b)) in joined for a in own for b in others)
    if excluded == "pair":
        assert any(frozenset((a, b)) in joined for own, others in seen for a in own for b in others)


def test_negatives_of_a_half_are_all_other_scenes() -> None:
    own = prepare(planted(), None, dataclasses.replace(CONFIG, positives="halves"))
    assert isinstance(own.train, SceneHalves)
    batches = list(own.train.training(dataclasses.replace(CONFIG, scenes_together=3, batch_size=6), torch.Generator()))
    assert sum(map(len, batches)) == len(own.train) == 36
    for batch in batches:
        allowed = own.related.allowed(batch.owners, batch.owners[:, 1])
        assert (~allowed).sum() == len(batch)
        films = (batch.owners[:, 0] // 6).tolist()
        assert all(films.count(film) % 3 == 0 for film in films)


def scaled(movies: dict[str, Features]) -> Films:
    return Films.scaled(movies, fitted(movies, list(next(iter(movies.values())).modalities), {}), None)


def numbered(shots: int = 30) -> dict[str, Features]:
    """Two films whose rows are the numbers of their shots, in two modalities."""
    rows = np.arange(shots, dtype=np.float32)[:, None]
    return {name: Features({"a": rows + k, "b": -rows - k}) for k, name in enumerate("xy", 1)}


def shots_of(films: Films, features: Any, movie: int) -> list[list[int]]:
    own = films.rows["a"].values[int(films.edges[movie]) : int(films.edges[movie + 1]), 0]
    return [[int((own - value).abs().argmin()) for value in rows[:, 0]] for rows in features["a"]]


def test_scenes_are_changed_as_the_config_says() -> None:
    films = scaled(numbered())
    pairs = ScenePairs(films, torch.tensor([[0, 1]] * 200), torch.tensor([[10, 20]] * 200), 9)
    plain = dataclasses.replace(CONFIG, most_shift=0, shot_drop_share=0.0, batch_size=200)
    (batch,) = pairs.training(plain, torch.Generator().manual_seed(0))
    turned = batch.owners[:, 0] == 1
    assert 60 < int(turned.sum()) < 140
    first = [shots_of(films, {"a": batch.queries["a"][k : k + 1]}, int(batch.owners[k, 0]))[0][0] for k in range(200)]
    assert [20 if k else 10 for k in turned.tolist()] == first
    shifted = dataclasses.replace(plain, most_shift=2, own_share=1.0)
    (batch,) = pairs.training(shifted, torch.Generator().manual_seed(0))
    assert torch.equal(batch.owners[:, 0], batch.owners[:, 1])
    starts = [rows[0] for rows in shots_of(films, {"a": batch.queries["a"][batch.owners[:, 0] == 0]}, 0)]
    assert set(starts) == {8, 9, 10, 11, 12}
    (batch,) = pairs.training(dataclasses.replace(plain, shot_drop_share=0.3), torch.Generator().manual_seed(0))
    views = shots_of(films, {"a": batch.queries["a"][batch.owners[:, 0] == 0]}, 0)
    assert all(view == sorted(set(view)) and view[0] in range(10, 20) for view in views)
    assert any(view[-1] > 18 for view in views)
    ends = shots_of(films, {"a": batch.queries["a"][batch.owners[:, 0] == 1]}, 1)
    assert max(max(view) for view in ends) == 29
    (batch,) = pairs.training(dataclasses.replace(plain, drop_share=0.6), torch.Generator().manual_seed(0))
    absent = [(batch.queries[m][:, 0] == films.rows[m].values[-1]).all(1) for m in "ab"]
    assert all(int(own.sum()) > 10 for own in absent)
    assert not (absent[0] & absent[1]).any()


def test_halves_are_disjoint_and_in_order() -> None:
    movies = {
        name: dataclasses.replace(movie, labels=np.isin(np.arange(30), [2, 3, 9]).astype(np.uint8))
        for name, movie in numbered().items()
    }
    films = scaled(movies)
    halves = SceneHalves.of(films, movies, ["x"])
    assert halves.begin.tolist() == [0, 4, 10]  # the scene of one shot has no halves; the rest of the film is a scene
    assert halves.end.tolist() == [3, 10, 30]
    queries, keys = halves._halves(torch.tensor([0, 1, 2]), 9, torch.Generator().manual_seed(0))
    for view, other, (low, high) in zip(queries.tolist(), keys.tolist(), ((0, 3), (4, 10), (10, 30)), strict=True):
        assert not set(view) & set(other)
        for own in (view, other):
            assert own == sorted(own)
            assert set(own) <= set(range(low, high))
    assert set(queries[1].tolist()) | set(keys[1].tolist()) == set(range(4, 10))
    assert len(set(queries[2].tolist())) == 9
    fixed = halves.fixed(9, 2)
    assert torch.equal(fixed.queries["a"], halves.fixed(9, 2).queries["a"])
    assert len(fixed) == 2


class Stop(Exception):
    pass


def stop(line: dict[str, Any]) -> None:
    if line["epoch"] == 1:
        raise Stop


@pytest.mark.parametrize("kind", ["pairs", "halves", "kept layers"])
def test_an_interrupted_run_ends_in_the_same_weights(tmp_path: Path, kind: str) -> None:
    movies = planted()
    pairs = mined(movies) if kind == "pairs" else None
    config = dataclasses.replace(
        CONFIG, epochs=4, dropout=0.2, drop_share=0.2, own_share=0.2, queue_size=40, pairs_per_epoch=50
    )
    if pairs is None:
        config = dataclasses.replace(config, positives="halves")
    if kind == "kept layers":
        config = dataclasses.replace(config, start="mean", keep_layers=True, projection_layers=0)
    whole = pretrain_scene_contrast(movies, pairs, config, tmp_path / "a")
    with pytest.raises(Stop):
        pretrain_scene_contrast(movies, pairs, config, tmp_path / "b", stop)
    with pytest.raises(CheckpointError, match="another run"):
        pretrain_scene_contrast(movies, pairs, dataclasses.replace(config, seed=5), tmp_path / "b")
    if pairs is not None:
        moved = dataclasses.replace(pairs, first=np.maximum(pairs.first - 1, 0))
        with pytest.raises(CheckpointError, match="another run"):
            pretrain_scene_contrast(movies, moved, config, tmp_path / "b")
    told: list[int] = []
    resumed = pretrain_scene_contrast(movies, pairs, config, tmp_path / "b", lambda line: told.append(line["epoch"]))
    assert told == [2, 3]
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(tensor, resumed.tensors[name], err_msg=name)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < end, "the run had no epoch in time"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    movies = planted()
    (tmp_path / "films").mkdir()
    for name, movie in movies.items():
        save_features(tmp_path / "films" / f"{name}.npz", movie)
    mined(movies).save(tmp_path / "pairs.npz")
    values = dataclasses.asdict(CONFIG) | {"epochs": 30, "modalities": ["picture"], "dropout": 0.1}
    (tmp_path / "c.json").write_text(json.dumps(values))

    def command(run: str) -> list[str]:
        words = ["pretrain", "scene-contrast", "films", "--pairs", "pairs.npz", "--config", "c.json", "--threads", "1"]
        return [sys.executable, "-m", "megaseg", *words, "-o", run]

    subprocess.run(command("a"), cwd=tmp_path, check=True, capture_output=True)
    process = subprocess.Popen(command("b"), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((tmp_path / "b" / "log.jsonl").exists, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b" / "encoder.safetensors").exists()
    done = len((tmp_path / "b" / "log.jsonl").read_text().splitlines())
    assert 0 < done < 30
    subprocess.run(command("b"), cwd=tmp_path, check=True, capture_output=True)
    whole, again = (load_checkpoint(tmp_path / run / "encoder.safetensors") for run in "ab")
    assert whole.weights_sha256() == again.weights_sha256()


def test_without_held_out_pairs_the_last_epoch_is_kept(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    config = dataclasses.replace(CONFIG, validation_share=0.0)
    made = pretrain_scene_contrast(planted(), mined(planted()), config, tmp_path, told.append)
    assert all("validation" not in line for line in told)
    assert json.loads(made.metadata["training"])["epochs"] == 3


def test_what_cannot_be_learnt_from_is_named(tmp_path: Path) -> None:
    movies = planted()
    pairs = mined(movies)
    gone = {name: movie for name, movie in movies.items() if name != "planted03"}
    cut = movies | {"planted03": Features({"picture": movies["planted03"].modalities["picture"][:50]}, recipe=RECIPE)}
    two = mined({name: movies[name] for name in ("planted00", "planted01")})
    every = dataclasses.replace(CONFIG, excluded="similar")
    halves = dataclasses.replace(CONFIG, positives="halves")
    unlabelled = {name: dataclasses.replace(movie, labels=None) for name, movie in movies.items()}
    for own, given, config, message in [
        (gone, pairs, CONFIG, "expected the movies that they were mined from, planted03 is not there"),
        (cut, pairs, CONFIG, "planted03: expected the 54 shots"),
        (movies, two, dataclasses.replace(CONFIG, validation_share=0.0), "expected movies beside the two of a pair"),
        (movies, two, CONFIG, "scenes: expected positives in the 1 movies to train on, got none"),
        (movies, pairs, every, "expected movies beside the two of a pair"),
        (movies, None, CONFIG, "scene pairs: expected some, of which positives are made"),
        (movies, pairs, halves, "scene pairs: expected none"),
        (unlabelled, None, halves, "planted00: expected labels, the last shot of every scene"),
        ({"planted00": movies["planted00"]}, None, halves, "films: expected at least 2"),
    ]:
        with pytest.raises(FeatureError, match=message):
            pretrain_scene_contrast(own, given, config, tmp_path)
    hot = dataclasses.replace(CONFIG, learning_rate=1e30, warmup=0.0)
    with pytest.raises(FeatureError, match="loss: expected a finite value"):
        pretrain_scene_contrast(movies, pairs, hot, tmp_path)


def test_memory_is_checked_before_it_is_taken(tmp_path: Path) -> None:
    huge = dataclasses.replace(CONFIG, hidden_size=2**16, ffn_size=2**20, num_layers=64)
    with pytest.raises(ResourceLimitError, match=r"batch_size: .*32 scene pairs beside 90 keys, an estimated"):
        pretrain_scene_contrast(planted(), mined(planted()), huge, tmp_path)


@pytest.mark.parametrize(
    "values",
    [{"positives": "all"}, {"excluded": "none"}, {"length": 8}, {"temperature": 0}, {"key_momentum": 1.0},
     {"own_share": 1.5}, {"queue_size": 0}, {"hidden_size": 30, "num_heads": 4}, {"most_shift": -1}, {"warmup": 1}],
)  # fmt: skip
def test_a_bad_config_is_named(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=f"{next(iter(values))}"):
        pretrain_scene_contrast(planted(), mined(planted()), SceneContrastConfig.read(path), tmp_path)
