"""POST /v1/similar: titles of the index, movies that requests bring, an index that its writer replaces, refusals."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.indexes import title
from search.movies import movie, write_movies
from serving.conftest import Service, running
from shot_encoders import SCENE, contextualizer
from support import random_checkpoint

from megaseg import Engine, save_checkpoint
from megaseg.errors import SearchIndexError
from megaseg.search import SceneIndex
from megaseg.search.describing import Describer
from megaseg.search.manifest import Manifest
from megaseg.search.writer import IndexWriter
from megaseg.serving.settings import Limits, Settings

pytest.importorskip("httpx")


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_movies(tmp_path_factory.mktemp("similar"))
    save_checkpoint(folder / "scenes.safetensors", random_checkpoint(contextualizer(**SCENE)))
    reader = Describer.from_checkpoint(folder / "encoder.safetensors", num_threads=1)
    with IndexWriter.opened(folder / "index", Manifest(reader.digest, "encoder", 24)) as writer:
        for number in range(5):
            path = folder / "movies" / f"m{number}.npz"
            writer.add(path.stem, reader.describe(path).kept(), source=str(path))
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    checkpoints = {name: str(folder / f"{name}.safetensors") for name in ("encoder", "scenes")}
    limits = Limits(max_shots=400)
    options = {"http_port": 0, "grpc_port": 0, "num_threads": 1, "limits": limits}
    with running(Settings(checkpoints, index=folder / "index", **options)) as one:
        yield one


def asked(service: Service, content: bytes = b"", **query: Any) -> Any:
    answer = service.http.post("/v1/similar", params=query, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(index: SceneIndex, name: str, scene: int, count: int, without: str | None) -> list[dict[str, Any]]:
    hits = index.nearest(index.vector(name, scene), count, without=without)
    return [{key: value for key, value in hit.to_dict().items() if key != "source"} for hit in hits]


def test_a_title_of_the_index(service: Service, folder: Path) -> None:
    index = SceneIndex.open(folder / "index")
    found = asked(service, title="m3", scene=2, count=4)
    assert found["query"]["name"] == "m3"
    assert found["results"] == told(index, "m3", 2, 4, "m3")
    assert asked(service, title="m3", time="0:15", count=4) == found
    assert asked(service, title="m3", shots="10:19", count=5, same_film=True)["results"] == told(
        index, "m3", 2, 5, None
    )


def test_a_movie_of_the_request(service: Service, folder: Path) -> None:
    found = asked(service, npz(**movie(51, 3)), scene=2, count=1)["results"][0]
    assert (found["title"], found["scene"]) == ("m3", 2)
    assert found["distance"] < 1e-5
    by_model = asked(service, npz(**movie(51, 3, labels=False)), time="3", model="scenes", count=1)
    scenes = Engine.from_checkpoint(folder / "scenes.safetensors").segment(movie(51, 3)).scenes
    assert by_model["query"]["scene"] == 1 + sum(scene.last_shot < 3 for scene in scenes)
    shots = asked(service, npz(**movie(51, 3)), shots="10:19", count=1)["results"][0]
    assert (shots["title"], shots["scene"]) == ("m3", 2)


def test_metrics(service: Service) -> None:
    before = service.metrics()
    asked(service, title="m1", scene=1)
    after = service.metrics()
    assert after["megaseg_search_seconds_count", ()] == before["megaseg_search_seconds_count", ()] + 1
    assert after["megaseg_index_titles", ()] == 5
    assert after["megaseg_index_scenes", ()] == 24


REFUSALS: list[tuple[dict[str, Any], bytes, int, str]] = [
    ({"title": "m9", "scene": 1}, b"", 400, "title: expected one of the 5 titles of the index"),
    ({"title": "m1", "scene": 9}, b"", 400, "scene: expected from 1 to 4, got 9"),
    ({"title": "m1"}, b"", 400, "part: expected one of scene, shots and time, got none"),
    ({"title": "m1", "time": "noon"}, b"", 400, "time: expected a time such as"),
    ({"title": "m1", "scene": 1}, b"x", 400, "title: expected an empty body with it"),
    ({"scene": 1}, b"", 400, "body: expected the bytes of a .npz"),
    ({"scene": 1, "model": "none"}, npz(**movie(20)), 404, "model: expected one of"),
    ({"scene": 1, "model": "encoder"}, npz(**movie(20)), 400, "model: expected one that finds scenes"),
    ({"scene": 1}, npz(**movie(401)), 413, "shots: expected up to 400"),
    ({"title": "m1", "scene": 1, "count": 0}, b"", 400, "count: "),
    ({"title": "m1", "sceen": 1}, b"", 400, "sceen: expected some of title, scene, shots"),
]


@pytest.mark.parametrize(("query", "content", "status", "message"), REFUSALS, ids=[str(one[0]) for one in REFUSALS])
def test_what_is_refused(service: Service, query: dict[str, Any], content: bytes, status: int, message: str) -> None:
    answer = service.http.post("/v1/similar", params=query, content=content)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]


def test_an_index_that_is_replaced_while_it_is_served(start: Any, folder: Path, tmp_path: Path) -> None:
    wide = title(6, 1)
    with IndexWriter.opened(tmp_path / "index", Manifest("e" * 64, "gone", 12)) as writer:
        writer.add("a", wide)
        writer.add("b", wide)
    service = start(index=tmp_path / "index")
    query = {"title": "a", "scene": 3}
    assert asked(service, **query)["results"][0]["title"] == "b"
    with IndexWriter.opened(tmp_path / "index") as writer:
        writer.remove("b")
        writer.add("c", wide)
    assert asked(service, **query)["results"][0]["title"] == "c"
    answer = service.http.post("/v1/similar", params={"scene": 1}, content=npz(**movie(20)))
    assert answer.status_code == 501, "none of its models is the index's encoder"
    assert "expected a title of the index" in answer.json()["error"]


def test_an_index_that_goes_under_a_service(
    start: Any, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The service answers from what it has opened, and logs why once."""
    shutil.copytree(folder / "index", tmp_path / "index")
    service = start(index=tmp_path / "index")
    before = asked(service, title="m3", scene=2, count=4)
    (tmp_path / "index" / "index.json").write_text("{}")
    assert [asked(service, title="m3", scene=2, count=4) for _ in range(2)] == [before, before]
    shutil.rmtree(tmp_path / "index")
    assert asked(service, title="m3", scene=2, count=4) == before
    told = [line for line in capfd.readouterr().err.splitlines() if "index not opened" in line]
    assert len(told) == 2
    assert "expected the manifest of an index" in told[0]


def test_a_service_without_an_index_and_one_with_a_damaged_one(start: Any, tmp_path: Path) -> None:
    answer = start().http.post("/v1/similar", params={"title": "a", "scene": 1})
    assert answer.status_code == 501
    assert answer.json()["error"] == "similar: expected a service with an index, this one has none"
    with pytest.raises(SearchIndexError, match="expected an index of scenes"):
        start(index=tmp_path)
