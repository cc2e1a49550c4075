"""The command line as a user and a program meet it: exit codes, streams, files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Run, random_features, small_config

from megaseg import _C, Features, Segmentation, load_checkpoint, save_features
from megaseg.engine.backends.native.artefact import compile_checkpoint

CONFIG = small_config()


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    times = np.stack([np.arange(20) * 90, np.arange(20) * 90 + 90], axis=1)
    mapping = {**random_features(CONFIG, 20), "times": times, "time_base": "1/24"}
    save_features(tmp_path / "movie.npz", Features.from_mapping(mapping))
    return tmp_path / "movie.npz"


def test_segment_prints_a_table_and_writes_json(run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path) -> None:
    code, out, err = run("segment", movie, "-c", scene_checkpoint, "-o", tmp_path / "new" / "scenes.json")
    assert (code, err) == (0, "")
    result = Segmentation.from_json((tmp_path / "new" / "scenes.json").read_text())
    assert f"movie: {len(result.scenes)} scenes in 20 shots" in out
    assert "0:00:00.0" in out
    assert str(result.scenes[-1].first_shot) in out


def test_json_is_one_result_a_line_and_nothing_else(run: Run, scene_checkpoint: Path, movie: Path) -> None:
    code, out, _ = run("segment", movie, movie, "-c", scene_checkpoint, "--json", "--num-scenes", "3")
    results = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [len(result["scenes"]) for result in results] == [3, 3]


def test_a_folder_of_movies_gives_a_folder_of_results(
    run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path
) -> None:
    save_features(tmp_path / "other.npz", Features(random_features(CONFIG, 4)))
    code, _, err = run("segment", tmp_path, "-c", scene_checkpoint, "-o", tmp_path / "out", "--json")
    assert code == 1
    assert err.startswith(f"error: {scene_checkpoint}: head.bias: expected")  # it lies in the folder too
    scene_checkpoint.rename(tmp_path / "scene.model")
    code, _, _ = run("segment", tmp_path, "-c", tmp_path / "scene.model", "-o", tmp_path / "out", "--json")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["movie.json", "other.json"]


def test_where_results_go_is_settled_before_anything_runs(
    run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path
) -> None:
    code, _, err = run("segment", movie, movie, "-c", scene_checkpoint, "-o", tmp_path / "one.json")
    assert code == 2
    assert "expected a folder for 2 movies" in err
    code, _, err = run("segment", movie, movie, "-c", scene_checkpoint, "-o", tmp_path / "out")
    assert code == 2
    assert "two of movie" in err
    code, _, _ = run("segment", movie, "-c", scene_checkpoint, "-o", tmp_path / "out", "--json")
    assert code == 0
    assert (tmp_path / "out" / "movie.json").is_file()
    (tmp_path / "file").touch()
    code, _, err = run("segment", movie, "-c", scene_checkpoint, "-o", tmp_path / "file" / "out.json")
    assert code == 2
    assert str(tmp_path / "file") in err.replace("\n", "")


def test_a_screenplay_is_segmented_in_one_command(
    run: Run, scene_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "INT. HOUSE - DAY\n\nAnna opens the door.\n\nANNA\nHello?\n\nEXT. ROAD - NIGHT\n\nRain.\n"
    (tmp_path / "mine.fountain").write_text(script)

    def features(_: Any, recipe: str, ends: Any) -> Features:
        assert (recipe, ends) == ("screenplay-blocks/1", None)
        return Features(random_features(CONFIG, 3))

    monkeypatch.setattr("megaseg.features.screenplay.extractor.ScreenplayReading.features", features)
    code, out, _ = run("segment", tmp_path / "mine.fountain", "-c", scene_checkpoint, "--threshold", "0")
    assert code == 0
    assert "mine: 3 scenes in 3 shots" in out
    assert "Anna opens the door." in out


def test_redecide_needs_no_model(run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path) -> None:
    kept = tmp_path / "scenes.json"
    run("segment", movie, "-c", scene_checkpoint, "-o", kept)
    code, out, _ = run("redecide", kept, "--num-scenes", "5", "--json")
    assert code == 0
    assert len(json.loads(out)["scenes"]) == 5
    assert json.loads(out)["scores"] == json.loads(kept.read_text())["scores"]


def test_acts(run: Run, act_checkpoint: Path, movie: Path) -> None:
    code, out, _ = run("segment", movie, "-c", act_checkpoint)
    assert code == 0
    assert "movie: 6 acts in 20 shots" in out
    assert "point of no return" in out
    _, out, _ = run("segment", movie, "-c", act_checkpoint, "--unordered", "--json")
    result = Segmentation.from_json(out)
    assert [point.shot for point in result.turning_points] == result.scores.argmax(axis=0).tolist()


def test_scenes_and_acts_come_in_one_result(
    run: Run, scene_checkpoint: Path, act_checkpoint: Path, movie: Path, tmp_path: Path
) -> None:
    both, kept = ("-c", act_checkpoint, "-c", scene_checkpoint), tmp_path / "both.json"
    code, out, _ = run("segment", movie, *both, "--num-scenes", "4", "-o", kept)
    assert code == 0
    assert "movie: 4 scenes in 20 shots" in out
    assert "movie: 6 acts in 20 shots" in out
    code, out, _ = run("redecide", kept, "--num-scenes", "3", "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["task"], len(result["scenes"]), len(result["acts"])) == ("movie", 3, 6)
    assert result["act_scores"] == json.loads(kept.read_text())["act_scores"]


def test_two_models_of_one_task_are_refused(run: Run, scene_checkpoint: Path, movie: Path) -> None:
    code, _, err = run("segment", movie, "-c", scene_checkpoint, "-c", scene_checkpoint)
    assert code == 2
    assert "expected one model for each of the tasks scene and act" in " ".join(err.split())


@pytest.mark.parametrize("name", ["scores.png", "scores.svg"])
@pytest.mark.parametrize("task", ["scene", "act", "movie"])
def test_plot_writes_a_picture(
    run: Run, scene_checkpoint: Path, act_checkpoint: Path, movie: Path, tmp_path: Path, name: str, task: str
) -> None:
    pytest.importorskip("matplotlib")
    given = {"scene": [scene_checkpoint], "act": [act_checkpoint], "movie": [scene_checkpoint, act_checkpoint]}[task]
    options = [option for checkpoint in given for option in ("-c", checkpoint)]
    code, _, _ = run("segment", movie, *options, "--plot", tmp_path / name)
    assert code == 0
    start = (tmp_path / name).read_bytes()[:8]
    assert start == b"\x89PNG\r\n\x1a\n" if name.endswith("png") else start.startswith(b"<?xml")


def test_info_describes_and_checks_a_checkpoint(run: Run, scene_checkpoint: Path) -> None:
    code, out, _ = run("info", scene_checkpoint, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["config"]["modalities"] == [
        {"name": "clip", "feature_size": 13},
        {"name": "audio", "feature_size": 7},
    ]
    assert report["parameters"] == load_checkpoint(scene_checkpoint).num_parameters
    assert len(report["sha256"]) == len(report["weights_sha256"]) == 64
    code, out, _ = run("info", scene_checkpoint)
    assert "hidden_size" in out
    assert report["sha256"] in re.sub(r"[\s│]", "", out)  # folded, not cut


def test_convert(run: Run, scene_checkpoint: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = load_checkpoint(scene_checkpoint).tensors
    state: dict[str, Any] = {f"module.{name}": torch.from_numpy(tensors[name]) for name in tensors}
    torch.save(state, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    target = tmp_path / "out.safetensors"
    code, _, err = run("convert", tmp_path / "model.pt", target, "--config", tmp_path / "config.json")
    assert code == 0
    assert "out.safetensors" in err
    assert load_checkpoint(target).weights_sha256() == load_checkpoint(scene_checkpoint).weights_sha256()
    state["module.extra"] = state.pop("module.head.bias")
    torch.save(state, tmp_path / "model.pt")
    code, _, err = run("convert", tmp_path / "model.pt", target, "--config", tmp_path / "config.json")
    assert code == 2
    assert "head.bias" in err
    assert "unexpected" in err


def test_a_compiled_model_is_a_checkpoint_to_every_command(run: Run, tmp_path: Path, scene_checkpoint: Path) -> None:
    compiled, movie = tmp_path / "model.mseg", tmp_path / "movie.npz"
    save_features(movie, Features(random_features(small_config(), 20)))
    code, out, _ = run("compile", str(scene_checkpoint), "--compute-type", "float32", "-o", str(compiled), "--json")
    assert code == 0
    assert json.loads(out)["bytes"] == compiled.stat().st_size
    code, out, _ = run("info", str(compiled), "--json")
    assert (code, json.loads(out)["compute_type"]) == (0, "float32")
    results = [
        run("segment", str(movie), "-c", str(model), "--compute-type", "float32", "--json")
        for model in (scene_checkpoint, compiled)
    ]
    assert results[0][:2] == results[1][:2]
    code, _, err = run("compile", str(scene_checkpoint), "-o", str(compiled), "--target", "tpu")
    assert code == 2
    assert "target: expected one of cpu, onnx, tensorrt" in err
    code, _, err = run("compile", str(compiled), "-o", str(tmp_path / "again.mseg"))
    assert code == 2
    assert "model.mseg: expected a checkpoint, got a model that is compiled already" in " ".join(err.split())
    compiled.write_bytes(compiled.read_bytes()[:8] + b"\4" + compiled.read_bytes()[9:])
    code, _, err = run("compile", str(compiled), "-o", str(tmp_path / "again.mseg"))
    assert "expected artefact version 7, got 4; compile the checkpoint again" in " ".join(err.split())
    code, _, err = run("compile", str(scene_checkpoint), "-o", str(compiled), "--isa", "mmx")
    assert "target 'mmx': this machine and build offer portable" in err


def test_info_shows_a_model_that_is_compiled_for_another_machine(
    run: Run, tmp_path: Path, scene_checkpoint: Path
) -> None:
    compiled = tmp_path / "model.mseg"
    info = compile_checkpoint(load_checkpoint(scene_checkpoint), compiled, compute_type="float32")
    assert json.loads(run("info", compiled, "--json")[1])["runs_here"] == "yes"
    other = "z" * len(info.target)
    data = compiled.read_bytes()
    compiled.write_bytes(data.replace(info.target.encode(), other.encode()))
    code, _, err = run("info", compiled)
    assert (code, "checksum" in err) == (2, True)
    _C.seal_artefact(str(compiled))
    code, out, _ = run("info", compiled, "--json")
    report = json.loads(out)
    assert (code, report["target"], report["config"]["task"]) == (0, other, "scene")
    assert report["runs_here"].startswith("no: this machine and build offer portable")
    assert "no: this machine and build offer" in " ".join(run("info", compiled)[1].split())


def test_doctor_says_what_runs(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["native"]["target"] in report["native"]["targets"]
    assert "float32" in report["native"]["compute_types"]
    assert ("int8_checked" in report["native"]["compute_types"]) == ("int8" in report["native"]["compute_types"])
    assert report["native"]["auto"] in report["native"]["compute_types"]
    assert report["native"]["target"] in report["native"]["why"]
    assert "screenplay-scenes" in report["checkpoints"]
    extras = (
        "train",
        "text",
        "pdf",
        "video",
        "speech",
        "clip",
        "plot",
        "gpu",
        "onnx",
        "tensorrt",
        "serve",
        "fleet",
        "search",
    )
    assert set(report["extras"]) == set(extras)
    code, out, _ = run("doctor")
    assert report["native"]["target"] in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("segment", "missing.npz"), "missing.npz: expected a feature file or the name of a sample"),
        (
            ("segment", "{movie}", "-c", "missing"),
            "missing: expected a .safetensors, .mseg, .onnx or .plan file or a shipped checkpoint",
        ),
        (("segment", "{movie}", "-c", "{scene}", "--device", "tpu"), "device: expected one of auto, cpu, cuda"),
        (("segment", "{movie}", "-c", "{scene}", "--threshold", "2"), "threshold: expected a probability"),
        (("segment", "{movie}", "-c", "{scene}", "--plot", "a.txt"), "a.txt: expected a picture"),
        (("info", "{movie}"), "movie.npz: expected a safetensors file"),
        (("redecide", "{movie}"), "movie.npz: expected the JSON of a result, got binary data"),
        (("segment", "{movie}", "-c", "{scene}", "-o", "{movie}"), "movie.npz: expected a .json file or a folder"),
        (("segment", "movie.mp4"), "movie.mp4: expected a film, got no such file"),
        (("segment", "missing.npz"), "(sample), got no such file"),
        (("segment", "{movie}", "-c", "/tmp"), "/tmp: expected a .safetensors, .mseg"),
        (("segment", "{movie}", "-c", "missing"), "), or the folder of a pretraining run, got no such file"),
        (("segment", "{movie}", "-c", "{scene}", "--unordered"), "--ordered/--unordered: expected an option of task"),
        (
            ("segment", "sample", "-c", "screenplay-acts"),
            "features by scene: megaseg features screenplay --unit scene",
        ),
        (
            ("compile", "{scene}", "-o", "model.safetensors"),
            "expected a name that ends in .mseg for target cpu",
        ),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    run: Run, scene_checkpoint: Path, movie: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(*(argument.format(movie=movie, scene=scene_checkpoint) for argument in arguments))
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_the_console_script_and_its_help_load_no_torch() -> None:
    code = "import sys; from megaseg import cli; assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    shown = subprocess.run([sys.executable, "-m", "megaseg", "--help"], check=True, capture_output=True, text=True)
    for command in ("segment", "redecide", "info", "convert", "compile", "features", "train", "eval", "doctor"):
        assert command in shown.stdout


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0:00:00.0"),
        (-100 / 24, "-0:00:04.2"),
        (-0.01, "0:00:00.0"),
        (59.97, "0:01:00.0"),
        (3599.99, "1:00:00.0"),
        (-3661.5, "-1:01:01.5"),
        (360000.0, "100:00:00.0"),
    ],
)
def test_clocks(seconds: float, expected: str) -> None:
    from megaseg.report.text import clock

    assert clock(seconds) == expected


def test_times_before_zero_are_shown_as_such(run: Run, scene_checkpoint: Path, tmp_path: Path) -> None:
    times = np.stack([np.arange(20) * 90 - 100, np.arange(20) * 90 - 10], axis=1)
    np.savez(tmp_path / "m.npz", **random_features(CONFIG, 20), times=times, time_base=np.array("1/24"))
    code, out, _ = run("segment", tmp_path / "m.npz", "-c", scene_checkpoint)
    assert code == 0
    assert " -0:00:04.2 " in out
