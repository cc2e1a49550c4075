"""Films through the commands: segment, shots, features video and catalog."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from films import shots, write_film
from typer.testing import CliRunner

from megaseg import cli, load_features
from megaseg.engine.results.segmentation import Segmentation

pytest.importorskip("av", reason="needs the extra video")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a film of four shots, and of one that is none."""
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "good.mp4", shots(48))
    (folder / "broken.mp4").write_bytes((folder / "good.mp4").read_bytes()[:400])
    return folder


def test_a_folder_of_films_whose_failures_stop_nothing(films: Path, tmp_path: Path) -> None:
    code, out, err = run("segment", films, "-o", tmp_path / "scenes", "--json")
    assert code == 1
    assert json.loads(out)["num_shots"] == 4
    assert Segmentation.from_json((tmp_path / "scenes" / "good.json").read_text()).num_shots == 4
    assert not (tmp_path / "scenes" / "broken.json").exists()
    assert "warning: good: no acts" in err
    assert f"error: {films}/broken.mp4: expected a video file" in err.replace("\n", " ")


def test_a_table_has_times(films: Path) -> None:
    code, out, _ = run("segment", films / "good.mp4", "--num-scenes", 2)
    assert code == 0
    assert "good: 2 scenes in 4 shots" in out
    assert "0:00:02.0" in out


def test_a_picture_has_a_still_of_every_scene(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    assert run("segment", films / "good.mp4", "--num-scenes", 3, "--plot", tmp_path / "scenes.png")[0] == 0
    assert (tmp_path / "scenes.png").read_bytes().startswith(b"\x89PNG")


def test_shots_are_written_and_taken_back(films: Path, tmp_path: Path) -> None:
    for name in ("shots.csv", "good.scenes.txt"):
        code, out, _ = run("shots", films / "good.mp4", "-o", tmp_path / name, "--json")
        found = json.loads(out)
        assert code == 0
        assert found["frames"] == [[0, 11], [12, 23], [24, 35], [36, 47]]
        assert len(found["times"]) == 4
        code, out, _ = run("segment", films / "good.mp4", "--shots", tmp_path / name, "--json")
        assert json.loads(out)["times"] == found["times"]
    assert "good: 4 shots" in run("shots", films / "good.mp4")[1]


def test_a_list_of_shots_may_be_any_text_file(films: Path, tmp_path: Path) -> None:
    assert run("shots", films / "good.mp4", "-o", tmp_path / "mine.txt")[0] == 0
    assert (tmp_path / "mine.txt").read_text().splitlines()[0] == "0 11"


def test_a_failure_is_named_once_as_it_was_given(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(films)
    _, _, err = run("segment", "broken.mp4")
    assert err.startswith("error: broken.mp4: expected a video file")


def test_hidden_files_of_a_folder_are_no_films(films: Path, tmp_path: Path) -> None:
    (tmp_path / "good.mp4").write_bytes((films / "good.mp4").read_bytes())
    (tmp_path / "._good.mp4").write_bytes(b"\0\5\x16\7")  # as macOS leaves it on other systems' disks
    assert run("segment", tmp_path, "--json")[0] == 0


def test_subtitles_beside_a_film_that_cannot_be_read_are_remarked(films: Path, tmp_path: Path) -> None:
    film = tmp_path / "good.mp4"
    film.write_bytes((films / "good.mp4").read_bytes())
    film.with_suffix(".srt").touch()
    code, _, err = run("segment", film)
    assert code == 0
    assert "warning: good: subtitles are left out" in err
    code, _, err = run("segment", film, "--subtitles", film.with_suffix(".srt"))  # those that were asked for
    assert code == 2
    assert "good.srt: expected subtitles" in err


def test_a_film_is_explained_by_its_own_model(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    code, out, _ = run("explain", films / "good.mp4", "-o", tmp_path)
    assert code == 0
    assert "colour" in out


def test_acts_alone_of_a_film_hint_at_the_model_of_its_scenes(films: Path) -> None:
    _, _, err = run("segment", films / "good.mp4", "-c", "video-acts")
    assert "--checkpoint video-scenes" in err.replace("\n", " ")


def test_a_folder_without_films_has_no_shots(tmp_path: Path) -> None:
    (tmp_path / "movie.npz").touch()
    code, _, err = run("shots", tmp_path)
    assert code == 2
    assert "expected films" in err


def test_features_of_films_are_files(films: Path, tmp_path: Path) -> None:
    code, out, err = run("features", "video", films, "-o", tmp_path, "--json")
    assert code == 1
    (row,) = json.loads(out)["films"]
    assert row["file"] == str(tmp_path / "good.npz")
    features = load_features(tmp_path / "good.npz")
    assert row["modalities"] == {name: array.shape[1] for name, array in features.modalities.items()}
    assert "broken.mp4: expected a video file" in err.replace("\n", " ")
    code, out, _ = run("features", "video", films / "good.mp4", "-o", tmp_path / "one.npz", "-x", "colour")
    assert code == 0
    assert set(load_features(tmp_path / "one.npz").modalities) == {"colour"}
    np.testing.assert_array_equal(load_features(tmp_path / "one.npz").times, features.times)


def test_a_catalogue_of_films(films: Path, tmp_path: Path) -> None:
    code, out, _ = run("catalog", films, "-o", tmp_path / "out", "--json")
    assert code == 1
    assert json.loads(out)["failures"] == 1
    (failure,) = (json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    assert failure["title"] == "broken"
    assert "expected a video file" in failure["reason"]
    assert Segmentation.from_json((tmp_path / "out" / "good.json").read_text()).num_shots == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("segment", "{0}", "--shots", "x.csv"), "--shots: expected one film with it, got 2"),
        (("segment", "{0}/good.mp4", "--detector", "best"), "detector: expected one of adaptive"),
        (
            ("segment", "{0}/good.mp4", "--shots", "none.csv"),
            "none.csv: expected a file of shots, got no such file",
        ),
        (("segment", "{0}/broken.mp4", "--subtitles", "{0}"), "expected a file of subtitles, got a folder"),
        (("segment", "{0}/broken.mp4", "--speech", "{0}"), "expected a Whisper model of CTranslate2"),
        (("segment", "{0}/broken.mp4", "--plot", "a.jpeg"), "a.jpeg: expected a picture ending in"),
        (("shots", "sample"), "sample: expected films"),
        (("shots", "{0}", "-o", "one.csv"), "one.csv: expected a folder for 2 movies"),
        (("features", "video", "{0}/good.mp4", "-o", "{0}/x.npz", "-x", "smell"), "extractors: expected some of"),
    ],
)
def test_what_cannot_be_is_said(films: Path, arguments: tuple[str, ...], message: str) -> None:
    try:
        code, _, err = run(*(argument.format(films) for argument in arguments))
    except Exception as error:  # noqa: BLE001 (main prints those)
        code, err = 2, str(error)
    assert code == 2
    assert message in err.replace("\n", " ")
