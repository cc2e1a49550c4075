"""``megaseg train head``, ``megaseg eval head`` and ``megaseg eval retrieval``: files in, files and figures out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from head_films import clips, encoder, scenes, walks
from shot_encoders import film, long_range
from support import Run

from megaseg import Features, load_checkpoint, save_checkpoint, save_features
from megaseg.models import long_range as of_modalities

CONFIG = {"epochs": 4, "patience": 4, "learning_rate": 0.02, "head_dropout": 0.0, "frozen_batch_size": 64}


def write(folder: Path, films: dict[str, Features]) -> Path:
    folder.mkdir()
    for name, movie in films.items():
        save_features(folder / f"{name}.npz", movie)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An encoder in the folder of a run, a config, films with scenes, and clips with their classes and numbers."""
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "encoder.safetensors", encoder())
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    write(tmp_path / "films", scenes(8, 0))
    write(tmp_path / "walks", walks(6, 0))
    films, numbers = clips(24, 0)
    write(tmp_path / "clips", films)
    rows = {name: "low" if number < 0 else "high" for name, number in numbers.items()}
    for file, labels in (("classes.csv", rows), ("numbers.csv", numbers)):
        text = "\n".join(["name,label", *(f"{name},{label}" for name, label in labels.items()), ""])
        (tmp_path / file).write_text(text)
    return tmp_path


def test_a_classifier_from_films_to_figures(run: Run, data: Path) -> None:
    own = ("--labels", data / "classes.csv", "--threads", 1, "--json")
    made = data / "head.safetensors"
    trained = run("train", "head", data / "run", data / "clips", "--head", "classify", "-o", made, "--config",
                  data / "config.json", *own)  # fmt: skip
    assert trained[0] == 0, trained[2]
    told = json.loads(trained[1])
    assert (told["head"], told["output"]) == ("classify", str(made))
    assert told["clips"] == 5
    assert "epoch 4/4" in trained[2]
    assert not (data / "head.safetensors.state").exists()
    code, out, err = run("eval", "head", made, data / "clips", *own)
    assert (code, err) == (0, "")
    assert json.loads(out)["accuracy"] > 0.7
    assert json.loads(out)["clips"] == 24
    assert "'megaseg-head/1'; heads are scored by megaseg eval head" in run("info", made)[2]
    (data / "run" / "encoder.safetensors").rename(data / "moved.safetensors")
    assert run("eval", "head", made, data / "clips", *own)[0] == 2
    again = run("eval", "head", made, data / "clips", *own, "--encoder", data / "moved.safetensors")
    assert again[1] == out


def test_tags_by_a_preset(run: Run, data: Path) -> None:
    (data / "few.json").write_text(json.dumps({"epochs": 30, "learning_rate": 1.0, "head_dropout": 0.0}))
    lines = (data / "classes.csv").read_text().replace("high", "high|long").splitlines()
    (data / "tags.csv").write_text("\n".join(lines))
    made = data / "tags.safetensors"
    own = ("--labels", data / "tags.csv", "--json")
    trained = run("train", "head", data / "run", data / "clips", "--preset", "places", "-o", made, "--config",
                  data / "few.json", *own)  # fmt: skip
    assert trained[0] == 0, trained[2]
    assert json.loads(trained[1])["head"] == "tags"
    code, out, err = run("eval", "head", made, data / "clips", *own)
    assert (code, err) == (0, "")
    assert json.loads(out)["map"] > 0.8
    assert (json.loads(out)["tags"], json.loads(out)["scenes"]) == (3, 24)


def test_presets_that_do_not_fit_are_refused(run: Run, data: Path) -> None:
    own = ("train", "head", data / "run", data / "clips", "-o", data / "x.safetensors", "--labels")
    for rest, message in (
        ((data / "classes.csv", "--preset", "mature"), "label of clip-0-0: expected one of sex, violence, drug-use"),
        ((data / "classes.csv", "--preset", "mine"), "--preset: expected one of lvu-place, "),
        ((data / "classes.csv", "--preset", "places", "--head", "classify"), "expected tags of preset places, got cla"),
        ((data / "classes.csv",), "--head: expected a kind of head, or a preset, got neither"),
    ):
        code, _, err = run(*own, *rest)
        assert code == 2
        assert message in err
    (data / "run" / "model.mseg").write_bytes(b"megaseg\0" + bytes(100))
    code, _, err = run("train", "head", data / "run" / "model.mseg", *own[3:], data / "classes.csv", "--head", "tags")
    assert code == 2
    assert "model.mseg: expected a .safetensors checkpoint, got a compiled model" in err


def test_a_boundary_head_is_a_scene_checkpoint(run: Run, data: Path) -> None:
    made = data / "scenes.safetensors"
    write(data / "others", scenes(3, 1))
    code, out, err = run("train", "head", data / "run" / "encoder.safetensors", data / "films", "--head", "boundary",
                         "-o", made, "--validation", data / "others", "--fine-tune", "--seed", 3, "--config",
                         data / "config.json")  # fmt: skip
    assert code == 0, err
    assert "ap" in err + out
    checkpoint = load_checkpoint(made)
    assert checkpoint.config.task == "scene"
    about = json.loads(checkpoint.metadata["training"])
    assert (about["encoder"], about["config"]["seed"]) == ("fine-tuned", 3)
    assert about["validation_films"] == [f"film-1-{k}" for k in range(3)]
    code, out, err = run("eval", "scene", data / "others", "-c", made, "--backend", "torch", "--json")
    assert code == 0, err
    assert json.loads(out)["ap"] == pytest.approx(about["validation"]["ap"], abs=1e-3)


