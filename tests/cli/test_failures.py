"""Several inputs of which some fail, and outputs in all the ways in which they are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from screenplays import ZeroExtractor, save_models
from support import Run, random_features, small_config

from megaseg import _C, Features, Segmentation, save_features
from megaseg.cli.console import PlainConsole
from megaseg.features import ScreenplayExtractor

CONFIG = small_config()
SCRIPT = "INT. HOUSE - DAY\n\nAnna opens the door.\n\nANNA\nHello?\n\nEXT. ROAD - NIGHT\n\nRain.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good movies, and one of each kind that a model cannot take."""
    path = tmp_path / "movies"
    path.mkdir()
    good = random_features(CONFIG, 20)
    save_features(path / "a.npz", Features(good))
    save_features(path / "z.npz", Features(good))
    save_features(path / "modality.npz", Features({"arr_0": good["clip"]}))
    save_features(path / "width.npz", Features({**good, "clip": good["clip"][:, :5]}))
    nan = good["clip"].copy()
    nan[3, 3] = np.nan
    np.savez(path / "nan.npz", clip=nan, audio=good["audio"])
    (path / "empty.npz").touch()
    return path


REASONS = {
    "empty.npz": "expected a readable .npz file",
    "modality.npz": "features: expected the modalities ['clip', 'audio'], got ['arr_0']",
    "nan.npz": "clip: expected finite values, got NaN or Inf at shot 3",
    "width.npz": "clip: expected 13 features a shot, got 5",
}


def test_files_that_fail_do_not_stop_the_rest(run: Run, scene_checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    code, out, err = run("segment", folder, "-c", scene_checkpoint, "-o", tmp_path / "out", "--json")
    assert code == 1
    assert [json.loads(line)["num_shots"] for line in out.splitlines()] == [20, 20]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "z.json"]
    *lines, last = err.splitlines()
    assert last == "4 of 6 failed"
    for line, (name, reason) in zip(lines, REASONS.items(), strict=True):
        assert line.startswith(f"error: {folder / name}: {reason}")


def test_where_every_file_fails_the_exit_code_is_2(run: Run, scene_checkpoint: Path, folder: Path) -> None:
    bad = [folder / name for name in REASONS]
    code, out, err = run("segment", *bad, folder / "missing.npz", "-c", scene_checkpoint)
    assert (code, out, len(err.splitlines())) == (2, "", 6)
    code, out, err = run("segment", bad[1], "-c", scene_checkpoint)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    code, out, err = run("segment", folder, "missing.npz", "-c", scene_checkpoint, "--num-scenes", "21")
    assert (code, out) == (2, "")
    assert f"error: {folder / 'a.npz'}: --num-scenes: expected" in err
    assert err.splitlines()[0].startswith("error: missing.npz: expected a feature file")


def test_what_is_wrong_with_every_movie_is_said_once(run: Run, scene_checkpoint: Path, folder: Path) -> None:
    for options, message in (
        (["--threshold", "2"], "--threshold: expected a probability"),
        (["--unordered"], "--ordered/--unordered: expected an option"),
        (["-o", "one.json"], "expected a folder for 6 movies"),
    ):
        code, out, err = run("segment", folder, "-c", scene_checkpoint, *options)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert message in err


