"""``megaseg features movienet`` on a small file of labels and own subtitles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from encoders import write_encoder
from typer.testing import CliRunner

from megaseg import cli, load_features
from megaseg.errors import FeatureError

pytest.importorskip("tokenizers", reason="needs the extra text")

SRT = "1\n00:00:00,500 --> 00:00:01,500\nHello.\n\n2\n00:00:03,000 --> 00:00:06,000\nSay goodbye\n"
SHOTS = [[0, 47], [48, 95], [96, 191]]  # 2, 2 and 4 seconds


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Labels of a film for training and of one for the test, which has no subtitles, and an encoder."""
    films = {
        "tt1": {"split": "train", "shots": SHOTS, "labels": [0, 1, None]},
        "tt2": {"split": "test", "shots": SHOTS, "labels": None},
    }
    (tmp_path / "labels.json").write_text(json.dumps(films))
    (tmp_path / "subtitles").mkdir()
    (tmp_path / "subtitles" / "tt1.srt").write_text(SRT)
    write_encoder(tmp_path / "encoder")
    return tmp_path


def run(data: Path, *more: object) -> tuple[int, str, str]:
    arguments = ["features", "movienet", data / "labels.json", data / "subtitles", "-o", data / "out"]
    arguments += ["--encoder", data / "encoder", "--threads", 1, *more]
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_a_file_a_film(data: Path) -> None:
    code, out, _ = run(data, "--json")
    assert code == 0
    rows = json.loads(out)["films"]
    assert [(row["name"], row["status"], row["shots"], row["lines"]) for row in rows] == [
        ("tt1", "written", 3, 2),
        ("tt2", "written", 3, None),
    ]
    film = load_features(data / "out" / "tt1.npz")
    assert film.labels is not None
    np.testing.assert_array_equal(film.labels, [0, 1, 0])
    np.testing.assert_array_equal(film.token_shots["language"], [0, 2])
    said = film.modalities["language"].astype(np.float32)
    np.testing.assert_allclose(film.modalities["dialogue"], said[[0, 1, 1]], rtol=1e-6)
    assert film.modalities["rhythm"].shape == (3, 12)
    assert film.modalities["speech"].shape == (3, 26)
    silent = load_features(data / "out" / "tt2.npz")
    assert silent.labels is None
    assert silent.modalities["language"].shape == (0, 36)
    assert not silent.modalities["dialogue"].any()


def test_again_only_what_changed(data: Path) -> None:
    assert run(data)[0] == 0
    (data / "subtitles" / "tt2.srt").write_text(SRT)
    code, out, _ = run(data, "--json")
    assert code == 0
    assert [row["status"] for row in json.loads(out)["films"]] == ["kept", "written"]
    code, _, err = run(data, "--split", "test")
    assert "1 films, 3 shots; 1 up to date, 0 without subtitles" in err


def test_lines_timed_in_frames_are_in_frames_of_the_shots(data: Path) -> None:
    (data / "subtitles" / "tt2.srt").write_text("{48}{60}Hello\n{96}{120}Say goodbye\n")
    assert run(data)[0] == 0
    np.testing.assert_array_equal(load_features(data / "out" / "tt2.npz").token_shots["language"], [1, 2])


def test_a_broken_file_stops_nothing(data: Path) -> None:
    (data / "subtitles" / "tt2.srt").write_bytes(b"\x00\x00\x01\xba pictures")
    code, _, err = run(data)
    assert code == 1
    assert "tt2" in err
    assert (data / "out" / "tt1.npz").is_file()
    assert not (data / "out" / "tt2.npz").exists()


def test_a_folder_without_subtitles(data: Path) -> None:
    with pytest.raises(FeatureError, match="expected subtitles such as tt2.srt of 1 films, got none"):
        run(data, "--split", "test")
    with pytest.raises(FeatureError, match="expected films of split dev, got none"):
        run(data, "--split", "dev")


def test_rows_of_shots_alone(data: Path) -> None:
    assert run(data)[0] == 0
    code, out, _ = run(data, "--modalities", "dialogue,rhythm,speech", "--json")
    assert code == 0
    assert {row["status"] for row in json.loads(out)["films"]} == {"written"}
    assert list(load_features(data / "out" / "tt1.npz").modalities) == ["dialogue", "rhythm", "speech"]
    for wrong in ("language", "dialogue,pictures"):
        with pytest.raises(FeatureError, match="--modalities: expected some of dialogue, rhythm, speech, language"):
            run(data, "--modalities", wrong)
