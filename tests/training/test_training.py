"""Training on toy movies: it learns, resumes to the same weights, and exports what the engine runs."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg import Engine, Features, load_checkpoint, save_checkpoint, save_features
from megaseg.errors import CheckpointError, FeatureError

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
from megaseg.evaluation.baselines import baselines  # noqa: E402
from megaseg.evaluation.scene import boundary_scores, evaluate_scenes  # noqa: E402
from megaseg.training.corpus import Corpus  # noqa: E402
from megaseg.training.recipes.scene.config import SceneConfig  # noqa: E402
from megaseg.training.recipes.scene.trainer import SceneTrainer  # noqa: E402
from megaseg.training.scaling import fit_scalings  # noqa: E402

CONFIG = SceneConfig(
    max_length=5, hidden_size=16, ffn_size=16, num_heads=2, dropout=0.1, epochs=3, batch_size=8, window_stride=5,
    learning_rate=5e-3, block_dropout=0.05,
)  # fmt: skip


def movie(seed: int, shots: int = 60) -> Features:
    """A boundary follows every shot whose cue is high; the cue sits in both modalities, off centre and out of scale."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(shots) < 0.2).astype(np.uint8)
    labels[[0, -1]] = 1
    clip = rng.standard_normal((shots, 6)) * 0.05 + 3
    clip[:, 2] += 0.1 * labels
    audio = rng.standard_normal((shots, 3)) * 40
    audio[:, 0] += 60 * labels
    return Features({"clip": clip.astype(np.float32), "audio": audio.astype(np.float32)}, labels=labels, recipe="toy/1")


MOVIES = {f"m{i}": movie(i) for i in range(8)}
TRAIN = {name: MOVIES[name] for name in list(MOVIES)[:6]}
VALIDATION = {name: MOVIES[name] for name in list(MOVIES)[6:]}


def trainer(state: Path, config: SceneConfig = CONFIG, train: dict[str, Features] = TRAIN) -> SceneTrainer:
    return SceneTrainer(config, Corpus.from_movies(train), Corpus.from_movies(VALIDATION), state)


def test_it_learns_and_the_engine_agrees_with_the_trainer(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=12, patience=12, components={"audio": 3})
    checkpoint, history = trainer(tmp_path / "s", config).run()
    best = max(history, key=lambda epoch: epoch.validation.ap).validation
    assert best.ap > 0.8 > 0.4 > np.mean([m.labels.mean() for m in VALIDATION.values() if m.labels is not None])
    assert checkpoint.config.recipe == "toy/1"
    assert checkpoint.config.threshold == best.threshold
    save_checkpoint(tmp_path / "m.safetensors", checkpoint)
    engine = Engine.from_checkpoint(tmp_path / "m.safetensors", backend="torch")
    result = evaluate_scenes(engine, VALIDATION)
    # Feature scales are folded into the projections: the file gives the trainer's own figures on raw features.
    assert result.ap == pytest.approx(best.ap, abs=1e-4)
    assert result.f1 == pytest.approx(best.f1, abs=1e-4)


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole, _ = trainer(tmp_path / "a").run()

    class Stop(Exception):
        pass

    def stop(epoch: Any) -> None:
        if epoch.number == 1:
            raise Stop

    with pytest.raises(Stop):
        trainer(tmp_path / "b").run(stop)
    resumed, history = trainer(tmp_path / "b").run()
    assert [epoch.number for epoch in history] == [0, 1, 2]
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(tensor, resumed.tensors[name], err_msg=name)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=1)
    first, second = (trainer(tmp_path / name, config).run()[0] for name in "ab")
    other = trainer(tmp_path / "c", dataclasses.replace(config, seed=1)).run()[0]
    np.testing.assert_array_equal(first.tensors["head.weight"], second.tensors["head.weight"])
    assert (first.tensors["head.weight"] != other.tensors["head.weight"]).any()


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path / "s", dataclasses.replace(CONFIG, epochs=1)).run()
    with pytest.raises(CheckpointError, match="another run"):
        trainer(tmp_path / "s").run()
    (tmp_path / "s").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="training state"):
        trainer(tmp_path / "s").run()


def test_principal_directions_are_kept_and_folded() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.standard_normal((50, 2)) @ rng.standard_normal((2, 9))).float()
    rows[7] = 0
    (scaling,) = fit_scalings({"clip": rows}, {"clip": 2}).values()
    reduced = scaling(rows)
    assert reduced.shape == (50, 2)
    assert not reduced[7].any()
    # Two directions hold rows of rank 2 whole.
    np.testing.assert_allclose(torch.linalg.lstsq(reduced, rows).residuals.numpy(), 0, atol=1e-8)
    weight, bias = torch.randn(4, 2), torch.randn(4)
    full, shift = scaling.folded(weight, bias)
    np.testing.assert_allclose(rows @ full.T + shift, reduced @ weight.T + bias, atol=1e-4)


@pytest.mark.parametrize("components", [{"smell": 1}, {"clip": 7}, {"clip": 0}])
def test_components_that_do_not_fit_are_refused(tmp_path: Path, components: dict[str, int]) -> None:
    with pytest.raises(CheckpointError, match="components"):
        trainer(tmp_path / "s", dataclasses.replace(CONFIG, components=components))


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=40, patience=2, learning_rate=2e-2)
    checkpoint, history = trainer(tmp_path / "s", config).run()
    figures = [epoch.validation.ap for epoch in history]
    assert len(history) < 40
    assert len(figures) - 1 - figures.index(max(figures)) == 2
    best = max(history, key=lambda epoch: epoch.validation.ap)
    assert checkpoint.config.threshold == best.validation.threshold


