"""From metadata to an encoder of scenes on the command line: what commands write, and what they say of bad input."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from support import Run
from themed_films import film, films, theme_of

from megaseg import Features, load_checkpoint, save_features
from megaseg.pipelines.embedding import encoder_sha256
from megaseg.pipelines.mined_pairs import read_mined

pytest.importorskip("torch")
SIMILARITY = {
    "hidden_size": 16, "num_layers": 1, "output_size": 8, "epochs": 2, "optimizer": "adamw", "learning_rate": 0.01,
    "test_share": 0.25, "validation_share": 0.25,
}  # fmt: skip
CONTRAST = {"hidden_size": 16, "ffn_size": 32, "num_heads": 2, "num_layers": 1, "validation_share": 0.4}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films, a table of their pairs, and configs."""
    path = tmp_path_factory.mktemp("movies2scenes")
    (path / "films").mkdir()
    movies = films(10)
    for name, movie in movies.items():
        save_features(path / "films" / f"{name}.npz", movie)
    save_features(path / "films" / "short-0.npz", film(99, 0, 8))
    rows = [f"{a},{b},{int(theme_of(a) == theme_of(b))}" for a, b in itertools.combinations(movies, 2)]
    (path / "pairs.csv").write_text("\n".join(["a,b,similar", *rows]) + "\n")
    (path / "similarity.json").write_text(json.dumps(SIMILARITY))
    (path / "contrast.json").write_text(json.dumps(CONTRAST))
    return path


@pytest.fixture
def trained(run: Run, work: Path) -> Path:
    """The run of a movie encoder."""
    folder = work / "similar"
    if not folder.exists():
        code, out, err = run(
            "train", "movie-similarity", work / "films", "--metadata", work / "pairs.csv", "--kind", "genre",
            "-o", folder, "--config", work / "similarity.json", "--max-length", "16", "--threads", "1", "--json",
        )  # fmt: skip
        assert code == 0, err
        told = json.loads(out)
        assert set(told["test"]["model"]["both"]) == {"auc", "pairs", "similar"}
        assert "45 pairs of 10 movies, 20 of them similar" in err
    return folder


def test_the_walk(run: Run, work: Path, trained: Path) -> None:
    pytest.importorskip("matplotlib")
    checkpoint = load_checkpoint(trained / "encoder.safetensors")
    config = json.loads(checkpoint.metadata["training"])["config"]
    assert (config["max_length"], config["epochs"], checkpoint.config.family) == (16, 2, "movie_encoder")
    code, out, err = run(
        "mine-pairs", work / "films", "-c", trained, "-o", work / "p.npz", "--neighbours", "3", "--limit", "4",
        "--plot", work / "p.png", "--threads", "1", "--json",
    )  # fmt: skip
    assert code == 0, err
    told, mined = json.loads(out), read_mined(work / "p.npz")
    assert "1 movies have fewer than 9 shots and are left out: short-0" in err
    assert (told["left_out"], told["movies"], told["scene_pairs"]) == (["short-0"], 10, len(mined))
    assert mined.encoder == encoder_sha256(trained)
    assert np.unique(mined.movies, axis=0, return_counts=True)[1].max() <= 4
    assert (work / "p.png").read_bytes().startswith(b"\x89PNG")
    code, out, err = run(
        "pretrain", "scene-contrast", work / "films", "--pairs", work / "p.npz", "--mined-by", trained,
        "-o", work / "scenes", "--config", work / "contrast.json", "--epochs", "2", "--batch-size", "16",
        "--queue-size", "64", "--seed", "3", "--modalities", "picture", "--threads", "1", "--json",
    )  # fmt: skip
    assert code == 0, err
    saved = load_checkpoint(work / "scenes" / "encoder.safetensors")
    config = json.loads(saved.metadata["training"])["config"]
    assert [m.name for m in saved.config.modalities] == ["picture"]
    given = {"epochs": 2, "batch_size": 16, "queue_size": 64, "seed": 3, "modalities": ["picture"]}
    assert {name: config[name] for name in given} == given
    assert json.loads(out)["encoder"].endswith("encoder.safetensors")


