"""Messages of commands speak of flags and commands, not of Python's keywords or of digests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from screenplays import model
from support import Run, random_checkpoint, random_features, small_config

from megaseg import Features, save_checkpoint, save_features
from megaseg.cli.console import named_flags
from megaseg.engine.inputs.features import OtherRecipe
from megaseg.errors import FeatureError, UnsupportedError

CONFIG = small_config()


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    save_features(tmp_path / "movie.npz", Features(random_features(CONFIG, 60)))
    return tmp_path / "movie.npz"


EXPLAIN = ("explain", "{movie}", "-o", "{out}")
CATALOG = ("catalog", "{movie}", "-o", "{out}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*EXPLAIN, "-c", "{scene}", "--threshold", "2"), "movie.npz: --threshold: expected a probability"),
        ((*EXPLAIN, "-c", "{scene}", "--ordered"), "--ordered/--unordered: expected an option"),
        ((*EXPLAIN, "-c", "{scene}", "--backend", "tpu"), "--backend: expected one of"),
        ((*EXPLAIN, "-c", "{scene}", "--overflow", "drop"), "--overflow: expected one of"),
        ((*EXPLAIN, "-c", "{scene}", "--attention", "--shot", "99"), "--shot: expected the middle of a window"),
        ((*EXPLAIN, "-c", "{act}"), "movie.npz: features: the model takes up to 40 shots, got 60; --overflow pool"),
        (("segment", "{movie}", "-c", "{act}"), "got 60; --overflow pool averages"),
        (("segment", "{movie}", "-c", "{scene}", "--device", "tpu"), "--device: expected one of"),
        (("segment", "{movie}", "-c", "{scene}", "--threads", "5000"), "--threads: expected 0"),
        (("segment", "{film}", "--detector", "fast"), "--detector: expected one of adaptive"),
        (("segment", "{movie}", "-c", "screenplay-scenes"), "; --checkpoint names another model, or"),
        (("compile", "{scene}", "-o", "{out}.mseg", "--target", "tpu"), "--target: expected one of cpu"),
        (("compile", "{scene}", "-o", "{out}.onnx"), "--output: expected a name that ends in .mseg"),
        (("serve", "-c", "{scene}", "--media-root", "{movie}"), "--media-root: expected a folder"),
        (("info", "{empty}"), "empty.mseg: expected a compiled model, got an empty file"),
        ((*CATALOG, "-c", "{scene}", "--threshold", "2"), "--threshold: expected a probability"),
        ((*CATALOG, "-c", "{scene}", "--compute-type", "int4"), "--compute-type: expected one of"),
        ((*CATALOG, "-c", "{act}", "--num-scenes", "2"), "--num-scenes: expected an option"),
    ],
)
def test_messages_name_flags(
    run: Run, scene_checkpoint: Path, act_checkpoint: Path, movie: Path, tmp_path: Path, arguments: Any, message: str
) -> None:
    names = {"movie": movie, "scene": scene_checkpoint, "act": act_checkpoint, "out": tmp_path / "out"}
    names["empty"] = tmp_path / "empty.mseg"
    names["film"] = tmp_path / "film.mp4"
    names["empty"].touch()
    names["film"].touch()
    if "--attention" in arguments:
        pytest.importorskip("torch")
    code, out, err = run(*(argument.format(**names) for argument in arguments))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("num_scenes: expected 2", "--num-scenes: expected 2"),
        ("a.npz: num_scenes: expected 2", "a.npz: --num-scenes: expected 2"),
        ("a.npz: num_scenes of it: expected 2", "a.npz: num_scenes of it: expected 2"),
        ("a: a column 'x' (path_column) of", "a: a column 'x' (--path-column) of"),
        ("lambda: expected", "--similarity: expected"),
        ("my_threshold: expected", "my_threshold: expected"),
        (
            "features: got x; Pipeline.segment makes those of recipe video-shots/1 of its sources",
            "features: got x; --checkpoint names another model, or "
            "megaseg segment makes those of recipe video-shots/1 of its sources",
        ),
        (
            "features: got x; pipelines.embedding makes those of recipe embedding/15992c1183e1 of its sources",
            "features: got x; megaseg embed makes those of recipe embedding/15992c1183e1 of its sources",
        ),
    ],
)
def test_keywords_become_flags(message: str, told: str) -> None:
    for kind in (FeatureError, OtherRecipe, UnsupportedError):
        with pytest.raises(kind) as error, named_flags("path_column", **{"lambda": "--similarity"}):
            raise kind(message)
        assert (str(error.value), type(error.value)) == (told, kind)


def test_explain_says_which_command_makes_the_features(run: Run, tmp_path: Path) -> None:
    code, _, err = run("explain", "sample", "-c", "screenplay-acts", "-o", tmp_path / "out")
    assert code == 2
    assert err.rstrip().endswith("; features by scene: megaseg features screenplay --unit scene")
    assert "sample.npz: recipe: the checkpoint expects" in err


def test_rows_that_are_scenes_are_called_so(run: Run, tmp_path: Path) -> None:
    act = model("act")
    save_checkpoint(tmp_path / "act.safetensors", act)
    arrays = random_features(act.config, 12)
    save_features(tmp_path / "m.npz", Features(arrays, recipe=act.config.recipe))
    code, out, _ = run("segment", tmp_path / "m.npz", "-c", tmp_path / "act.safetensors")
    assert code == 0
    assert "m: 6 acts in 12 scenes" in out
    assert "shots" not in out
    code, out, _ = run("explain", tmp_path / "m.npz", "-c", tmp_path / "act.safetensors", "-o", tmp_path / "out")
    assert (code, " scene " in out, "shot" in out) == (0, True, False)
    other = random_checkpoint(dataclasses.replace(act.config, recipe=None))
    save_checkpoint(tmp_path / "other.safetensors", other)
    _, out, _ = run("segment", tmp_path / "m.npz", "-c", tmp_path / "other.safetensors")
    assert "m: 6 acts in 12 shots" in out


def test_a_catalogue_of_another_model_shows_no_digest(run: Run, movie: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        save_checkpoint(tmp_path / f"{seed}.safetensors", random_checkpoint(CONFIG, seed))
    command = ("catalog", movie, "-o", tmp_path / "out", "-c")
    assert run(*command, tmp_path / "0.safetensors")[0] == 0
    code, _, err = run(*command, tmp_path / "1.safetensors")
    assert code == 2
    assert "made with other settings: checkpoints [SHA-256 " in err
    assert not [word for word in err.replace('"', " ").split() if len(word.strip("[].,;")) == 64]
