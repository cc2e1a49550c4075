"""Chapters by the command line, and files of ad breaks with their rules."""

from __future__ import annotations

import csv
import io
import json
from fractions import Fraction
from pathlib import Path

import pytest
from timelines import result
from typer.testing import CliRunner

from megaseg import cli

av = pytest.importorskip("av", reason="needs the extra video")
films = pytest.importorskip("films")


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("film")
    made: Path = films.write_film(folder / "harbour.mp4", films.shots(48))
    return made


def titles(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [one["metadata"]["title"] for one in container.chapters()]


def saved(path: Path, **more: object) -> Path:
    made = result([500, 1000, 2000], ends=[0, 1], tps=[0], names={"scenes": {1: "The <pier>"}}, **more)  # type: ignore[arg-type]
    path.write_text(made.to_json())
    return path


def test_chapters_of_a_kept_result(film: Path, tmp_path: Path) -> None:
    kept = saved(tmp_path / "harbour.json")
    code, out, _ = run("mux", film, "--result", kept, "--chapters", "-o", tmp_path / "new" / "copy.mkv")
    assert code == 0
    assert "3 chapters" in out
    assert titles(tmp_path / "new" / "copy.mkv") == ["Scene 1 · Act 1", "The <pier>", "Scene 3 · Act 2"]
    assert run("mux", film, "--result", kept, "--act-chapters", "-o", tmp_path)[0] == 0
    assert len(titles(tmp_path / "harbour.chapters.mp4")) == 2


def test_a_film_is_segmented_where_no_result_is_given(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("mux", film, "--chapters")
    assert code == 0
    found = titles(tmp_path / "harbour.chapters.mp4")
    assert found[0] == "Scene 1"
    assert f": {len(found)} chapter" in out
    assert titles(film) == []


def test_what_is_refused_before_a_film_is_read(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.cli.mux.Pipelines", None)
    for target, told in ((film, "another file than the film itself"), (tmp_path / "a.avi", "expected one of .mkv")):
        with pytest.raises((ValueError, cli.MegasegError), match=told):
            run("mux", film, "-o", target)
    acts = tmp_path / "acts.json"
    acts.write_text(result([500, 1000], ends=[0]).to_json())
    with pytest.raises(ValueError, match="acts.json: expected a result with acts for chapters, got none"):
        run("mux", film, "--result", acts, "--act-chapters", "-o", tmp_path / "b.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acts.json"]


def test_rules_of_ads_are_options_of_export(tmp_path: Path) -> None:
    kept = tmp_path / "film.json"
    ends = [300 * (shot + 1) for shot in range(12)]
    kept.write_text(result(ends, Fraction(1), ends=range(11), name="film.mp4").to_json())

    def cues(*options: object) -> list[float]:
        code, out, _ = run("export", kept, "--format", "cues", *options)
        assert code == 0
        return [float(row["Seconds"]) for row in csv.DictReader(io.StringIO(out))]

    assert cues("--ad-spacing", 900, "--ad-head", 1000, "--ad-tail", 600) == [1200, 2100, 3000]
    assert len(cues("--ads-per-hour", 1)) == 1
    assert cues("--ads-per-hour", 0) == []
    code, out, _ = run("export", kept, "--format", "scte35", "--ad-length", 45.5, "--ads-per-hour", 2)
    assert (code, {row["duration"] for row in json.loads(out)}) == (0, {45.5})
    with pytest.raises(ValueError, match="--ad-spacing: expected a finite number of at least 0, got nan"):
        run("export", kept, "--format", "cues", "--ad-spacing", "nan")