def test_heads_of_films_without_labels(run: Run, data: Path) -> None:
    for kind in ("ordering", "next-shot"):
        made = data / f"{kind}.safetensors"
        given = ("--head", kind, "-o", made, "--from-scratch", "--config", data / "config.json", "--json")
        code, out, err = run("train", "head", data / "run", data / "walks", *given)
        assert code == 0, err
        code, out, err = run("eval", "head", made, data / "walks")
        assert (code, err) == (0, "")
        assert f"{kind}, 6 films" in out
        assert "accuracy" in out


def test_a_folder_is_no_head(run: Run, data: Path) -> None:
    code, _, err = run("eval", "head", data / "run", data / "walks")
    assert code == 2
    assert "run: expected a file that megaseg train head wrote, got a folder" in err


def test_a_head_is_written_over_nothing_that_is_read(run: Run, data: Path) -> None:
    films, encoder_file = data / "walks", data / "run" / "encoder.safetensors"
    before = {path: path.read_bytes() for path in (*films.iterdir(), encoder_file)}
    for output, message in (
        (next(films.iterdir()), "--output: expected a .safetensors file"),
        (films / "head.safetensors", "--output: expected another file than those that are read"),
        (data / "none" / "head.safetensors", "--output: expected a file in a folder that is there"),
        (encoder_file, "--output: expected another file than those that are read"),
    ):
        code, _, err = run("train", "head", data / "run", films, "--head", "ordering", "-o", output, "--config",
                           data / "config.json")  # fmt: skip
        assert code == 2
        assert message in err
    assert {path: path.read_bytes() for path in (*films.iterdir(), encoder_file)} == before


def test_numbers_by_labels_of_two_files(run: Run, data: Path) -> None:
    lines = (data / "numbers.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join(lines[:18]))
    (data / "val.csv").write_text("\n".join([lines[0], *lines[18:], "gone,1.0"]))
    given = ("train", "head", data / "run", data / "clips", "--head", "regress", "-o", data / "head.safetensors",
             "--labels", data / "train.csv", "--validation-labels", data / "val.csv")  # fmt: skip
    code, _, err = run(*given)
    assert code == 2
    assert "val.csv: expected labels of films that have features, got 1 of 8 without: gone" in err
    code, out, err = run(*given, "--partial", "--json")
    assert code == 0, err
    assert json.loads(out)["clips"] == 7


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"--head": "other"}, "--head: expected one of boundary, classify"),
        ({"--labels": None}, "--labels: expected a file for head classify"),
        ({"--head": "ordering"}, "--labels: expected none for head ordering"),
        (
            {"--validation-labels": "classes.csv"},
            "expected others to validate than to train on, got clip-0-0, clip-0-1",
        ),
        ({"--labels": "numbers.csv", "--head": "boundary"}, "--labels: expected none for head boundary"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    run: Run, data: Path, changes: dict[str, str | None], expected: str
) -> None:
    options = {"--head": "classify", "-o": "head.safetensors", "--labels": "classes.csv", **changes}
    files = {name: data / value if str(value).endswith((".csv", ".safetensors")) else value
             for name, value in options.items() if value is not None}  # fmt: skip
    code, _, err = run(
        "train", "head", data / "run", data / "clips", *(part for pair in files.items() for part in pair)
    )
    assert code == 2
    assert expected in " ".join(err.split())
    assert not (data / "head.safetensors").exists()


def test_an_encoder_drawn_anew_is_not_fine_tuned(run: Run, data: Path) -> None:
    given = ("--head", "classify", "-o", data / "head.safetensors", "--fine-tune", "--from-scratch")
    code, _, err = run("train", "head", data / "run", data / "clips", *given)
    assert code == 2
    assert "--from-scratch: expected without another mode" in " ".join(err.split())


def test_retrieval_in_both_directions(run: Run, tmp_path: Path) -> None:
    config = long_range("video audio")
    torch.manual_seed(0)
    (tmp_path / "run").mkdir()
    encoder_of_both = of_modalities.to_checkpoint(of_modalities.LongRange(config))
    save_checkpoint(tmp_path / "run" / "encoder.safetensors", encoder_of_both)
    movies = {f"film-{n}": Features.from_mapping(film(config, n)) for n in range(4, 16)}
    given = ("eval", "retrieval", tmp_path / "run", write(tmp_path / "films", movies))
    code, out, err = run(*given, "--backend", "torch", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == ["unit", "video to audio", "audio to video"]
    assert found["video to audio"]["candidates"] == 12
    assert 1 <= found["audio to video"]["mean_rank"] <= 12
    code, out, _ = run(*given, "--backend", "torch", "--unit", "shot")
    assert code == 0
    assert f"{sum(range(4, 16))} shots" in out
    code, _, err = run(*given, "--backend", "torch", "--to", "language")
    assert code == 2
    assert "retrieval: expected two of video, audio, got 'language'" in err
    code, _, err = run(*given, "--backend", "torch", "--to", "video")
    assert code == 2
    assert "retrieval: expected two of video, audio, got 'video' twice" in err
    code, _, err = run(*given, "--backend", "torch", "--unit", "frame")
    assert "--unit: expected one of clip, shot, got 'frame'" in err


def test_nan_in_features_is_named(run: Run, data: Path) -> None:
    rows = np.ones((5, 6), np.float32)
    rows[3, 2] = np.nan
    np.savez(data / "walks" / "bad.npz", visual=rows)
    code, _, err = run(
        "train", "head", data / "run", data / "walks", "--head", "ordering", "-o", data / "head.safetensors"
    )
    assert code == 2
    assert "bad.npz: visual: expected finite values, got NaN or Inf at shot 3" in " ".join(err.split())
