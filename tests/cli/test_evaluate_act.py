"""``megaseg eval act``: the contract of its JSON, seeds of a run's folder, names of files, and errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import Run, random_checkpoint, random_features, small_config

from megaseg import Engine, Features, save_checkpoint, save_features
from megaseg.evaluation.act import PRIOR, THEORY, act_metrics, at_positions

CONFIG = small_config("act")
SCENES = {"a": 30, "What, now?": 12}
GOLD = {"a": [[3], [7, 8], [15], [22], [28]], "What, now?": [[1], [3], [6], [9, 9], [11]]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    from megaseg.features.build import file_name

    (tmp_path / "movies").mkdir()
    for seed, (name, scenes) in enumerate(SCENES.items()):
        movie = Features.from_mapping(random_features(CONFIG, scenes, seed))
        save_features(tmp_path / "movies" / file_name(name), movie)
    rows = [",".join([f'"{name}"', *(" ".join(map(str, own)) for own in points)]) for name, points in GOLD.items()]
    (tmp_path / "gold.csv").write_text("\n".join(["name,1,2,3,4,5", *rows, ""]))
    for seed in (0, 1):
        (tmp_path / f"run/seed-{seed}").mkdir(parents=True)
        save_checkpoint(tmp_path / f"run/seed-{seed}/act.safetensors", random_checkpoint(CONFIG, seed))
    return tmp_path


def scores(data: Path, seed: int) -> tuple[float, float, float]:
    """TA, PA, D of one seed by arg-max, from the logits."""
    engine = Engine.from_checkpoint(data / f"run/seed-{seed}/act.safetensors")
    peaks = {
        name: engine.logits(random_features(CONFIG, scenes, movie)).argmax(axis=0).tolist()
        for movie, (name, scenes) in enumerate(SCENES.items())
    }
    found = act_metrics(GOLD, peaks, SCENES)
    return found.ta, found.pa, found.d


def test_one_checkpoint_and_the_content_free_rows(run: Run, data: Path) -> None:
    one = data / "run/seed-0/act.safetensors"
    code, out, err = run("eval", "act", data / "movies", "--gold", data / "gold.csv", "--checkpoint", one, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["ta"], found["pa"], found["d"]) == pytest.approx(scores(data, 0), abs=1e-9)
    assert found["std"] == {"ta": 0.0, "pa": 0.0, "d": 0.0}
    assert (found["movies"], found["events"], found["labels"]) == (2, 10, 12)
    for name, positions in (("theory", THEORY), ("prior", PRIOR)):
        expected = act_metrics(GOLD, {movie: at_positions(positions, n) for movie, n in SCENES.items()}, SCENES)
        assert found["baselines"][name] == {"ta": expected.ta, "pa": expected.pa, "d": expected.d}


def test_a_run_gives_mean_and_sample_deviation_of_its_seeds(run: Run, data: Path) -> None:
    given = (data / "movies", "--gold", data / "gold.csv", "--checkpoint", data / "run")
    rows = np.array([scores(data, 0), scores(data, 1)])
    found = json.loads(run("eval", "act", *given, "--json")[1])
    assert len(found["checkpoints"]) == 2
    np.testing.assert_allclose([found[key] for key in ("ta", "pa", "d")], rows.mean(axis=0))
    np.testing.assert_allclose([found["std"][key] for key in ("ta", "pa", "d")], rows.std(axis=0, ddof=1))
    code, out, _ = run("eval", "act", *given)
    assert code == 0
    assert "model, 2 seeds" in out
    assert "theory" in out
    assert "prior" in out


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [("Nobody", "1", "Nobody: expected its features in"), ("a", "30", "gold.csv: a: turning point 1: expected scenes")],
)
def test_gold_that_does_not_fit_the_features_is_named(run: Run, data: Path, name: str, cell: str, message: str) -> None:
    (data / "gold.csv").write_text(f"name,tp 1,tp 2,tp 3,tp 4,tp 5\n{name},{cell},1,1,1,1\n")
    code, _, err = run("eval", "act", data / "movies", "--gold", data / "gold.csv", "-c", data / "run")
    assert code == 2
    assert message in err


def test_a_scene_model_is_refused(run: Run, data: Path, scene_checkpoint: Path) -> None:
    code, _, err = run("eval", "act", data / "movies", "--gold", data / "gold.csv", "-c", scene_checkpoint)
    assert code == 2
    assert "expected an act model" in err
