"""The feature folder: one file a movie, redone only when its script or the extraction changed, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from screenplays import ZeroExtractor

from megaseg import load_features
from megaseg.errors import UnsupportedError
from megaseg.features import Screenplay, ScreenplayExtractor, build_features

SCRIPT = "INT. A - DAY\n\nHe waits.\n\nBEN\nHello.\n\nEXT. B - DAY\n\nRain falls.\n\nBEN\nBye.\n"


class CountingExtractor(ZeroExtractor):
    """Counts the screenplays that it encodes, and can fail at one of them."""

    def __init__(self, identity: str = "test", fail_at: int | None = None) -> None:
        self.calls, self._identity, self._fail_at = 0, identity, fail_at

    @property
    def identity(self) -> str:  # type: ignore[override]
        return self._identity

    def vectors(self, play: Screenplay, advance: Callable[[int], None] = lambda count: None) -> Any:
        if self.calls == self._fail_at:
            raise KeyboardInterrupt
        self.calls += 1
        return super().vectors(play, advance)


@pytest.fixture
def scripts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"movie {i}.txt" for i in range(3)]
    for path in paths:
        path.write_text(SCRIPT)
    return paths


def test_builds_once_and_again_only_what_changed(tmp_path: Path, scripts: list[Path]) -> None:
    out = tmp_path / "out"
    built = build_features(scripts, out, CountingExtractor())
    assert (built[0].name, built[0].file, built[0].status) == ("movie 0", "movie_0.npz", "written")
    assert (built[0].blocks, built[0].scenes) == (4, 2)
    features = load_features(out / "movie_0.npz")
    assert features.labels is not None
    np.testing.assert_array_equal(features.labels, [0, 1, 0, 1])

    again = CountingExtractor()
    assert {b.status for b in build_features(scripts, out, again)} == {"kept"}
    assert again.calls == 0

    scripts[1].write_text(SCRIPT.replace("Rain", "Snow"))
    changed = CountingExtractor()
    assert [b.status for b in build_features(scripts, out, changed)] == ["kept", "written", "kept"]

    (out / "movie_2.npz").unlink()
    assert [b.status for b in build_features(scripts, out, CountingExtractor())] == ["kept", "kept", "written"]
    assert {b.status for b in build_features(scripts, out, CountingExtractor("other"))} == {"written"}


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, scripts: list[Path]) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_features(scripts, out, CountingExtractor(fail_at=2))
    assert sorted(path.name for path in out.iterdir()) == ["index.json", "movie_0.npz", "movie_1.npz"]
    rest = CountingExtractor()
    assert [b.status for b in build_features(scripts, out, rest)] == ["kept", "kept", "written"]
    assert rest.calls == 1


def test_a_damaged_index_means_a_rebuild(tmp_path: Path, scripts: list[Path]) -> None:
    out = tmp_path / "out"
    build_features(scripts, out, CountingExtractor())
    (out / "index.json").write_text("{")
    assert {b.status for b in build_features(scripts, out, CountingExtractor())} == {"written"}
    assert len(json.loads((out / "index.json").read_text())) == 3


def test_two_movies_of_one_name_are_refused(tmp_path: Path, scripts: list[Path]) -> None:
    (tmp_path / "b").mkdir()
    twin = tmp_path / "b" / scripts[0].name
    twin.write_text(SCRIPT)
    first, second = build_features([scripts[0], twin], tmp_path / "out", CountingExtractor())
    assert (first.status, second.status, second.file) == ("written", "failed", None)
    assert str(second.reason).startswith("movie 0: expected screenplays of different names")


def test_what_cannot_be_read_does_not_stop_the_rest(tmp_path: Path, scripts: list[Path]) -> None:
    scripts[1].write_bytes(b"\0")
    built = build_features([tmp_path / "missing.txt", *scripts], tmp_path / "out", CountingExtractor())
    assert [b.status for b in built] == ["failed", "written", "failed", "written"]
    assert [b.name for b in built] == [str(tmp_path / "missing.txt"), "movie 0", str(scripts[1]), "movie 2"]
    assert all(str(b.reason).startswith(b.name) for b in built if b.status == "failed")


def test_a_pack_row_without_blocks_is_reported_not_written(tmp_path: Path) -> None:
    pack = tmp_path / "pack.jsonl"
    pack.write_text(json.dumps({"name": "Empty", "blocks": []}))
    (built,) = build_features([pack], tmp_path / "out", CountingExtractor())
    assert (built.status, built.file) == ("empty", None)


def test_a_missing_reader_is_named(tmp_path: Path, scripts: list[Path]) -> None:
    with pytest.raises(UnsupportedError, match="nowhere"):
        build_features(scripts, tmp_path / "out", ScreenplayExtractor(reader=tmp_path / "nowhere"))


def test_rows_are_scenes_where_asked_for(tmp_path: Path, scripts: list[Path]) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("He waits.\n\nBEN\nHello.\n")
    out = tmp_path / "out"
    built = build_features([*scripts, plain], out, CountingExtractor(), unit="scene")
    assert [b.status for b in built] == ["written", "written", "written", "no scenes"]
    assert (built[0].blocks, built[0].scenes) == (4, 2)
    assert load_features(out / "movie_0.npz").num_shots == 2
    assert build_features(scripts, out, CountingExtractor())[0].status == "written"  # blocks are other rows


def test_scenes_by_their_dialogue_need_some(tmp_path: Path, scripts: list[Path]) -> None:
    talk = "".join(f"ANNA\nLine number {i} of the talk.\n\n" for i in range(60))
    scripts[0].write_text(f"INT. A - DAY\n\nHe waits.\n\n{talk}EXT. B - DAY\n\nRain falls.\n\n{talk}")
    out = tmp_path / "out"
    built = build_features(scripts[:2], out, CountingExtractor(), unit="talk")
    assert [b.status for b in built] == ["written", "failed"]
    assert built[1].reason == "movie 1: dialogue: expected at least 100 lines to find acts by, got 2"
    features = load_features(out / "movie_0.npz")
    assert (features.recipe, features.num_shots) == ("dialogue-scenes/1", 2)


def test_an_unknown_unit_is_refused(tmp_path: Path, scripts: list[Path]) -> None:
    with pytest.raises(UnsupportedError, match="block, scene, talk"):
        build_features(scripts, tmp_path / "out", CountingExtractor(), unit="page")
