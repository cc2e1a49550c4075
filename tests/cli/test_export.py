"""``megaseg formats``, ``megaseg export`` and ``megaseg segment --format``."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support import Run, random_features, small_config
from timelines import result

from megaseg import Features, Segmentation, save_features
from megaseg.export import formats


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "The Harbour.json"
    result([1000, 2000, 3000], ends=[0, 1], frame_rate=Fraction(25)).save(path)
    return path


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    times = np.column_stack([np.arange(12), np.arange(1, 13)]).astype(np.int64) * 1000
    features = Features(random_features(small_config(), 12), times=times, time_base=Fraction(1, 1000))
    save_features(tmp_path / "movie.npz", features)
    return tmp_path / "movie.npz"


def test_formats_lists_them(run: Run) -> None:
    code, out, _ = run("formats", "--json")
    assert code == 0
    assert [(one["name"], one["suffix"]) for one in json.loads(out)] == [(one.name, one.suffix) for one in formats()]
    code, out, _ = run("formats")
    assert code == 0
    assert all(one.suffix in out for one in formats())


def test_export_writes_a_file_a_folder_or_stdout(run: Run, kept: Path, tmp_path: Path) -> None:
    options = ("--start-timecode", "01:00:00:00")
    assert run("export", str(kept), "--format", "edl", "-o", str(tmp_path / "a.txt"), *options)[0] == 0
    assert run("export", str(kept), "--format", "edl, otio", "-o", str(tmp_path / "new" / "out"), *options)[0] == 0
    assert run("export", str(kept), "-o", str(tmp_path / "b.edl"), *options)[0] == 0
    code, out, err = run("export", str(kept), "--format", "edl", *options)
    assert (code, err) == (0, "")
    assert "001  AX       V     C        01:00:00:00 01:00:01:00 01:00:00:00 01:00:01:00" in out
    files = (tmp_path / "a.txt", tmp_path / "b.edl", tmp_path / "new" / "out" / "The Harbour.edl")
    assert {file.read_text(encoding="utf-8") for file in files} == {out}
    assert (tmp_path / "new" / "out" / "The Harbour.otio").is_file()
    assert run("export", str(kept), "--format", "vtt", "-o", f"{tmp_path}/one/")[0] == 0, "a folder has no suffix"
    assert (tmp_path / "one" / "The Harbour.chapters.vtt").is_file()


def test_options_of_the_clock_reach_the_files(run: Run, kept: Path) -> None:
    clock = ("--frame-rate", "29.97df", "--offset", "-0.5", "--title", "Film", "--media", "/a/b.mov")
    _, out, _ = run("export", str(kept), "--format", "edl", *clock)
    assert out.splitlines()[:2] == ["TITLE: Film", "FCM: DROP FRAME"]
    assert "00:00:00;00 00:00:00;15" in out
    assert "* FROM CLIP NAME: b.mov\n* SOURCE FILE: /a/b.mov\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "docx", "-o", "{tmp}"), "format: expected one of json (.json)"),
        (("--format", "edl", "--frame-rate", "x"), "--frame-rate: expected frames a second"),
        (("--format", "edl", "--start-timecode", "1:2"), "--start-timecode: expected a timecode at 25"),
        (("--format", "edl", "--offset", "x"), "--offset: expected seconds"),
        (("--format", "edl", "--frame-rate", "28.7"), "--frame-rate: expected a whole rate"),
        (("--format", "edl,otio"), "--output: expected a file or folder for 2 formats, got none"),
        (("--format", "edl,otio", "-o", "{kept}"), "--output: expected a folder for 2 formats, got the file"),
        (("-o", "{tmp}"), "--format: expected at least one for the folder"),
        (("-o", "{tmp}/a.docx"), "format: expected one of json"),
        ((), "--output: expected a file or folder for 0 formats, got none"),
        (("--format", "edl", "-o", "{tmp}/film.MP4"), "film.MP4, the name of a film or of features"),
        (("--format", "csv", "-o", "{tmp}/a.npz"), "--output: expected a .csv file for csv, got"),
        (
            ("--format", "csv", "-o", "{kept}"),
            "expected another file than the one that is read, which is left as it is",
        ),
    ],
)
def test_what_export_cannot(run: Run, kept: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    given = (argument.format(tmp=tmp_path, kept=kept) for argument in arguments)
    code, out, err = run("export", str(kept), *given)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == [kept]
    assert Segmentation.from_json(kept.read_text(encoding="utf-8"))


def test_export_names_a_file_that_is_no_result(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    code, _, err = run("export", str(tmp_path / "a.json"), "--format", "csv")
    assert code == 2
    assert "a.json: schema: expected" in err


def test_segment_writes_every_format(run: Run, movie: Path, scene_checkpoint: Path, tmp_path: Path) -> None:
    segment = ("segment", str(movie), "-c", str(scene_checkpoint))
    out = tmp_path / "out"
    assert run(*segment, "--format", "json,csv", "-o", str(out))[0] == 0
    assert sorted(file.name for file in out.iterdir()) == ["movie.csv", "movie.json"]
    assert Segmentation.from_json((out / "movie.json").read_text(encoding="utf-8")).num_shots == 12
    assert run(*segment, "-o", str(tmp_path / "one.csv"))[0] == 0
    assert (tmp_path / "one.csv").read_bytes() == (out / "movie.csv").read_bytes()
    assert run(*segment, "--format", "vtt", "-o", str(tmp_path / "two.vtt"))[0] == 0
    assert (tmp_path / "two.vtt").read_bytes().startswith(b"WEBVTT")


def test_a_format_that_cannot_say_a_movie_stops_no_other(
    run: Run, movie: Path, scene_checkpoint: Path, tmp_path: Path
) -> None:
    arguments = ("segment", str(movie), "-c", str(scene_checkpoint), "-o", str(tmp_path / "out"))
    code, _, err = run(*arguments, "--format", "edl,csv,otio", "--report", str(tmp_path / "movie.html"))
    assert code == 2
    assert (
        "movie.npz: edl, otio: frame_rate: expected one such as 25 or 29.97df, got none; megaseg export takes "
        "--frame-rate" in err
    )
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["movie.csv"]
    assert (tmp_path / "movie.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "csv"), "--output: expected a folder with --format, got none"),
        (("--format", "csv", "-o", "-"), "--output: expected a folder with --format, got -"),
        (("--format", "csv,docx", "-o", "{tmp}/out"), "format: expected one of json"),
        (
            ("--format", "csv", "-o", "{tmp}", "--shots", "{tmp}/movie.csv"),
            "movie.csv: expected another file than the one",
        ),
        (("--format", "csv,edl", "-o", "{movie}"), "movie.npz: expected a .csv file or a folder, got another file"),
    ],
)
def test_what_segment_cannot_write_is_told_before_any_work(
    run: Run, movie: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = (argument.format(tmp=tmp_path, movie=movie) for argument in arguments)
    code, out, err = run("segment", str(movie), "-c", str(tmp_path / "no-such-checkpoint"), *given)
    assert (code, out) == (2, "")
    assert message in err
