"""``megaseg embed`` and catalogues of embeddings: files, messages, exit codes, and runs that go on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from screenplays import SCRIPT, ZeroExtractor
from shot_encoders import Config, contextualizer, film, long_range, movie_encoder, scene_encoder
from support import Run, random_checkpoint, small_config

from megaseg import Engine, load_features, save_checkpoint
from megaseg.engine.inputs.modality import Modality
from megaseg.features.screenplay import blocks
from megaseg.pipelines.embedding import encoder_sha256

CONFIG = long_range()


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "encoder.safetensors", random_checkpoint(CONFIG))
    return tmp_path / "encoder.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A film with everything, and one without audio but with a modality that the encoder does not read."""
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a.npz", **film(CONFIG, 20), labels=np.ones(20, np.uint8))
    other = {name: rows for name, rows in film(CONFIG, 9).items() if name != "audio"}
    np.savez(tmp_path / "in" / "b.npz", **other, colour=np.ones((9, 2), np.float32))
    return tmp_path / "in"


def test_a_file_a_movie(run: Run, folder: Path, encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, stdout, err = run("embed", folder, "-c", encoder, "-o", out, "--keep", "video, language", "--json")
    assert code == 0
    recipe = f"embedding/{encoder_sha256(encoder)[:12]}"
    told = json.loads(stdout)
    assert told["recipe"] == recipe
    assert [(movie["name"], movie["shots"], movie["width"], movie["absent"]) for movie in told["movies"]] == [
        ("a", 20, 72, []),
        ("b", 9, 72, ["audio"]),
    ]
    assert "b: audio: not there, read as zeros" in err
    assert "b: colour: not read by the encoder" in err
    engine = Engine.from_checkpoint(encoder)
    for name in "ab":
        made = load_features(out / f"{name}.npz")
        assert [*made.modalities] == ["embedding", "video", "language"]
        assert made.recipe == recipe
        assert np.array_equal(made.modalities["embedding"], engine.embed(folder / f"{name}.npz"))
    assert load_features(out / "a.npz").labels is not None
    code, stdout, err = run("embed", folder / "a.npz", "-c", encoder, "-o", tmp_path / "one.npz")
    assert (code, err) == (0, "")
    assert "read as zeros" in stdout
    assert load_features(tmp_path / "one.npz").num_shots == 20


def test_a_file_of_another_kind_is_no_folder(run: Run, folder: Path, encoder: Path, tmp_path: Path) -> None:
    code, _, err = run("embed", folder / "a.npz", "-c", encoder, "-o", tmp_path / "x.json")
    assert code == 2
    assert "x.json: expected a folder or a .npz file, got another file" in err
    assert not (tmp_path / "x.json").exists()
    assert run("embed", folder / "a.npz", "-c", encoder, "-o", tmp_path / "run.v2")[0] == 0


@pytest.mark.parametrize("config", [scene_encoder("video audio"), movie_encoder()], ids=lambda config: config.family)
def test_encoders_of_scenes_and_movies(run: Run, folder: Path, tmp_path: Path, config: Config) -> None:
    model, compiled = tmp_path / "model.safetensors", tmp_path / "model.mseg"
    save_checkpoint(model, random_checkpoint(config))
    assert config.family in run("info", model)[1]
    assert run("compile", model, "-o", compiled, "--compute-type", "float32")[0] == 0
    for path in (model, compiled):
        code, _, err = run("embed", folder / "a.npz", "-c", path, "-o", tmp_path / "a.npz", "--compute-type", "float32")
        assert (code, "language: not read by the encoder" in err) == (0, True)
        made = load_features(tmp_path / "a.npz")
        assert made.recipe == f"embedding/{encoder_sha256(model)[:12]}"
        want = Engine.from_checkpoint(path, compute_type="float32").embed(folder / "a.npz")
        assert np.array_equal(made.modalities["embedding"], want)


def test_two_movies_of_one_name(run: Run, folder: Path, encoder: Path, tmp_path: Path) -> None:
    code, _, err = run("embed", folder / "a.npz", folder / "a.npz", "-c", encoder, "-o", tmp_path / "out")
    assert code == 2
    assert "out: expected movies of different names, got a 2 times" in err


def test_failures_are_listed_at_the_end(run: Run, folder: Path, encoder: Path, tmp_path: Path) -> None:
    np.savez(folder / "c.npz", video=np.ones((3, 8), np.float32))
    (folder / "d.npz").write_bytes(b"no archive")
    out = tmp_path / "out"
    code, stdout, err = run("embed", folder, "-c", encoder, "-o", out, "--json")
    assert code == 1
    assert [movie["name"] for movie in json.loads(stdout)["movies"]] == ["a", "b"]
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 2
    assert "c.npz: video: expected 7 features a shot, got 8" in errors[0]
    assert "2 of 4 failed" in err
    assert sorted(path.name for path in out.iterdir()) == ["a.npz", "b.npz"], "whole or not at all"
    assert run("embed", folder / "c.npz", "-c", encoder, "-o", tmp_path / "none")[0] == 2
    code, _, err = run("embed", folder, "-c", encoder, "-o", out, "--keep", "smell")
    assert code == 2
    assert "a.npz: --keep: expected some of" in " ".join(err.split())


def test_what_is_refused_at_once(run: Run, folder: Path, encoder: Path, scene_checkpoint: Path, tmp_path: Path) -> None:
    def refused(told: str, *arguments: str | Path) -> None:
        code, stdout, err = run("embed", *arguments)
        assert (code, stdout) == (2, "")
        assert told in " ".join(err.split())

    before = (folder / "a.npz").read_bytes()
    refused("expected another file than the features that are read", folder, "-c", encoder, "-o", folder)
    assert (folder / "a.npz").read_bytes() == before
    refused("expected an encoder of shots", folder, "-c", scene_checkpoint, "-o", tmp_path / "out")
    refused("expected a folder for 2 movies, got a file", folder, "-c", encoder, "-o", tmp_path / "one.npz")
    refused("none.npz: expected a feature file", tmp_path / "none.npz", "-c", encoder, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_screenplay_and_a_model_of_its_embedding(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vectors", "log_odds"):
        own = getattr(ZeroExtractor, name)
        monkeypatch.setattr(f"megaseg.features.screenplay.extractor.ScreenplayExtractor.{name}", own)
    (tmp_path / "lamp.fountain").write_text(SCRIPT)
    made = ZeroExtractor()
    from megaseg.pipelines import open_source

    rows = made.read(open_source(tmp_path / "lamp.fountain")).features(blocks.RECIPE)
    modalities = tuple(Modality(name, array.shape[1]) for name, array in rows.modalities.items())
    config = dataclasses.replace(contextualizer(), modalities=modalities, recipe=blocks.RECIPE)
    save_checkpoint(tmp_path / "encoder.safetensors", random_checkpoint(config))
    script, out = tmp_path / "lamp.fountain", tmp_path / "out"
    assert run("embed", script, "-c", tmp_path / "encoder.safetensors", "-o", out)[0] == 0
    recipe = load_features(out / "lamp.npz").recipe
    head = small_config(modalities=(Modality("embedding", 24),), recipe=recipe)
    save_checkpoint(tmp_path / "head.safetensors", random_checkpoint(head))
    assert run("segment", out / "lamp.npz", "-c", tmp_path / "head.safetensors", "--json")[0] == 0
    code, _, err = run("segment", script, "-c", tmp_path / "head.safetensors", "--json")
    assert code == 2
    assert f"the checkpoint expects '{recipe}'" in err
    assert "megaseg embed" in err
    other = dataclasses.replace(head, recipe="embedding/0123456789ab")
    save_checkpoint(tmp_path / "head.safetensors", random_checkpoint(other))
    code, _, err = run("segment", out / "lamp.npz", "-c", tmp_path / "head.safetensors", "--json")
    assert code == 2
    assert "megaseg embed" in err


def test_a_catalogue_of_embeddings_goes_on(run: Run, folder: Path, encoder: Path, tmp_path: Path) -> None:
    (folder / "s").mkdir()
    np.savez(folder / "s" / "a.npz", **film(CONFIG, 11))
    np.savez(folder / "s" / "wrong.npz", video=np.ones((3, 8), np.float32))
    out, options = tmp_path / "out", ("-c", encoder, "-o", tmp_path / "out", "--json")
    code, stdout, _ = run("catalog", folder, *options)
    assert code == 1
    counts = json.loads(stdout)
    assert [counts[key] for key in ("titles", "embedded", "results", "failures")] == [4, 3, 3, 1]
    engine = Engine.from_checkpoint(encoder)
    for title in ("a", "b", "s/a"):
        made = load_features(out / f"{title}.npz")
        assert np.array_equal(made.modalities["embedding"], engine.embed(folder / f"{title}.npz"))
    failure = json.loads((out / "failures.jsonl").read_text())
    assert (failure["title"], "expected 7 features a shot, got 8" in failure["reason"]) == ("s/wrong", True)
    (out / "b.npz").unlink()
    (out / ".a.npz.ABCDEFGH.npz").write_bytes(b"half")  # of a process that was killed
    code, stdout, _ = run("catalog", folder, *options)
    assert code == 1
    assert json.loads(stdout)["embedded"] == 1
    assert not (out / ".a.npz.ABCDEFGH.npz").exists()
    save_checkpoint(encoder, random_checkpoint(CONFIG, 1))
    code, _, err = run("catalog", folder, *options)
    assert code == 2
    assert "its results were made with other settings" in " ".join(err.split())


def test_a_catalogue_of_embeddings_is_refused(run: Run, folder: Path, encoder: Path, tmp_path: Path) -> None:
    code, _, err = run("catalog", folder, "-c", encoder, "-o", tmp_path / "out", "--threshold", "0.4")
    assert code == 2
    assert "--threshold: expected a model that decides, got 0.4 with an encoder" in " ".join(err.split())
    before = sorted(folder.iterdir())
    code, _, err = run("catalog", folder, "-c", encoder, "-o", folder)
    assert code == 2
    assert "expected a new folder, or one of megaseg catalog, got other .npz files" in " ".join(err.split())
    assert sorted(folder.iterdir()) == before
