"""``megaseg catalog`` in one process: results, failures, exit codes, and a kill half-way."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fleet.titles import command, expected_results, make_titles, results_in, wait_for
from jsonschema import Draft202012Validator
from screenplays import SCRIPT, ZeroExtractor, save_models
from support import Run, random_checkpoint, random_features, small_config

import megaseg.engine.results.segmentation
from megaseg import Engine, Features, save_checkpoint, save_features
from megaseg.catalog.run import in_batches
from megaseg.engine.results.segmentation import joined
from megaseg.pipelines import Pipeline

CONFIG = small_config()
SCHEMA = Path(megaseg.engine.results.segmentation.__file__).with_name("result.schema.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three titles, one of them of three shots."""
    (tmp_path / "in" / "s").mkdir(parents=True)
    for name, shots in (("x", 12), ("s/x", 20), ("s/short", 3)):
        np.savez(tmp_path / "in" / f"{name}.npz", **random_features(CONFIG, shots, seed=shots))
    return tmp_path / "in"


def test_each_title_has_the_result_of_segment(
    run: Run, folder: Path, scene_checkpoint: Path, act_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    models = ("-c", scene_checkpoint, "-c", act_checkpoint)
    code, stdout, _ = run("catalog", folder, "-o", out, *models, "--threshold", "0.4", "--unordered", "--json")
    assert code == 0
    summary = json.loads(stdout)
    assert {key: summary[key] for key in ("titles", "segmented", "results", "failures")} == {
        **{"titles": 3, "segmented": 3},
        **{"results": 3, "failures": 0},
    }
    scene, act = (Engine.from_checkpoint(path) for path in (scene_checkpoint, act_checkpoint))
    for title in ("x", "s/x", "s/short"):
        movie = folder / f"{title}.npz"
        expected = joined([scene.segment(movie, threshold=0.4), act.segment(movie, ordered=False)])
        text = (out / f"{title}.json").read_text()
        assert text == expected.to_json() + "\n"
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(text))


