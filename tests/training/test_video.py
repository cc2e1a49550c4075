"""Training of the scene model of films: views, scales, held-out films, and that it learns and repeats itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from shot_features import film

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from megaseg import Engine, load_checkpoint, save_features  # noqa: E402
from megaseg.cli import app  # noqa: E402
from megaseg.engine.inputs.features import Features  # noqa: E402
from megaseg.errors import FeatureError  # noqa: E402
from megaseg.evaluation.metrics import average_precision  # noqa: E402
from megaseg.evaluation.scene import boundary_scores  # noqa: E402
from megaseg.features.video.similarity import rows_of  # noqa: E402
from megaseg.training.recipes.video.config import VideoConfig  # noqa: E402
from megaseg.training.recipes.video.ensemble import Scale, Trainer  # noqa: E402
from megaseg.training.recipes.video.films import films_of, made, views  # noqa: E402
from megaseg.training.recipes.video.grouping import grouping_checkpoint  # noqa: E402
from megaseg.training.recipes.video.run import tolerant_threshold, train_video  # noqa: E402

SMALL = VideoConfig(members=1, member_size=4, epochs=4, views=2, learning_rate=1e-2)


def movies(count: int = 4, shots: int = 60) -> dict[str, Features]:
    return {f"film-{k}": film(shots=shots, seed=k) for k in range(count)}


def ap(checkpoint, movie: Features) -> float:  # type: ignore[no-untyped-def]
    scores = boundary_scores(Engine.from_checkpoint(checkpoint, compute_type="float32"), {"film": movie})["film"]
    return average_precision(movie.labels[:-1], scores[:-1])


def test_spaces_of_a_film_are_joined() -> None:
    movie = film()
    other = Features({"visual": movie.modalities["visual"][:, :5]}, movie.times, movie.time_base, movie.labels)
    films = films_of({"a@net": other, "a": movie, "b": film(seed=2)})
    assert list(films) == ["a", "b"]
    assert [space.modalities["visual"].shape[1] for space in films["a"].spaces] == [16, 5]
    with pytest.raises(FeatureError, match="a@net: expected the labels of the film's other spaces"):
        films_of({"a": movie, "a@net": dataclasses.replace(other, labels=1 - movie.labels)})
    with pytest.raises(FeatureError, match="a: recipe: expected raw features"):
        films_of({"a": rows_of(movie)})


def test_views_leave_out_and_add() -> None:
    own = films_of({"a": film()})["a"]
    found = views(own, 40, np.random.default_rng(0))
    assert len(found) == 41
    np.testing.assert_array_equal(found[0].modalities["visual"], rows_of(film()).modalities["visual"])
    some = {name: np.mean([view.modalities[name].any() for view in found]) for name in found[0].modalities}
    assert 0.5 < some["visual"] < 1
    assert 0.5 < some["colour"] < 1
    assert 0 < some["audio"] < 0.8
    assert 0 < some["dialogue"] < 0.8
    assert all(view.modalities["visual"].any() or view.modalities["colour"].any() for view in found)


def test_made_features_change_at_some_scenes() -> None:
    labels = film(shots=600).labels
    jumps = []
    for seed in range(12):
        rows = made(labels, np.random.default_rng(seed))
        jump = np.linalg.norm(np.diff(rows, axis=0), axis=1)
        jumps.append(jump[labels[:-1] > 0].mean() / jump[labels[:-1] == 0].mean())
    assert max(jumps) > 1.3
    assert min(jumps) < 1.05  # noise


def test_scaled_weights_are_weights_of_scaled_rows() -> None:
    rng = np.random.default_rng(0)
    rows = (3 + 5 * rng.standard_normal((50, 6))).astype(np.float32)
    rows[:, 0] = 1
    rows[::7] = 0
    scale, weight = Scale.of(rows), rng.standard_normal((3, 6)).astype(np.float32)
    scaled = scale.scaled(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(rows @ scale.folded(weight).T, scaled @ weight.T, atol=1e-4)
    assert not scaled[::7].any()
    there = scaled[rows[:, 0] > 0]
    np.testing.assert_allclose(there[:, 1:].mean(0), 0, atol=1e-4)
    assert Scale.of(np.zeros((4, 6), np.float32)).scaled(torch.zeros(4, 6)).eq(0).all()


def test_a_held_out_film_does_not_matter() -> None:
    own = movies()
    other = {**own, "film-0": dataclasses.replace(own["film-0"], labels=np.roll(own["film-0"].labels, 3))}
    config = dataclasses.replace(SMALL, views=0)  # made sounds would differ
    checkpoints = [Trainer(films_of(given), [{"film-0"}, set()], config).run() for given in (own, other)]
    for same, names in ((True, 0), (False, 1)):
        left, right = (found[names].tensors for found in checkpoints)
        assert all(np.array_equal(left[name], right[name]) for name in left) == same


def test_it_learns_and_repeats_itself() -> None:
    config = dataclasses.replace(SMALL, epochs=12)
    checkpoint, report = train_video(movies(8), config, folds=2)
    again, _ = train_video(movies(8), config, folds=2)
    assert all(np.array_equal(checkpoint.tensors[name], again.tensors[name]) for name in checkpoint.tensors)
    assert ap(checkpoint, film(shots=200, seed=100)) > 0.5  # 0.17 by chance
    assert report["validation"]["movies"] == 8
    assert 0 < checkpoint.config.threshold < 1


def test_the_threshold_is_that_of_the_highest_tolerant_f1() -> None:
    labels = {"a": np.array([0, 1, 0, 0, 1, 0, 0], np.uint8)}
    scores = {"a": np.array([0.1, 0.3, 0.8, 0.2, 0.7, 0.1, 0.0], np.float32)}
    assert 0.3 < tolerant_threshold(labels, scores) <= 0.7  # the boundary of 0.8 is one shot late


def test_the_command_writes_a_checkpoint(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    folder = tmp_path / "films"
    folder.mkdir()
    for name, movie in movies(6, shots=40).items():
        save_features(folder / f"{name}.npz", movie)
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(SMALL)))
    output = tmp_path / "scenes.safetensors"
    arguments = ["train", "video-scenes", folder, "-o", output, "--folds", 2, "--terms", "our own", "--json"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--config", str(tmp_path / "config.json")])
    assert done.exit_code == 0, done.output
    training = json.loads(load_checkpoint(output).metadata["training"])
    assert training["data"]["terms"] == "our own"
    assert training["config"]["members"] == 1
    assert set(training["validation"]["f1_at"]) == {"0", "1", "2"}


def test_optimal_grouping_ships_as_it_is_made() -> None:
    made_here, shipped = grouping_checkpoint(), load_checkpoint("optimal-grouping")
    assert shipped.config == made_here.config
    assert all(np.array_equal(made_here.tensors[name], shipped.tensors[name]) for name in made_here.tensors)
    assert ap(made_here, film(shots=200, seed=7)) > 0.6
    silent = Engine.from_checkpoint(made_here).segment(rows_of(film(names=("audio",))))
    assert len(silent.tracks["scenes"].segments) == 1  # of pictures alone