def test_what_this_machine_lacks_is_said_once_and_of_no_movie(run: Run) -> None:
    code, out, err = run("segment", "sample", "sample", "--compute-type", "int4")
    first, last = err.splitlines()
    assert (code, out, last) == (2, "", "2 of 2 failed")
    assert first.startswith("error: --compute-type: expected one of auto, float32")
    command = (sys.executable, "-m", "megaseg", "segment", "sample")
    environment = {**os.environ, "MEGASEG_ISA": "avx9000"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    targets = ", ".join(_C.available_targets())
    assert done.stderr == f"error: MEGASEG_ISA=avx9000: this machine and build offer {targets}\n"


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("vectors", "log_odds"):
        monkeypatch.setattr(ScreenplayExtractor, name, getattr(ZeroExtractor, name))
    monkeypatch.setattr(ScreenplayExtractor, "identity", "test")
    path = tmp_path / "scripts"
    path.mkdir()
    for name in ("a", "z"):
        (path / f"{name}.fountain").write_text(SCRIPT)
    (path / "bad.fountain").write_bytes(b"\0\1\2\3")
    return path


def test_screenplays_that_fail_do_not_stop_the_rest(run: Run, scripts: Path, tmp_path: Path) -> None:
    model = save_models(tmp_path)["scene"]
    code, out, err = run("segment", scripts, "-c", model, "--json")
    assert (code, len(out.splitlines())) == (1, 2)
    assert err.startswith(f"error: {scripts / 'bad.fountain'}: expected a")
    files = sorted(scripts.iterdir())
    code, out, err = run("features", "screenplay", *files, files[0], tmp_path / "no.txt", "-o", tmp_path / "out")
    assert code == 1
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["a.npz", "index.json", "z.npz"]
    first, second, third, last = err.splitlines()
    assert first.startswith(f"error: {scripts / 'bad.fountain'}: expected a")
    assert second == "error: a: expected screenplays of different names, got two for a.npz"
    assert third.startswith(f"error: {tmp_path / 'no.txt'}: expected a readable screenplay")
    assert last == "3 of 5 failed"
    assert out.count("written") == 2
    code, out, _ = run("features", "screenplay", *files, "-o", tmp_path / "out", "--json")
    rows = {row["name"]: row for row in json.loads(out)["movies"]}
    assert (code, rows["a"]["status"], rows["a"]["reason"]) == (1, "kept", None)
    assert rows[str(scripts / "bad.fountain")]["reason"].startswith(str(scripts / "bad.fountain"))
    code, out, err = run("features", "screenplay", scripts / "bad.fountain", "-o", tmp_path / "out", "--json")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_a_dash_is_stdout_and_any_case_of_json_a_file(
    run: Run, scene_checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    movie = ("segment", folder / "a.npz", "-c", scene_checkpoint)
    code, out, _ = run(*movie, "-o", "-")
    assert code == 0
    result = Segmentation.from_json(out)
    _, many, _ = run("segment", folder / "a.npz", folder / "z.npz", "-c", scene_checkpoint, "-o", "-")
    assert [json.loads(line) for line in many.splitlines()] == [result.to_dict()] * 2
    assert sorted(tmp_path.iterdir()) == before
    code, _, _ = run(*movie, "-o", "R.JSON")
    assert (code, Segmentation.from_json(Path("R.JSON").read_text()).to_dict()) == (0, result.to_dict())
    code, out, _ = run("redecide", "R.JSON", "--num-scenes", "3", "-o", "-")
    assert (code, len(json.loads(out)["scenes"])) == (0, 3)
    code, _, _ = run("redecide", "R.JSON", "--num-scenes", "3", "-o", "Other.Json")
    assert (code, len(json.loads(Path("Other.Json").read_text())["scenes"])) == (0, 3)
    run("redecide", "R.JSON", "--num-scenes", "3", "-o", "folder")
    assert Path("folder/R.json").is_file()


COMMANDS: dict[str, tuple[Any, ...]] = {
    "explain": ("explain", "{movie}", "-c", "{model}"),
    "features": ("features", "screenplay", "a.txt"),
    "synopsis": ("features", "synopsis", "a.jsonl"),
    "catalog": ("catalog", "{movie}", "-c", "{model}"),
    "export": ("export-triton", "{model}"),
    "train act": ("train", "act", "{folder}", "--synopses", "a.jsonl"),
    "train scene": ("train", "scene", "{folder}"),
    "train reader": ("train", "reader", "a.txt"),
    "compile": ("compile", "{model}"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_other_output_is_stdout(
    run: Run, scene_checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    given = {"movie": folder / "a.npz", "model": scene_checkpoint, "folder": folder}
    code, out, err = run(*(part.format(**given) for part in command), "-o", "-")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "output: expected" in err
    assert sorted(tmp_path.iterdir()) == before


WRITERS = {
    "segment": ("segment", "{movie}", "-c", "{model}", "-o", "{place}/a.json"),
    "segment to a folder": ("segment", "{movie}", "-c", "{model}", "-o", "{place}/new"),
    "embed": ("embed", "{movie}", "-c", "{model}", "-o", "{place}/a.npz"),
    "catalog": ("catalog", "{folder}", "-o", "{place}/new"),
    "explain": ("explain", "{movie}", "-o", "{place}"),
    "features video": ("features", "video", "film.mp4", "-o", "{place}/new"),
    "train scene": ("train", "scene", "{folder}", "-o", "{place}/a.safetensors"),
    "train act": ("train", "act", "{folder}", "--synopses", "none.jsonl", "-o", "{place}/run"),
    "train head": ("train", "head", "{model}", "{folder}", "--head", "ordering", "-o", "{place}/a.safetensors"),
    "train reader": ("train", "reader", "{movie}", "-o", "{place}/a.safetensors"),
    "train video-scenes": ("train", "video-scenes", "{folder}", "-o", "{place}/a.safetensors"),
    "pretrain": ("pretrain", "contextualizer", "{folder}", "-o", "{place}/run/deep"),
    "mine-pairs": ("mine-pairs", "{folder}", "-c", "{model}", "-o", "{place}/a.npz"),
}


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_a_folder_that_is_read_only_is_told_before_any_work(
    run: Run, scene_checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    access = os.access  # root may write to any folder
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and not (mode & os.W_OK and Path(path) == place)
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").touch()
    given = {"movie": folder / "a.npz", "model": scene_checkpoint, "folder": folder, "place": place}
    code, out, err = run(*(part.format(**given) for part in command))
    told = f"error: --output: expected a folder that can be written to, got {place}, which is read-only\n"
    assert (code, out, err) == (2, "", told)
    assert not list(place.iterdir())


def test_what_the_system_refuses_names_the_file(run: Run, scene_checkpoint: Path, folder: Path) -> None:
    code, out, err = run("compile", scene_checkpoint, "-o", folder / "a.npz" / "a.mseg")
    assert (code, out) == (2, "")
    assert err == f"error: {folder}/a.npz/a.mseg: expected a file or folder that can be used, got: Not a directory\n"
    code, out, err = run("segment", folder / "a.npz", "-c", scene_checkpoint, "-o", folder / "a.npz" / "a.json")
    assert (code, out) == (2, "")
    assert err == f"error: --output: expected a folder to write to, got {folder}/a.npz, which is none\n"


def test_no_message_has_the_number_of_an_error(run: Run, folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.json"
    code, _, err = run("train", "scene", folder, "-o", tmp_path / "a.safetensors", "--config", missing)
    assert code == 2
    assert f"error: {missing}: expected" in err
    assert "got: No such file or directory" in err


def test_no_line_of_text_is_broken() -> None:
    file = StringIO()
    PlainConsole(width=20, file=file).print("a" * 15, "b" * 15)
    assert file.getvalue() == f"{'a' * 15} {'b' * 15}\n"


def test_other_suffixes_in_any_case(run: Run, scene_checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    code, _, _ = run("compile", scene_checkpoint, "-o", tmp_path / "M.MSEG")
    assert code == 0
    code, _, err = run("segment", folder / "a.npz", "-c", tmp_path / "M.MSEG", "--plot", tmp_path / "P.PNG")
    assert code == 0, err
    assert (tmp_path / "P.PNG").read_bytes().startswith(b"\x89PNG")


def test_who_stops_reading_gets_no_error() -> None:
    command = f"set -o pipefail; '{sys.executable}' -m megaseg segment sample --json | head -c 20"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == '{"schema": "megaseg.'
    assert done.stderr == ""
