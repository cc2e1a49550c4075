"""POST /v1/segment with a film's path: below the media root, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from films import shots, write_film

import megaseg
from megaseg.errors import FeatureError, OverloadedError, ResourceLimitError
from megaseg.serving.errors import RequestError
from megaseg.serving.extraction import Extraction
from megaseg.serving.http_source import read_source
from megaseg.serving.settings import Settings

pytest.importorskip("av", reason="needs the extra video")
httpx = pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A media root with a film, and things that are none; a film outside."""
    folder = tmp_path_factory.mktemp("service")
    root = folder / "media"
    (root / "series").mkdir(parents=True)
    write_film(root / "series" / "film.mp4", shots(48))
    (folder / "outside.mp4").write_bytes((root / "series" / "film.mp4").read_bytes())
    (root / "link.mp4").symlink_to(folder / "outside.mp4")
    (root / "notes.txt").write_text("not a film")
    (root / "broken.mp4").write_bytes(b"no film")
    os.mkfifo(root / "pipe.mp4")
    return root


def named(path: Any) -> dict[str, Any]:
    return {"content": json.dumps({"path": path}), "headers": {"Content-Type": "application/json"}}


def test_a_film_below_the_root_gives_its_scenes(start: Any, root: Path) -> None:
    service = start(checkpoints={"scenes": "video-scenes"}, media_root=root)
    answer = service.http.post("/v1/segment", **named("series/film.mp4"))
    assert answer.status_code == 200, answer.text
    expected = megaseg.segment(root / "series" / "film.mp4", ["video-scenes"])
    assert answer.json() == expected.to_dict()
    broken = service.http.post("/v1/segment", **named("broken.mp4"))
    assert broken.status_code == 400
    assert broken.json()["error"].startswith("broken.mp4: expected a video file")


@pytest.mark.parametrize(
    "path",
    [
        *("../outside.mp4", "series/../../outside.mp4", "link.mp4", "notes.txt", "none.mp4", "series", "", "pipe.mp4"),
        *("/etc/passwd", "http://example.org/film.mp4", "file:series/film.mp4", "a\0b.mp4", "x" * 5000, 3, None, ["a"]),
    ],
)
def test_nothing_else_is_read(root: Path, path: Any) -> None:
    with pytest.raises(RequestError, match="a film below the media root, got none"):
        read_source(json.dumps({"path": path}).encode(), "application/json", 1 << 20, root)


def test_no_detour_outside_is_taken(root: Path) -> None:
    for path in (root / "series" / "film.mp4", "series/../series/film.mp4", f"../{root.name}/series/film.mp4"):
        with pytest.raises(RequestError, match="a film below the media root, got none"):
            read_source(json.dumps({"path": str(path)}).encode(), "application/json", 1 << 20, root)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"{}", b'{"path": "series/film.mp4", "x": 1}', b"[" * 9999])
def test_a_body_that_names_no_film_is_refused(root: Path, body: bytes) -> None:
    with pytest.raises(RequestError, match="a film below the media root, got none"):
        read_source(body, "application/json", 1 << 20, root)


def test_a_body_too_long_for_a_path_is_not_parsed(root: Path) -> None:
    with pytest.raises(ResourceLimitError, match="in up to 65536 bytes, got 80013"):
        read_source(b'{"path": [' + b"[]," * 26_667 + b"1]", "application/json", 1 << 20, root)


def test_a_film_in_work_holds_no_room_of_bodies(start: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, go = threading.Event(), threading.Event()

    def features(self: Any, model: int) -> Any:
        busy.set()
        go.wait(60)
        raise FeatureError("enough")

    monkeypatch.setattr("megaseg.pipelines.pipeline.Passage.features", features)
    monkeypatch.setattr("megaseg.serving.http_body._BODIES", 1)
    service = start(checkpoints={"scenes": "video-scenes"}, media_root=root)
    body = named("series/film.mp4")
    body["content"] = iter([body["content"].encode()])  # in chunks: of no declared length
    with ThreadPoolExecutor(1) as caller:
        film = caller.submit(httpx.post, f"http://{service.url}/v1/segment", **body, timeout=60)
        assert busy.wait(60)
        other = service.http.post("/v1/segment", content=b"no features")
        go.set()
        assert (other.status_code, film.result().json()["error"]) == (400, "enough")


def test_a_crowd_of_films_refuses_films_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.serving.extraction.MOST", 1)
    go = threading.Event()

    async def crowd() -> Any:
        extraction = Extraction()
        first = asyncio.ensure_future(extraction.run(lambda _: go.wait(60), 0, timeout=None, film=True))  # type: ignore
        await asyncio.sleep(0)
        try:
            with pytest.raises(OverloadedError, match="films: expected up to 1 at a time"):
                await extraction.run(lambda _: "a film", 0, timeout=None, film=True)  # type: ignore
            return await extraction.run(lambda _: "a screenplay", 0, timeout=None)  # type: ignore
        finally:
            go.set()
            await first
            extraction.close()

    assert asyncio.run(crowd()) == "a screenplay"


def test_without_a_root_no_film_is_read() -> None:
    with pytest.raises(RequestError, match="expected a service with a media root"):
        read_source(b'{"path": "series/film.mp4"}', "application/json", 1 << 20)
    with pytest.raises(megaseg.MegasegError, match="media_root: expected a folder"):
        Settings({"scenes": "video-scenes"}, media_root=Path("/none"))
