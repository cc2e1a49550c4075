"""The OpenAPI document against the service: schemathesis sends what it allows and what it does not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from megaseg.engine.engine import Engine
from megaseg.engine.live.scheduler import Scheduler
from megaseg.serving.inference import Inference
from megaseg.serving.models import Models
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
def test_the_service_does_as_its_document_says(document: Any, method: str, path: str, mode: GenerationMode) -> None:
    # No schema says which tensors a model takes, or what is in a feature file.
    untold = path.endswith(("/infer", "/segment"))

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