def test_windows_of_an_epoch_cover_every_shot_and_know_their_labels() -> None:
    corpus = Corpus.from_movies(TRAIN)
    generator = torch.Generator().manual_seed(0)
    cue = torch.zeros(len(corpus.labels))
    seen, positives = 0, 0
    for features, labels, counts in corpus.training_windows(5, 5, 8, generator):
        assert features["clip"].shape == (len(labels), 5, 6)
        seen += int(counts.sum())
        positives += int(labels[counts].sum())
    # Every shot but each movie's last counts exactly once when windows do not overlap.
    assert seen == len(cue) - len(TRAIN)
    assert positives == int(corpus.labels.sum()) - len(TRAIN)


def test_a_left_out_boundary_moves_to_the_block_before() -> None:
    corpus = Corpus.from_movies(TRAIN)
    generator = torch.Generator().manual_seed(1)
    index, labels, _ = corpus._rows_of(torch.tensor([0]), torch.tensor([0]), 5, generator, block_dropout=0.5)
    rows = [*index[0].tolist(), int(index[0, -1]) + 1]
    assert rows != list(range(6))
    expected = [int(corpus.labels[a:b].any()) for a, b in itertools.pairwise(rows)]
    assert labels[0].tolist() == expected


def test_unlike_movies_are_refused() -> None:
    odd = Features({"clip": np.ones((4, 6), np.float32)}, labels=np.ones(4, np.uint8), recipe="toy/1")
    with pytest.raises(FeatureError, match="odd"):
        Corpus.from_movies({**TRAIN, "odd": odd})


@pytest.mark.parametrize(
    "values",
    [{"epochs": 1.5}, {"epochs": True}, {"width": 3}, {"components": 4}, {"components": {"clip": 0.5}}, [], "{"],
)
def test_a_bad_config_is_named(tmp_path: Path, values: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        SceneConfig.read(path)


def test_scores_need_a_scene_model_and_fitting_features(act_checkpoint: Path, scene_checkpoint: Path) -> None:
    with pytest.raises(FeatureError, match="scene model"):
        boundary_scores(Engine.from_checkpoint(act_checkpoint, backend="torch"), VALIDATION)
    with pytest.raises(FeatureError, match="m6"):
        boundary_scores(Engine.from_checkpoint(scene_checkpoint, backend="torch"), VALIDATION)


def structured(seed: int) -> Features:
    """Features of the screenplay recipe's shape whose first description column gives the boundary away."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(80) < 0.2).astype(np.uint8)
    labels[[3, -1]] = 1
    rows = {name: 0.1 * rng.standard_normal((80, width)) for name, width in
            {"description": 384, "dialogue": 384, "structure": 80}.items()}  # fmt: skip
    rows["description"][:, 0] += labels
    return Features({name: array.astype(np.float32) for name, array in rows.items()}, labels=labels)


def test_baselines_use_the_text_only_where_they_should() -> None:
    results = baselines({str(i): structured(i) for i in range(10)}, {"x": structured(99), "y": structured(98)})
    assert set(results) == {"no_text", "logistic_regression"}
    assert results["logistic_regression"].ap > 0.6 > 0.4 > results["no_text"].ap
    with pytest.raises(FeatureError, match="structure"):
        baselines(TRAIN, VALIDATION)


@pytest.fixture
def megaseg(tmp_path: Path) -> Callable[..., Any]:
    """The command line in a process of its own, in a folder with features and a config; what it prints as JSON."""
    folder = tmp_path / "features"
    folder.mkdir()
    for name, features in MOVIES.items():
        save_features(folder / f"{name}.npz", features)
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(CONFIG)))

    def call(*arguments: str) -> Any:
        command = [sys.executable, "-c", "from megaseg.cli import main; main()", *arguments, "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_the_commands_train_and_evaluate(megaseg: Callable[..., Any], tmp_path: Path) -> None:
    options = ("--fold", "1", "--folds", "3")
    trained = megaseg("train", "scene", "features", "-o", "m.safetensors", "--config", "config.json", *options)
    assert not (tmp_path / "m.safetensors.state").exists()
    training = json.loads(load_checkpoint(tmp_path / "m.safetensors").metadata["training"])
    assert training["config"] == dataclasses.asdict(CONFIG)
    assert 1 <= training["epochs"] <= 3
    scored = megaseg("eval", "scene", "features", "--checkpoint", "m.safetensors", "--backend", "torch", *options)
    assert scored["movies"] == training["validation"]["movies"]
    assert scored["ap"] == pytest.approx(trained["ap"], abs=1e-4)
    assert {"ap", "map", "f1", "miou", "f1_at_half", "threshold"} <= set(scored)


@pytest.mark.slow
def test_the_command_trains_on_all_movies(megaseg: Callable[..., Any], tmp_path: Path) -> None:
    options = ("--all-movies", "--folds", "3")
    trained = megaseg("train", "scene", "features", "-o", "all.safetensors", "--config", "config.json", *options)
    checkpoint = load_checkpoint(tmp_path / "all.safetensors")
    training = json.loads(checkpoint.metadata["training"])
    assert training["data"]["movies"] == sorted(MOVIES)
    assert trained["movies"] == len(MOVIES)  # every movie was held out once
    assert sum(fold["movies"] for fold in training["folds"]) == len(MOVIES)
    assert checkpoint.config.threshold == pytest.approx(trained["threshold"])
    assert sorted(path.name for path in tmp_path.iterdir() if "state" in path.name) == []
    seen = megaseg("eval", "scene", "features", "--checkpoint", "all.safetensors", "--backend", "torch")
    assert seen["ap"] >= trained["ap"] - 0.02  # it has now trained on what it is scored on
