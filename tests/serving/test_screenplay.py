"""POST /v1/segment with a screenplay's text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from screenplays import SCRIPT, ZeroExtractor, save_models

from megaseg import Engine
from megaseg.errors import UnsupportedError
from megaseg.features import ScreenplayExtractor, parse_screenplay
from megaseg.pipelines import Pipeline

TEXT = {"Content-Type": "text/plain; charset=utf-8"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return save_models(tmp_path_factory.mktemp("screenplay-models"))


@pytest.fixture(autouse=True)
def _no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vectors", "log_odds"):
        monkeypatch.setattr(ScreenplayExtractor, name, getattr(ZeroExtractor, name))


@pytest.fixture
def service(start: Any, files: dict[str, str]) -> Any:
    return start(checkpoints=files, compute_type="float32")


def expected(files: dict[str, str], *tasks: str, **decision: Any) -> Any:
    engines = [Engine.from_checkpoint(files[task], compute_type="float32") for task in tasks]
    return Pipeline(engines).segment(parse_screenplay(SCRIPT, "body"), **decision).to_dict()


@pytest.mark.parametrize("tasks", [("scene",), ("act",), ("act", "scene")], ids="+".join)
def test_a_screenplay_gives_what_the_pipeline_gives(
    service: Any, files: dict[str, str], tasks: tuple[str, ...]
) -> None:
    query: dict[str, Any] = {"model": tasks, **({"num_scenes": 8} if "scene" in tasks else {})}
    answer = service.http.post("/v1/segment", params=query, content=SCRIPT.encode(), headers=TEXT)
    assert answer.status_code == 200, answer.text
    decision = {name: value for name, value in query.items() if name != "model"}
    assert answer.json() == expected(files, *tasks, **decision)


def test_what_is_no_screenplay_is_refused(service: Any, start: Any, checkpoints: Any) -> None:
    for content, status, message in (
        (b"", 400, "body: expected a screenplay, found no action or dialogue"),
        (b"PK\0\0", 400, "body: expected a text screenplay (Fountain or plain), got binary data"),
        (b"a" * (10_001), 413, "body: expected lines of up to 10000 bytes, got one of 10001"),
        (b"a\n" * (2 << 20) + b"a", 413, "body: expected a screenplay of up to 4194304 bytes, got 4194305"),
    ):
        answer = service.http.post("/v1/segment", params={"model": "scene"}, content=content, headers=TEXT)
        assert (answer.status_code, answer.json()["error"]) == (status, message)
    answer = service.http.post("/v1/segment", params={"model": "scene"}, content=SCRIPT.encode())
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("; a screenplay comes with Content-Type: text/plain")
    other = start()  # models of other features
    answer = other.http.post("/v1/segment", params={"model": "scene"}, content=SCRIPT.encode(), headers=TEXT)
    assert answer.status_code == 400
    assert "features: expected the modalities ['clip', 'audio']" in answer.json()["error"]


def test_more_blocks_than_the_limit_are_refused(start: Any, files: dict[str, str]) -> None:
    from megaseg.serving.settings import Limits

    service = start(checkpoints=files, limits=Limits(max_shots=17))
    answer = service.http.post("/v1/segment", params={"model": "scene"}, content=SCRIPT.encode(), headers=TEXT)
    assert (answer.status_code, answer.json()["error"]) == (413, "shots: expected up to 17 a request, got 18")


def test_a_missing_extra_is_named(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def vectors(*_: Any) -> Any:
        raise UnsupportedError("reading text needs tokenizers: pip install 'megaseg[text]'")

    monkeypatch.setattr(ScreenplayExtractor, "vectors", vectors)
    answer = service.http.post("/v1/segment", params={"model": "scene"}, content=SCRIPT.encode(), headers=TEXT)
    assert answer.status_code == 501
    assert "pip install 'megaseg[text]'" in answer.json()["error"]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Semaphore, threading.Event]]:
    """An encoder that waits: counted as it begins, until the event is set."""
    begun, go = threading.Semaphore(0), threading.Event()
    own = ZeroExtractor.vectors

    def vectors(*given: Any) -> Any:
        begun.release()
        go.wait(30)
        return own(*given)

    monkeypatch.setattr(ScreenplayExtractor, "vectors", vectors)
    yield begun, go
    go.set()


def test_a_slow_encoder_holds_nobody_up(service: Any, held: Any) -> None:
    begun, go = held
    late = httpx.post(
        f"http://{service.url}/v1/segment",
        params={"model": "scene", "timeout": 0.2},
        content=SCRIPT.encode(),
        headers=TEXT,
        timeout=30,
    )
    assert begun.acquire(timeout=30)
    assert (late.status_code, late.json()["error"]) == (504, "request: its source was not read before its deadline")
    assert service.http.get("/v2/health/ready").status_code == 200
    go.set()
    answer = service.http.post("/v1/segment", params={"model": "scene"}, content=SCRIPT.encode(), headers=TEXT)
    assert answer.status_code == 200


def test_a_crowd_of_screenplays_is_refused(service: Any, held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.serving.extraction.MOST", 1)
    begun, go = held
    answers: list[int] = []

    def first() -> None:
        url = f"http://{service.url}/v1/segment"
        answers.append(
            httpx.post(url, params={"model": "scene"}, content=SCRIPT.encode(), headers=TEXT, timeout=30).status_code
        )

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.acquire(timeout=30)
    answer = service.http.post("/v1/segment", params={"model": "scene"}, content=SCRIPT.encode(), headers=TEXT)
    assert (answer.status_code, answer.json()["error"]) == (
        429,
        "sources: expected up to 1 at a time, got one more; try again later",
    )
    go.set()
    thread.join()
    assert answers == [200]


def test_hostile_text_takes_no_longer_than_its_length(tmp_path: Path) -> None:
    for text in ("/*" * 400_000, "[[" * 400_000, "_a " * 200_000, "/*[[" * 200_000):
        parse_screenplay(text, "x")
    (kept,) = parse_screenplay("He [[a\nnote]]waits/* and\n\nanother */.", "x").blocks
    assert kept.text == "He waits."
    (kept,) = parse_screenplay("A /* [[b]] *c*", "x").blocks
    assert kept.text == "A /* c"
