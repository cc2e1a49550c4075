"""``megaseg index`` and ``megaseg similar``: runs that go on, messages, exit codes, the page and the picture."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import shots, write_film
from search.movies import movie, write_movies
from shot_encoders import scene_encoder
from support import Run, random_checkpoint, small_config

from megaseg import save_checkpoint
from megaseg.search import SceneIndex


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_movies(tmp_path)


@pytest.fixture
def index(run: Run, folder: Path) -> Path:
    assert run("index", folder / "movies", "-c", folder / "encoder.safetensors", "-o", folder / "index")[0] == 0
    return folder / "index"


def told(run: Run, *arguments: str | Path) -> Any:
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def refused(run: Run, message: str, *arguments: str | Path) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_a_catalogue_is_indexed_and_what_is_as_before_is_left(run: Run, folder: Path, index: Path) -> None:
    again = told(run, "index", folder / "movies", "-o", index)
    assert again["unchanged"] == [f"m{number}" for number in range(5)]
    assert (again["titles"], again["scenes"]) == (5, 3 + 4 + 5 + 6 + 6)
    np.savez(folder / "movies" / "m1.npz", **movie(52, 9))
    (folder / "movies" / "new").mkdir()
    np.savez(folder / "movies" / "new" / "m9.npz", **movie(20, 3))
    (folder / "movies" / "torn.npz").write_bytes(b"PK")
    code, out, err = run("index", folder / "movies", "-o", index, "--json")
    assert code == 1
    found = json.loads(out)
    assert (found["added"], found["replaced"], len(found["unchanged"])) == (["new/m9"], ["m1"], 4)
    assert list(found["failed"]) == ["torn"]
    assert "torn.npz: expected a readable .npz file" in " ".join(err.split())
    listed = told(run, "index", index, "--list")
    assert [title["title"] for title in listed["titles"]] == ["m0", "m1", "m2", "m3", "m4", "new/m9"]
    assert listed["titles"][1] == {
        "title": "m1",
        "scenes": 6,
        "shots": 52,
        "found": "labels",
        "source": str(folder / "movies" / "m1.npz"),
    }


def test_results_say_where_scenes_end_and_a_change_of_them_counts(run: Run, folder: Path, index: Path) -> None:
    (folder / "results").mkdir()
    for number in range(5):
        options = (
            "segment",
            folder / "movies" / f"m{number}.npz",
            "-c",
            folder / "scenes.safetensors",
            "--num-scenes",
            "2",
        )
        save_checkpoint(folder / "scenes.safetensors", random_checkpoint(scene_encoder(task="scene", num_classes=2)))
        assert run(*options, "-o", folder / "results" / f"m{number}.json")[0] == 0
    own = ("index", folder / "movies", "-o", index, "--scenes", folder / "results")
    assert len(told(run, *own)["replaced"]) == 5
    assert SceneIndex.open(index).title("m2").scenes == 2
    assert len(told(run, *own)["unchanged"]) == 5
    result = folder / "results" / "m3.json"
    result.write_text(result.read_text() + " ")
    assert told(run, *own)["replaced"] == ["m3"]


def test_titles_are_removed(run: Run, index: Path) -> None:
    refused(run, "--remove: expected one of the 5 titles of the index, got 'm7'", "index", index, "--remove", "m7")
    found = told(run, "index", index, "--remove", "m0", "--remove", "m3")
    assert (found["titles"], found["scenes"]) == (3, 15)
    hits = told(run, "similar", "m1", "--scene", "1", "--index", index, "-k", "50")["results"]
    assert {hit["title"] for hit in hits} == {"m2", "m4"}


def test_a_title_its_file_and_a_copy_of_it(run: Run, folder: Path, index: Path) -> None:
    by_name = told(run, "similar", "m3", "--scene", "2", "--index", index, "-k", "4")
    by_file = told(run, "similar", folder / "movies" / "m3.npz", "--time", "0:15", "--index", index, "-k", "4")
    assert by_name == by_file
    assert by_name["query"] == {
        **{"name": "m3", "scene": 2, "first_shot": 10, "last_shot": 19},
        **{"start_seconds": 10.0, "end_seconds": 20.0},
    }
    assert "m3" not in {hit["title"] for hit in by_name["results"]}
    distances = [hit["distance"] for hit in by_name["results"]]
    assert distances == sorted(distances)
    same = told(run, "similar", "m3", "--scene", "2", "--index", index, "--same-film")["results"]
    assert (same[0]["title"], same[0]["scene"], same[0]["distance"]) == ("m3", 2, 0.0)
    copy = folder / "copy.npz"
    shutil.copy(folder / "movies" / "m3.npz", copy)
    found = told(run, "similar", copy, "--shots", "10:19", "--index", index, "-c", folder / "encoder.safetensors")
    assert found["results"][0] == {**same[0], "distance": found["results"][0]["distance"]}
    assert found["results"][0]["distance"] < 1e-5
    code, out, _ = run("similar", "m3", "--shots", "12:14", "--index", index)
    assert code == 0
    assert "like scene 2 of m3" in out
    assert "0:00:10.0" in out


def test_why_scenes_match(run: Run, folder: Path, index: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    page, picture = folder / "out" / "page.html", folder / "out" / "picture.png"
    found = told(
        run,
        "similar",
        "m3",
        "--scene",
        "2",
        "--index",
        index,
        "-k",
        "3",
        "--explain",
        "--report",
        page,
        "--plot",
        picture,
    )
    for hit in found["results"]:
        match = hit["match"]
        assert np.array(match["similarities"]).shape == (9, 9)
        assert 10 <= match["query_first_shot"] <= 11
        assert hit["first_shot"] <= match["result_first_shot"] <= hit["last_shot"] - 8
        assert match["modalities"] == ["video", "audio"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert page.read_text().count("<rect") == 3 * 81 + 24
    (folder / "movies" / f"{found['results'][0]['title']}.npz").unlink()
    code, out, err = run("similar", "m3", "--scene", "2", "--index", index, "-k", "3", "--explain", "--json")
    assert code == 0
    assert "nothing to show of it" in " ".join(err.split())
    assert "match" not in json.loads(out)["results"][0]


def test_what_is_refused(run: Run, folder: Path, index: Path) -> None:
    own = ("--index", index)
    refused(run, "--scene, --shots, --time: expected one of scene, shots and time, got none", "similar", "m1", *own)
    refused(run, "--scene: expected from 1 to 4, got 5", "similar", "m1", "--scene", "5", *own)
    refused(run, "--shots: expected from 0 to 36, got 90 to 99", "similar", "m1", "--shots", "90:99", *own)
    refused(run, "--time: expected before 37 s, got 60 s", "similar", "m1", "--time", "1:00", *own)
    some = "FILM: expected one of the 5 titles of the index (m0, m1, m2, m3, m4 ...)"
    refused(run, some, "similar", "m7", "--scene", "1", *own)
    refused(run, "none.npz: expected a feature file", "similar", "none.npz", "--scene", "1", *own)
    refused(run, "expected an index of scenes, got no such file", "similar", "m1", "--scene", "1", "--index", "nowhere")
    refused(
        run, "--report: expected a file ending in .html", "similar", "m1", "--scene", "1", *own, "--report", "a.pdf"
    )
    other = folder / "other.safetensors"
    save_checkpoint(other, random_checkpoint(scene_encoder(), seed=1))
    refused(run, "expected the encoder of the index", "similar", "m1", "--scene", "1", *own, "-c", other)
    refused(run, "expected the encoder of the index", "index", folder / "movies", "-o", index, "-c", other)
    refused(run, "--checkpoint: expected an encoder of shots for a new index", "index", folder / "movies", "-o", "new")
    refused(run, "--output: expected the folder of the index, got none", "index", folder / "movies", "-c", other)
    refused(run, "--remove, --list: expected the folder of one index", "index", index, "--list", "-o", index)
    save_checkpoint(folder / "scene.safetensors", random_checkpoint(small_config()))
    wrong = ("-c", folder / "scene.safetensors", "-o", folder / "new")
    refused(run, "expected an encoder of shots", "index", folder / "movies", *wrong)
    assert not (folder / "new").exists()


def test_a_damaged_index_is_mended_by_indexing_again(run: Run, folder: Path, index: Path) -> None:
    vectors = next((index / "segments").glob("*.vectors.npy"))
    vectors.write_bytes(vectors.read_bytes()[:-8])
    refused(run, "index its titles again", "similar", "m1", "--scene", "1", "--index", index)
    assert len(told(run, "index", folder / "movies", "-o", index)["replaced"]) == 5
    assert told(run, "similar", "m1", "--scene", "1", "--index", index)["results"]


HOSTILE = "<img src=x onerror=alert(1)> [b] & $facts"


def test_a_catalogue_that_moved_is_found_where_it_is_now(run: Run, folder: Path, index: Path) -> None:
    (folder / "movies").rename(folder / "moved")
    assert len(told(run, "index", folder / "moved", "-o", index)["unchanged"]) == 5
    listed = told(run, "index", index, "--list")["titles"]
    assert [Path(title["source"]).parent.name for title in listed] == ["moved"] * 5
    assert "match" in told(run, "similar", "m3", "--scene", "2", "--index", index, "--explain")["results"][0]


def test_an_encoder_that_moved_is_asked_for_and_then_known(run: Run, folder: Path, index: Path) -> None:
    (folder / "encoder.safetensors").rename(folder / "moved.safetensors")
    query = ("similar", "m3", "--scene", "2", "--index", index, "--explain")
    refused(run, "whose new place --checkpoint tells", *query)
    refused(run, "--checkpoint: expected the encoder of the index", "index", folder / "movies", "-o", index)
    assert run("index", folder / "movies", "-o", index, "-c", folder / "moved.safetensors")[0] == 0
    assert run(*query)[0] == 0


def test_an_index_without_other_films_says_so(run: Run, folder: Path) -> None:
    own = ("-c", folder / "encoder.safetensors", "-o", folder / "one")
    assert run("index", folder / "movies" / "m1.npz", *own)[0] == 0
    code, _, err = run("similar", "m1", "--scene", "1", "--index", folder / "one")
    assert (code, "no scenes of other films than m1; --same-film" in " ".join(err.split())) == (0, True)


def test_another_file_of_the_same_title_is_told(run: Run, folder: Path, index: Path) -> None:
    (folder / "other").mkdir()
    np.savez(folder / "other" / "m1.npz", **movie(52, 9))
    code, _, err = run("index", folder / "other", "-o", index)
    assert code == 0
    assert "1 titles had another file before: m1 was" in " ".join(err.split())


def test_outputs_that_cannot_be_written_are_refused_before_films_are_read(
    run: Run, folder: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megaseg.cli.similar.Explainer", lambda *arguments: pytest.fail("films were read"))
    (folder / "file").write_text("")
    (folder / "folder.html").mkdir()
    for name in ("file/page.html", "folder.html"):
        code, _, err = run("similar", "m3", "--scene", "2", "--index", index, "--report", folder / name)
        assert (code, "--report: expected a file" in err) == (2, True)
    refused(run, "--output: expected a folder", "index", folder / "movies", "-o", folder / "file")


def test_titles_without_a_result_fail_where_results_are_asked_for(run: Run, folder: Path, index: Path) -> None:
    (folder / "results").mkdir()
    code, out, _ = run("index", folder / "movies", "-o", index, "--scenes", folder / "results", "--json")
    assert code == 2
    assert len(json.loads(out)["failed"]) == 5


def test_names_are_no_markup(run: Run, folder: Path) -> None:
    own = folder / "hostile"
    own.mkdir()
    np.savez(own / f"{HOSTILE}.npz", **movie(20, 1))
    np.savez(own / "plain.npz", **movie(20, 2))
    assert run("index", own, "-c", folder / "encoder.safetensors", "-o", folder / "index")[0] == 0
    for name, other in (("plain", HOSTILE), (HOSTILE, "plain")):
        page = folder / "page.html"
        code, out, _ = run("similar", name, "--scene", "1", "--index", folder / "index", "--report", page)
        assert code == 0
        assert "[b]" in "".join(out.split())
        text = page.read_text()
        assert "<img" not in text
        assert "&lt;img src=x onerror=alert(1)&gt; [b] &amp; $facts" in text
        assert other.split()[0].replace("<", "&lt;") in text


def test_films_with_their_pictures(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra video")
    from megaseg.engine.inputs.modality import Modality
    from megaseg.features import VideoExtractor
    from megaseg.media.video import Video

    (tmp_path / "films").mkdir()
    for number in range(2):
        write_film(tmp_path / "films" / f"film{number}.mp4", shots(96 + 24 * number))
    film = tmp_path / "films" / "film1.mp4"
    raw = VideoExtractor().read(Video("film1", film)).raw
    modalities = tuple(Modality(name, rows.shape[1]) for name, rows in raw.modalities.items() if name != "dialogue")
    config = scene_encoder()
    config = type(config)(
        task="embedding", modalities=modalities, hidden_size=24, ffn_size=20, num_heads=3, recipe="video-raw/1"
    )
    save_checkpoint(tmp_path / "encoder.safetensors", random_checkpoint(config))
    index = tmp_path / "index"
    assert run("index", tmp_path / "films", "-c", tmp_path / "encoder.safetensors", "-o", index)[0] == 0
    assert {entry.found for entry in SceneIndex.open(index).manifest.titles.values()} == {"video-scenes"}
    os.rename(film, tmp_path / "moved.mp4")
    page = tmp_path / "page.html"
    code, _, err = run("similar", tmp_path / "moved.mp4", "--time", "1.2", "--index", index, "--report", page)
    assert code == 0, err
    text = page.read_text()
    assert text.count('<img alt="" src="data:image/webp;base64,') >= 2
    assert text.count('<image x="') >= 2
    assert "nothing to show of it" in err, "the film that was moved"
