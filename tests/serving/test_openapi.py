"""The OpenAPI document against the service: schemathesis sends what it allows and what it does not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from search.movies import write_movies

from megaseg.engine.engine import Engine
from megaseg.engine.live.scheduler import Scheduler
from megaseg.search.describing import Describer
from megaseg.search.manifest import Manifest
from megaseg.search.writer import IndexWriter
from megaseg.serving.inference import Inference
from megaseg.serving.models import Models
from megaseg.serving.searching import Searching
from megaseg.serving.settings import Limits

http = pytest.importorskip("megaseg.serving.http", reason="needs the extra serve")
Metrics = pytest.importorskip("megaseg.serving.metrics", reason="needs the extra serve").Metrics
schemathesis = pytest.importorskip("schemathesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

TOKEN = "secret"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def models(checkpoints: Any) -> Iterator[Models]:
    known = Models(
        checkpoints,
        open=lambda path: Engine.from_checkpoint(path, num_threads=1),
        scheduler=lambda _, engine: Scheduler(engine),
    )
    yield known
    known.close()


@pytest.fixture(scope="module")
def app(models: Models) -> Any:
    return http.create_app(Inference(models, limits=Limits(), metrics=Metrics()), token=TOKEN)


@pytest.fixture
def document(app: Any, models: Models) -> Any:
    for name in models.names():
        if not models.ready(name):  # another test has unloaded it
            models.load(name)
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a service of an encoder and an index of it."""
    folder = write_movies(tmp_path_factory.mktemp("searched"), 1)
    reader = Describer.from_checkpoint(folder / "encoder.safetensors", num_threads=1)
    with IndexWriter.opened(folder / "index", Manifest(reader.digest, "encoder", 24)) as writer:
        writer.add("m0", reader.describe(folder / "movies" / "m0.npz").kept())
    sources, metrics = {"encoder": str(folder / "encoder.safetensors")}, Metrics()
    known = Models(sources, open=lambda _: reader.engine, scheduler=lambda _, engine: Scheduler(engine))
    known.load("encoder")
    search = Searching(folder / "index", sources, metrics)
    own = http.create_app(Inference(known, limits=Limits(), metrics=metrics, search=search), token=TOKEN)
    yield schemathesis.openapi.from_asgi("/openapi.json", own, headers=HEADERS)
    known.close()


def test_every_route_is_described(app: Any) -> None:
    paths = app.openapi()["paths"]
    for method, path, name in http.ROUTES:
        if name != "openapi":
            operation = paths[path][method.lower()]
            assert {"200", "500"} <= set(operation["responses"])
            assert operation["summary"]
            assert ("security" in operation) == (not path.startswith("/v2/health/")), path


MODES = list(GenerationMode)
CASES = [
    (method, path, mode)
    for method, path, name in http.ROUTES
    for mode in MODES
    if name != "openapi" and not (name in ("live", "ready") and mode is GenerationMode.NEGATIVE)  # they take nothing
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_the_service_does_as_its_document_says(
    request: pytest.FixtureRequest, method: str, path: str, mode: GenerationMode
) -> None:
    document = request.getfixturevalue("searched" if path.endswith("/similar") else "document")
    # No schema says which tensors a model takes, or what is in a feature file.
    untold = path.endswith(("/infer", "/segment", "/similar"))

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        case.call_and_validate(headers=HEADERS, excluded_checks=[positive_data_acceptance] if untold else [])

    check()


@pytest.mark.parametrize("names", [["scene"], ["act"], ["scene", "act"]], ids="+".join)
def test_a_result_is_as_the_document_says(document: Any, movie: Any, names: list[str]) -> None:
    buffer = io.BytesIO()
    times = np.stack([np.arange(30), np.arange(1, 31)], axis=1)
    np.savez(buffer, **movie, times=times, time_base=np.array([1, 24]))
    operation = document["/v1/segment"]["POST"]
    query = {"model": names, **({"min_scene_length": 2} if "scene" in names else {})}
    case = operation.Case(query=query, body=buffer.getvalue(), media_type="application/octet-stream")
    assert case.call_and_validate(headers=HEADERS).status_code == 200


def test_results_of_a_search_are_as_the_document_says(searched: Any) -> None:
    operation = searched["/v1/similar"]["POST"]
    for part in ({"scene": 2}, {"shots": "3:12"}, {"time": "0:03-0:25"}):
        case = operation.Case(query={"title": "m0", "same_film": True, **part})
        answer = case.call_and_validate(headers=HEADERS)
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 3


@pytest.mark.parametrize("parameters", [{}, {"sequence_id": "a", "sequence_start": True, "sequence_end": True}])
def test_inferred_tensors_are_as_the_document_says(document: Any, movie: Any, parameters: dict[str, Any]) -> None:
    tensors = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in movie.items()
    ]
    operation = document["/v2/models/{name}/infer"]["POST"]
    body = {"id": "mine", "inputs": tensors, "parameters": parameters}
    case = operation.Case(path_parameters={"name": "scene"}, body=body, media_type="application/json")
    assert case.call_and_validate(headers=HEADERS).status_code == 200
