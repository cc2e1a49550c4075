"""Reports and contact sheets by the command line: of films, screenplays and features, at once or of a kept result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import shots, write_film
from screenplays import SCRIPT, ZeroExtractor, save_models
from support import Run, random_features, small_config

from megaseg import Features, Segmentation, save_features
from megaseg.features import ScreenplayExtractor
from megaseg.media import reading

av = pytest.importorskip("av", reason="needs the extra video")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of eight shots of half a second, the same with another clock, and a longer one."""
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "good.mp4", shots(96))
    copied(folder / "good.mp4", folder / "other.mkv")
    write_film(folder / "long.mp4", shots(480, 48, (16, 24)))
    return folder


@pytest.fixture
def features(tmp_path: Path) -> Path:
    save_features(tmp_path / "movie.npz", Features(random_features(small_config(), 20)))
    return tmp_path / "movie.npz"


def copied(film: Path, copy: Path) -> None:
    """Write a film's pictures in another container, as they are."""
    with av.open(str(film)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def film_of(page: Path) -> dict[str, Any]:
    """What a page knows of its film."""
    (data,) = re.findall(r'<script type="application/json" id="film">(.*?)</script>', page.read_text(), re.DOTALL)
    found: dict[str, Any] = json.loads(data)
    return found


def pictures_of(page: Path) -> list[str]:
    """Type of a page's pictures, then one a shot."""
    (lines,) = re.findall(r'<script type="text/plain" id="pictures">\n(.*?)\n?</script>', page.read_text(), re.DOTALL)
    return str(lines).split()


def test_a_film_has_a_page_and_a_sheet_of_the_pass_that_found_its_scenes(
    run: Run, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    calls, call = [], reading.call
    monkeypatch.setattr(
        reading, "call", lambda task, *given, **own: calls.append(task.__name__) or call(task, *given, **own)
    )
    page, sheet, kept = tmp_path / "new" / "page.html", tmp_path / "sheets" / "sheet.png", tmp_path / "good.json"
    views = ("--report", page, "--contact-sheet", sheet)
    code, _, _ = run("segment", films / "good.mp4", "--num-scenes", "3", *views, "-o", kept)
    assert (code, calls) == (0, ["record"])
    film = film_of(page)
    assert film["result"] == json.loads(kept.read_text())
    assert {"visual", "colour"} <= {*film["importance"]["modalities"]}
    assert film["importance"]["shots"] == list(range(8))
    kind, *pictures = pictures_of(page)
    assert (kind, len(pictures), len({*pictures})) == ("image/webp", 8, 8)
    assert sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["good.mp4", "other.mkv"])
def test_a_kept_result_has_its_page_with_pictures_of_any_copy_of_its_film(
    run: Run, films: Path, name: str, tmp_path: Path
) -> None:
    kept, own, later = tmp_path / "good.json", tmp_path / "own.html", tmp_path / "later.html"
    run("segment", films / "good.mp4", "-o", kept, "--report", own, "--json")
    code, out, err = run("report", kept, "-o", later, "--film", films / name, "--title", "A <b> film")
    assert (code, out, err) == (0, "", "")
    film = film_of(later)
    assert (film["title"], film["importance"]) == ("A <b> film", None)
    assert Segmentation.from_dict(film["result"]).to_dict() == json.loads(kept.read_text())
    assert pictures_of(later) == pictures_of(own)


def test_a_result_without_a_film_has_a_page_without_pictures(run: Run, films: Path, tmp_path: Path) -> None:
    kept, page = tmp_path / "good.json", tmp_path / "page.htm"
    run("segment", films / "good.mp4", "-o", kept, "--json")
    assert run("report", kept, "-o", page, "--ads-per-hour", "2")[0] == 0
    assert (pictures_of(page), film_of(page)["title"], film_of(page)["ads"]["per_hour"]) == ([], "good", 2)


def test_a_screenplay_s_page_has_its_first_words(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vectors", "encode", "log_odds"):
        monkeypatch.setattr(ScreenplayExtractor, name, getattr(ZeroExtractor, name))
    (tmp_path / "play.fountain").write_text(SCRIPT)
    page = tmp_path / "play.html"
    code, _, _ = run("segment", tmp_path / "play.fountain", "-c", save_models(tmp_path)["scene"], "--report", page)
    film = film_of(page)
    assert (code, pictures_of(page)) == (0, [])
    assert film["importance"]["modalities"] == ["description", "dialogue", "structure"]
    assert film["result"]["source"]["captions"][0].startswith("It is 0 o'clock")


def test_features_alone_have_a_page_and_a_sheet(
    run: Run, scene_checkpoint: Path, features: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    views = ("--report", tmp_path / "page.html", "--contact-sheet", tmp_path / "sheet.svg")
    assert run("segment", features, "-c", scene_checkpoint, *views)[0] == 0
    assert film_of(tmp_path / "page.html")["result"]["num_shots"] == 20
    assert "<svg" in (tmp_path / "sheet.svg").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--report", "{out}/page.pdf"), "--report: expected a file ending in .html, got {out}/page.pdf"),
        (("--report", "-"), "--report: expected a file ending in .html, got -"),
        (("--report", "{out}"), "--report: expected a file, got the folder {out}"),
        (("--contact-sheet", "{out}/sheet.gif"), "sheet.gif: expected a picture ending in"),
        (("--contact-sheet", "{out}/a.png", "--plot", "{out}/a.png"), "expected different files, got one for two"),
        (("{movie}", "--report", "{out}/page.html"), "--report: expected one movie, got 2"),
        (("{out}/gone.npz", "--contact-sheet", "{out}/a.png"), "--contact-sheet: expected one movie, got 2"),
    ],
)
def test_views_that_cannot_be_are_refused_before_any_work(
    run: Run, scene_checkpoint: Path, features: Path, tmp_path: Path, options: Any, message: str
) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    (tmp_path / "out").mkdir()
    names = {"out": tmp_path / "out", "movie": features}
    code, out, err = run("segment", features, "-c", scene_checkpoint, *(option.format(**names) for option in options))
    assert (code, out) == (2, "")
    assert message.format(**names) in err
    assert not [*(tmp_path / "out").iterdir()]


def test_a_report_of_what_does_not_fit_is_refused(
    run: Run, films: Path, scene_checkpoint: Path, features: Path, tmp_path: Path
) -> None:
    run("segment", films / "good.mp4", "-o", tmp_path / "good.json", "--json")
    run("segment", features, "-c", scene_checkpoint, "-o", tmp_path / "plain.json", "--json")
    page = ("-o", tmp_path / "page.html")
    for arguments, message in (
        ((films / "good.mp4", *page), "good.mp4: expected the JSON of a result"),
        ((tmp_path / "good.json", "-o", tmp_path / "page.json"), "--output: expected a file ending in .html"),
        ((tmp_path / "good.json", *page, "--film", films / "gone.mp4"), "gone.mp4: expected a video file"),
        ((tmp_path / "good.json", *page, "--film", films / "long.mp4"), "film of 0:00:04.0, got one of 0:00:20.0"),
        ((tmp_path / "plain.json", *page, "--film", films / "good.mp4"), "--film: expected a result with times"),
    ):
        code, out, err = run("report", *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert message in err
    assert not (tmp_path / "page.html").exists()


def test_a_view_that_cannot_be_written_is_a_failure_whose_result_is_kept(
    run: Run, scene_checkpoint: Path, features: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    outputs = ("--report", tmp_path / "file" / "page.html", "-o", tmp_path / "movie.json")
    code, out, err = run("segment", features, "-c", scene_checkpoint, *outputs)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {features}: ")
    assert Segmentation.from_json((tmp_path / "movie.json").read_text()).num_shots == 20


def test_a_page_that_cannot_be_written_leaves_nothing(run: Run, films: Path, tmp_path: Path) -> None:
    run("segment", films / "good.mp4", "-o", tmp_path / "good.json", "--json")
    (tmp_path / "file").write_bytes(b"")
    code, _, err = run("report", tmp_path / "good.json", "-o", tmp_path / "file" / "page.html")
    assert code == 2
    assert "file" in err
    assert np.array_equal(sorted(path.name for path in tmp_path.iterdir()), ["file", "good.json"])