def test_pairs_by_metadata_need_no_encoder_of_movies(run: Run, work: Path, trained: Path) -> None:
    code, out, err = run(
        "mine-pairs", work / "films", "-c", trained, "-o", work / "m.npz", "--metadata", work / "pairs.csv",
        "--kind", "genre", "--limit", "1", "--threads", "1", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["movie_pairs"] == 20
    mined = read_mined(work / "m.npz")
    assert all(theme_of(mined.names[a]) == theme_of(mined.names[b]) for a, b in mined.movies.tolist())


def test_the_commands_name_what_is_wrong(run: Run, work: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    save_features(tmp_path / "one" / "film00-0.npz", film(0, 0))
    (tmp_path / "two").mkdir()
    for k in range(2):
        rows = Features({"picture": film(k, k, 30).modalities["picture"]}, recipe="themed/1")
        save_features(tmp_path / "two" / f"film0{k}-{k}.npz", rows)
    (tmp_path / "u.csv").write_text("a,b,similar\nfilm00-0,nobody,1\n")
    table, films_folder = work / "pairs.csv", work / "films"
    similarity = ("train", "movie-similarity")
    contrast = ("pretrain", "scene-contrast")
    run("mine-pairs", films_folder, "-c", trained, "-o", tmp_path / "p.npz", "--neighbours", "1", "--limit", "1")
    for arguments, message in [
        ((*similarity, films_folder, "--metadata", table, "--kind", "plot"), "--kind: expected one of co-watch"),
        (
            (*similarity, films_folder, "--metadata", tmp_path / "u.csv", "--kind", "genre"),
            "that are not: nobody",
        ),
        (
            (*similarity, tmp_path / "one", "--metadata", table, "--kind", "genre"),
            "expected at least 2, got only",
        ),
        ((*similarity, films_folder, "--metadata", work, "--kind", "synopsis"), "expected a file of vectors or texts"),
        (("mine-pairs", films_folder, "-c", trained, "--plot", "p.gif"), "p.gif: expected a picture"),
        (("mine-pairs", tmp_path / "one", "-c", trained), "one: movies of 9 shots or more: expected at least 2"),
        (("mine-pairs", films_folder, "-c", trained, "--least", "1"), "--least: expected a pair of movies"),
        (
            ("mine-pairs", films_folder, "-c", trained, "--plot", tmp_path / "no" / "p.png"),
            "--plot: expected a file",
        ),
        (("mine-pairs", films_folder, "-c", trained, "--kind", "genre"), "--kind: expected --metadata with it"),
        (("mine-pairs", films_folder, "-c", trained, "--partial"), "--partial: expected --metadata with it"),
        (
            ("mine-pairs", films_folder, "-c", trained, "--metadata", table, "--neighbours", "2"),
            "--neighbours: expected no --metadata, got 2",
        ),
        (
            ("mine-pairs", films_folder, "-c", "screenplay-scenes"),
            "--checkpoint: expected a run of train movie-similarity, or any encoder of shots with --metadata",
        ),
        (("mine-pairs", tmp_path / "none", "-c", trained), "got no such file or folder"),
        (("mine-pairs", table, "-c", trained), "got a file of another kind"),
        ((*contrast, films_folder, "--halves", "--mined-by", trained), "--mined-by: expected --pairs with it"),
        (
            (*contrast, tmp_path / "one", "--pairs", tmp_path / "p.npz"),
            "p.npz: expected the movies that they were mined from",
        ),
        ((*contrast, films_folder, "--pairs", tmp_path / "u.csv"), "u.csv: expected scene pairs (.npz)"),
        (
            (*contrast, tmp_path / "two", "--pairs", tmp_path / "p.npz"),
            "expected the 60 shots that scene",
        ),
        ((*contrast, films_folder), "give either --pairs or --halves"),
        ((*contrast, films_folder, "--halves"), "expected labels, the last shot of every scene"),
    ]:
        output = tmp_path / ("out.npz" if arguments[0] == "mine-pairs" else "run")
        code, _, err = run(*arguments, "-o", output)
        assert code == 2, arguments
        assert message in " ".join(err.replace("│", " ").split()), arguments
    for output, message in [
        (tmp_path / "p.txt", "--output: expected a .npz file"),
        (films_folder / "p.npz", "--output: expected a file outside"),
    ]:
        code, _, err = run("mine-pairs", films_folder, "-c", trained, "-o", output)
        assert code == 2
        assert message in " ".join(err.split())


def test_an_epoch_that_nothing_judges_says_so(run: Run, work: Path, trained: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "p.npz"
    run("mine-pairs", work / "films", "-c", trained, "-o", pairs, "--neighbours", "1", "--limit", "1")
    (tmp_path / "c.json").write_text(json.dumps({**CONTRAST, "validation_share": 0.1}))
    given = ("pretrain", "scene-contrast", work / "films", "--pairs", pairs, "--config", tmp_path / "c.json")
    code, _, err = run(*given, "-o", tmp_path / "run", "--epochs", "1", "--batch-size", "4", "--threads", "1")
    assert (code, "no pair of held-out films" in err) == (0, True), err


def test_pairs_of_another_encoder_are_refused(run: Run, work: Path, trained: Path, tmp_path: Path) -> None:
    run("mine-pairs", work / "films", "-c", trained, "-o", tmp_path / "p.npz", "--neighbours", "2", "--limit", "2")
    shared = ("--config", work / "contrast.json", "--epochs", "0", "--threads", "1")
    given = ("pretrain", "scene-contrast", work / "films", "--pairs", tmp_path / "p.npz", *shared)
    code, _, err = run(*given, "-o", tmp_path / "a")
    assert code == 0, err
    code, _, err = run(*given, "-o", tmp_path / "b", "--mined-by", tmp_path / "a")
    assert code == 2
    assert "p.npz: expected those of encoder" in err
