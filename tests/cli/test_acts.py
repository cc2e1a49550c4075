"""Acts on the command line: two models and one screenplay, and ``megaseg train act`` end to end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support import Run

from megaseg import Features, load_checkpoint, save_features


def test_a_feature_file_cannot_serve_models_of_different_recipes(run: Run) -> None:
    code, _, err = run("segment", "sample", "-c", "screenplay-scenes", "-c", "screenplay-acts")
    assert code == 2
    assert "give the film or the screenplay itself, or one checkpoint" in " ".join(err.split())


def test_an_act_model_needs_scenes_and_says_which_model_finds_them(run: Run, tmp_path: Path) -> None:
    blocks = [["a", "", "He waits.", None], ["d", "BEN", "Hello.", None]]
    (tmp_path / "one.jsonl").write_text(json.dumps({"name": "one", "blocks": blocks}))
    code, _, err = run("segment", tmp_path / "one.jsonl", "-c", "screenplay-acts")
    assert code == 2
    assert "a model that finds scenes as well supplies them: --checkpoint screenplay-scenes" in " ".join(err.split())


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | Path]:
    """Arguments of ``train act`` on nine small movies; sentences are random vectors."""
    rng = np.random.default_rng(0)

    class Random:
        @classmethod
        def from_checkpoint(cls, *_: object, **__: object) -> Random:
            return cls()

        def encode(self, texts: list[str]) -> np.ndarray:
            return rng.standard_normal((len(texts), 8)).astype(np.float32)

    monkeypatch.setattr("megaseg.cli.train_act.Encoder", Random)
    (tmp_path / "features").mkdir()
    rows = []
    for number in range(9):
        clip = rng.standard_normal((24 + number, 8)).astype(np.float32)
        save_features(tmp_path / f"features/movie_{number}.npz", Features({"clip": clip}, recipe="test/1"))
        sentences = [f"Sentence {j}." for j in range(8)]
        rows.append({"name": f"movie {number}", "sentences": sentences, "annotations": [{"tp": [0, 2, 4, 5, 7]}]})
    (tmp_path / "synopses.jsonl").write_text("\n".join(map(json.dumps, rows)))
    gold = "".join(f"movie {number},1,5,11,17,23\n" for number in range(9))
    (tmp_path / "gold.csv").write_text("name,tp1,tp2,tp3,tp4,tp5\n" + gold)
    config = {
        "hidden_size": 8, "ffn_size": 8, "num_heads": 2, "num_bottleneck": 4, "max_length": 64, "text": "clip",
        "rounds": 1, "round_epochs": 1, "synopsis_epochs": 1, "epochs": 2, "density": 0.1,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    return [tmp_path / "features", "--synopses", tmp_path / "synopses.jsonl", "--config", tmp_path / "config.json"]


@pytest.mark.slow
def test_train_act_leaves_a_run_that_eval_and_results_read(run: Run, data: list[str | Path], tmp_path: Path) -> None:
    command = ["train", "act", *data, "--gold", tmp_path / "gold.csv", "-o", tmp_path / "run", "--seeds", "2"]
    code, out, err = run(*command, "--folds", "2", "--all-movies", "--json")
    assert code == 0, err
    seeds = json.loads(out)["seeds"]
    assert seeds["0"]["scored"] == 9
    metadata = json.loads(load_checkpoint(tmp_path / "run/seed-1/act.safetensors").metadata["training"])
    assert (metadata["config"]["seed"], len(metadata["folds"])) == (1, 2)
    code, out, _ = run(*command, "--folds", "2", "--all-movies", "--json")
    assert json.loads(out)["seeds"] == seeds  # nothing was trained again
    code, out, _ = run(
        "eval", "act", tmp_path / "features", "--gold", tmp_path / "gold.csv", "-c", tmp_path / "run", "--json"
    )
    assert code == 0
    assert len(json.loads(out)["checkpoints"]) == 2
    code, out, _ = run("results", tmp_path / "run")
    assert code == 0
    assert "MEGA, our movies, 2 seeds" in out


def test_train_act_validates_one_fold_and_says_what_is_wrong(run: Run, data: list[str | Path], tmp_path: Path) -> None:
    code, out, _ = run("train", "act", *data, "-o", tmp_path / "run", "--folds", "2", "--late-fusion", "--json")
    assert code == 0
    assert "validation" not in json.loads(out)["seeds"]["0"]  # no gold and no silver: nothing to score by
    assert json.loads((tmp_path / "run/run.json").read_text())["config"]["late_fusion"]
    code, _, err = run("train", "act", *data, "-o", tmp_path / "run", "--folds", "2")
    assert code == 2
    assert "a run of the same config; choose another folder" in " ".join(err.split())
    (tmp_path / "other.csv").write_text("name,tp1,tp2,tp3,tp4,tp5\nsomething,1,2,3,4,5\n")
    for extra, message in (
        (["--variant", "mega*"], "--silver"),
        (["--fold", "7"], "fold: expected 0 to 4"),
        (["--gold", tmp_path / "other.csv"], "other.csv: expected gold scenes of the movies"),
    ):
        code, _, err = run("train", "act", *data, "-o", tmp_path / "other", *extra)
        assert code == 2
        assert message in " ".join(err.split())


def test_the_shipped_configuration_is_valid() -> None:
    from megaseg.training.recipes.act.config import SHIPPED, ActConfig

    assert dataclasses.replace(ActConfig.read(SHIPPED), seed=3).text_modalities == ("description", "dialogue")
