"""``megaseg explain``: files written, what is printed, and what is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import Run, random_checkpoint, random_features, small_config

from megaseg import Features, save_checkpoint, save_features
from megaseg.engine.inputs.modality import Modality

pytest.importorskip("matplotlib")

CONFIG = small_config()


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    save_features(tmp_path / "movie.npz", Features(random_features(CONFIG, 20)))
    return tmp_path / "movie.npz"


@pytest.fixture
def synopsis(tmp_path: Path) -> tuple[Path, Path]:
    """A synopsis model with embeddings as wide as the act model's, and the features of 7 sentences."""
    config = small_config("synopsis", modalities=(Modality("sentence", 9),), hidden_size=48)
    save_checkpoint(tmp_path / "synopsis.safetensors", random_checkpoint(config, 1))
    save_features(tmp_path / "sentences.npz", Features(random_features(config, 7)))
    return tmp_path / "synopsis.safetensors", tmp_path / "sentences.npz"


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_importance_is_written_and_printed(run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "why"
    code, text, err = run("explain", movie, "-c", scene_checkpoint, "-o", out, "--threshold", "0.3")
    assert (code, err) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["explanation.json", "importance.png"]
    assert is_png(out / "importance.png")
    values = json.loads((out / "explanation.json").read_text())
    assert values["segmentation"]["decision"]["threshold"] == 0.3
    assert len(values["decisions"]) == 20
    assert "movie: importance of the modalities" in text
    for word in ("boundary", "no boundary", "clip", "audio"):
        assert word in text


def test_turning_points_as_json(run: Run, act_checkpoint: Path, movie: Path, tmp_path: Path) -> None:
    code, text, _ = run("explain", movie, "-c", act_checkpoint, "-o", tmp_path / "why", "--ordered", "--json")
    values = json.loads(text)
    assert code == 0
    assert values == json.loads((tmp_path / "why" / "explanation.json").read_text())
    assert values["segmentation"]["decision"]["ordered"]
    shots = [decision["shot"] for decision in values["decisions"]]
    assert shots == [point["shot"] for point in values["segmentation"]["turning_points"]]
    code, text, _ = run("explain", movie, "-c", act_checkpoint, "-o", tmp_path / "why")
    assert (code, "point of no return" in text) == (0, True)


def test_a_shipped_sample_by_its_name(run: Run, tmp_path: Path) -> None:
    code, text, _ = run("explain", "sample", "-o", tmp_path / "why")
    assert (code, "description" in text) == (0, True)


@pytest.mark.parametrize("task", ["scene", "act"])
def test_attention_as_picture_and_arrays(
    run: Run, scene_checkpoint: Path, act_checkpoint: Path, movie: Path, tmp_path: Path, task: str
) -> None:
    pytest.importorskip("torch")
    from megaseg.models.inspection import attention_scores

    checkpoint, out = (scene_checkpoint, act_checkpoint)[task == "act"], tmp_path / "why"
    shots = {"scene": ("--shot", "4"), "act": ()}[task]
    code, _, err = run("explain", movie, "-c", checkpoint, "-o", out, "--attention", *shots)
    assert (code, err) == (0, "")
    assert is_png(out / "attention.png")
    with np.load(out / "attention.npz") as kept:
        for name, scores in attention_scores(checkpoint, movie, 4 if shots else None).items():
            np.testing.assert_array_equal(kept[name], scores)
    if task == "scene":  # without --shot, the surest boundary's window
        code, text, _ = run("explain", movie, "-c", checkpoint, "-o", out, "--attention", "--json")
        surest = int(np.argmax(json.loads(text)["segmentation"]["scores"]))
        with np.load(out / "attention.npz") as kept:
            np.testing.assert_array_equal(kept["clip"], attention_scores(checkpoint, movie, surest)["clip"])


def test_synchronisation_as_picture_and_array(
    run: Run, act_checkpoint: Path, synopsis: tuple[Path, Path], movie: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from megaseg.models.inspection import synchronisation

    out = tmp_path / "why"
    options = ("--synopsis-checkpoint", synopsis[0], "--sentences", synopsis[1], "--similarity", "0.05")
    code, _, err = run("explain", movie, "-c", act_checkpoint, "-o", out, *options, "--band", "0.4")
    assert (code, err) == (0, "")
    assert is_png(out / "synchronisation.png")
    expected = synchronisation(act_checkpoint, movie, synopsis[0], synopsis[1], 0.05, 0.4)
    with np.load(out / "synchronisation.npz") as kept:
        np.testing.assert_array_equal(kept["synchronisation"], expected)
    assert expected.shape == (20, 7)
    assert 0 < expected.sum() < expected.size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shot", "3"), "--shot: expected with --attention"),
        (("--attention", "--shot", "20"), "shot: expected the middle of a window, from 0 to 19, got 20"),
        (("--sentences", "x.npz"), "--synopsis-checkpoint, --sentences: expected both, or neither"),
        (("--threshold", "2"), "threshold: expected a probability"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    pytest.importorskip("torch")
    code, _, err = run("explain", movie, "-c", scene_checkpoint, "-o", tmp_path / "why", *options)
    assert code == 2
    assert message in err.replace("\n", " ")
    assert not (tmp_path / "why").exists()


def test_a_compiled_model_has_importance_but_no_attention(
    run: Run, scene_checkpoint: Path, movie: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from megaseg.engine.backends.native.artefact import compile_checkpoint
    from megaseg.engine.model.checkpoint import load_checkpoint

    compile_checkpoint(load_checkpoint(scene_checkpoint), tmp_path / "model.mseg")
    code, _, _ = run("explain", movie, "-c", tmp_path / "model.mseg", "-o", tmp_path / "why")
    assert code == 0
    code, _, err = run("explain", movie, "-c", tmp_path / "model.mseg", "-o", tmp_path / "why", "--attention")
    assert code == 2
    assert "expected a checkpoint, got a compiled model" in err.replace("\n", " ")