def test_screenplays_are_titles_beside_features(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vectors", "log_odds"):
        own = getattr(ZeroExtractor, name)
        monkeypatch.setattr(f"megaseg.features.screenplay.extractor.ScreenplayExtractor.{name}", own)
    files = save_models(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "movie.fountain").write_text(SCRIPT)
    both = ("-c", files["scene"], "-c", files["act"], "--compute-type", "float32")
    code, _, err = run("catalog", tmp_path / "in", "-o", tmp_path / "out", *both, "--num-scenes", "8")
    assert code == 0, err
    engines = [Engine.from_checkpoint(files[task], compute_type="float32") for task in ("scene", "act")]
    expected = Pipeline(engines, extractors=[ZeroExtractor()]).segment(tmp_path / "in" / "movie.fountain", num_scenes=8)
    assert (tmp_path / "out" / "movie.json").read_text() == expected.to_json() + "\n"
    features = Features({"description": np.zeros((9, 384), np.float32)})
    save_features(tmp_path / "in" / "b.npz", features)
    code, _, err = run("catalog", tmp_path / "in", "-o", tmp_path / "new", *both)  # no feature file serves both
    assert code == 2
    assert "b.npz: the checkpoints read different features" in " ".join(err.split())
    assert not (tmp_path / "new").exists()
    options = ("-c", files["scene"], "--compute-type", "float32", "--json")
    code, stdout, _ = run("catalog", tmp_path / "in", "-o", tmp_path / "new", *options)
    assert code == 1  # of an unknown width; the screenplay is none the worse for it
    assert {key: json.loads(stdout)[key] for key in ("titles", "results")} == {"titles": 2, "results": 1}


def test_failures_are_listed_with_reasons_and_retried_on_request(
    run: Run, folder: Path, scene_checkpoint: Path, tmp_path: Path
) -> None:
    bad = folder / "s" / "bad.npz"
    np.savez(bad, clip=np.full((4, 13), np.nan, np.float32), audio=np.zeros((4, 7), np.float32))
    (folder / "torn.npz").write_bytes(b"PK\x03\x04")
    options = ("catalog", folder, "-o", tmp_path / "out", "-c", scene_checkpoint, "--num-scenes", "5")
    code, stdout, _ = run(*options)
    assert code == 1
    assert "5 titles: 2 segmented now, 0 before, 3 failures" in stdout
    assert "--retry-failed" in stdout
    manifest = tmp_path / "out" / "failures.jsonl"
    entries = {entry["title"]: entry for entry in map(json.loads, manifest.read_text().splitlines())}
    assert entries.keys() == {"s/bad", "s/short", "torn"}
    assert entries["s/bad"]["path"] == str(bad)
    assert "clip: expected finite values, got NaN or Inf at shot 0" in entries["s/bad"]["reason"]
    assert "--num-scenes: expected 1 to 3 scenes" in entries["s/short"]["reason"]
    np.savez(bad, **random_features(CONFIG, 9))
    code, stdout, _ = run(*options, "--json")  # a failure is not tried again unasked
    assert code == 1
    assert json.loads(stdout)["segmented"] == 0
    code, stdout, _ = run(*options, "--json", "--retry-failed")
    assert code == 1
    assert {key: json.loads(stdout)[key] for key in ("segmented", "failures")} == {"segmented": 1, "failures": 2}
    assert sorted(json.loads(line)["title"] for line in manifest.read_text().splitlines()) == ["s/short", "torn"]
    assert (tmp_path / "out" / "s" / "bad.json").is_file()


def test_new_titles_are_added_and_done_ones_left(
    run: Run, folder: Path, scene_checkpoint: Path, tmp_path: Path
) -> None:
    options = ("catalog", folder, "-o", tmp_path / "out", "-c", scene_checkpoint, "--json")
    assert run(*options)[0] == 0
    np.savez(folder / "new.npz", **random_features(CONFIG, 8))
    code, stdout, _ = run(*options)
    assert code == 0
    assert {key: json.loads(stdout)[key] for key in ("titles", "segmented")} == {"titles": 4, "segmented": 1}


@pytest.mark.parametrize("change", ["checkpoint", "threshold", "compute type", "input"])
def test_a_run_with_other_settings_is_refused(
    run: Run, folder: Path, scene_checkpoint: Path, tmp_path: Path, change: str
) -> None:
    options = ["catalog", folder, "-o", tmp_path / "out", "-c", scene_checkpoint, "--compute-type", "float32"]
    assert run(*options)[0] == 0
    if change == "checkpoint":
        save_checkpoint(scene_checkpoint, random_checkpoint(CONFIG, seed=1))
    elif change == "threshold":
        options += ["--threshold", "0.7"]
    elif change == "input":
        options[1] = folder / "s"
    else:
        options[-1], options[-2] = "torch", "--backend"
        pytest.importorskip("torch")
    code, _, err = run(*options)
    assert code == 2
    assert "its results were made with other settings" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "-o", "s3://bucket/out"], "--output: expected a folder"),
        (["in", "-o", "out", "--workers", "2"], "--workers: expected --ray with it"),
        (["none", "-o", "out"], "none: expected a folder"),
        (["in", "-o", "out", "-c", "none"], "none: expected a .safetensors, .mseg"),
        (["in", "-o", "out", "--threshold", "2"], "threshold: expected a probability"),
        (["in", "-o", "out", "--ordered"], "ordered: expected an option of task scene"),
        (["in", "-o", "out", "-c", "screenplay-scenes", "-c", "screenplay-acts"], "read different features"),
        (
            ["in", "-o", "out", "-c", "screenplay-acts", "-c", "screenplay-acts"],
            "expected one model for each of the tasks",
        ),
    ],
)
def test_bad_usage_is_one_line_and_code_2(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(folder.parent)
    code, _, err = run("catalog", *arguments)
    assert code == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (folder.parent / "out").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    make_titles(tmp_path, 60)
    out = tmp_path / "out"
    first = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL)
    wait_for(lambda: len(results_in(out)) >= 5, "results")
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    before = {path: path.stat() for path in out.rglob("[!.]*.json")}
    count = len(results_in(out))
    assert 5 <= count < 60, "killed too late: the test needs more titles"
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segmented"] == 60 - count  # each title once, over both runs
    after = {path: path.stat() for path in before}
    assert {path: (s.st_ino, s.st_mtime_ns) for path, s in after.items()} == {
        path: (s.st_ino, s.st_mtime_ns) for path, s in before.items()
    }
    assert results_in(out) == expected_results(tmp_path)
    assert not list(out.rglob(".*"))


def test_a_film_waits_for_no_other_title() -> None:
    titles = {name: f"/{name}" for name in ("a.npz", "b.MP4", "c.npz", "d.npz", "e.npz", "f.mkv")}
    batches = [[title for title, _ in batch] for batch in in_batches([*titles], titles, 3)]
    assert batches == [["b.MP4"], ["a.npz", "c.npz", "d.npz"], ["f.mkv"], ["e.npz"]]
