"""The folder of results after kills, other settings and other writers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from megaseg.catalog.results import Results
from megaseg.errors import FeatureError, OverloadedError

SETTINGS = {"checkpoints": ["1f"], "threshold": None}


def test_results_and_failures_come_back(tmp_path: Path) -> None:
    with Results.opened(tmp_path / "out", SETTINGS) as results:
        results.keep("series/1", '{"a": 1}')
        results.keep("b", "{}")
        results.fail("c", "c.npz", 'torn\n"file"')
        results.fail("d", "d.npz", "first")
        results.fail("d", "d.npz", "second")
    assert (tmp_path / "out/series/1.json").read_text() == '{"a": 1}\n'
    lines = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert lines == [
        {"title": "c", "path": "c.npz", "reason": 'torn\n"file"'},
        {"title": "d", "path": "d.npz", "reason": "second"},
    ]
    with Results.opened(tmp_path / "out", SETTINGS) as again:
        assert again.done == {"series/1", "b"}
        assert set(again.failures) == {"c", "d"}
        again.keep("c", "{}")
    with Results.opened(tmp_path / "out", SETTINGS) as last:
        assert last.done == {"series/1", "b", "c"}
        assert set(last.failures) == {"d"}


@pytest.mark.parametrize("half", [b'{"title": "e", "pa', b'{"title": "e"}', b"\xff\n", b"3\n", b"\n"])
def test_half_a_line_breaks_no_later_run(tmp_path: Path, half: bytes) -> None:
    with Results.opened(tmp_path, SETTINGS) as results:
        results.fail("c", "c.npz", "torn")
    with results.manifest.open("ab") as file:
        file.write(half)
    with Results.opened(tmp_path, SETTINGS) as again:
        assert set(again.failures) == {"c"}
        again.fail("d", "d.npz", "torn")
        assert [json.loads(line)["title"] for line in again.manifest.read_bytes().splitlines()] == ["c", "d"]


def test_what_a_killed_writer_left_is_no_result(tmp_path: Path) -> None:
    with Results.opened(tmp_path, SETTINGS) as results:
        results.keep("s/a", "{}")
    left = tmp_path / "s" / ".b.json.abcd1234.json"  # as atomic_write names it
    left.write_text('{"half')
    with Results.opened(tmp_path, SETTINGS) as again:
        assert again.done == {"s/a"}
        assert not left.exists()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    with Results.opened(tmp_path, SETTINGS) as results:
        results.keep("a", "{}")
    other = {**SETTINGS, "threshold": 0.25}
    with (
        pytest.raises(FeatureError, match="threshold null, now 0.25. Give these again"),
        Results.opened(tmp_path, other),
    ):
        pass
    (tmp_path / "catalog.json").write_text("{")
    with pytest.raises(FeatureError, match="catalog.json: expected the settings"), Results.opened(tmp_path, SETTINGS):
        pass


def test_a_folder_of_other_json_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "movie.json").write_text("{}")
    with pytest.raises(FeatureError, match="expected a new folder"), Results.opened(tmp_path, SETTINGS):
        pass
    assert not (tmp_path / "catalog.json").exists()


def test_one_run_writes_at_a_time(tmp_path: Path) -> None:
    with (
        Results.opened(tmp_path, SETTINGS),
        pytest.raises(OverloadedError, match="another megaseg catalog"),
        Results.opened(tmp_path, SETTINGS),
    ):
        pass
    with Results.opened(tmp_path, SETTINGS):
        pass
