"""POST /v1/segment: a feature file in, the result JSON out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from megaseg.engine.results.segmentation import joined

TIMES = {"times": np.stack([np.arange(30), np.arange(1, 31)], axis=1), "time_base": np.array([1, 24])}


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def schema() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    file = Path(__file__).parents[2] / "engine" / "results" / "result.schema.json"
    return jsonschema.Draft202012Validator(json.loads(file.read_text()))


@pytest.mark.parametrize("task", ["scene", "act"])
@pytest.mark.parametrize("save", [lambda arrays: npz(**arrays), safetensors.numpy.save], ids=["npz", "safetensors"])
def test_one_model(service: Any, engines: Any, movie: Any, schema: Any, task: str, save: Any) -> None:
    answer = service.http.post("/v1/segment", params={"model": task}, content=save({**movie, **TIMES}))
    assert answer.status_code == 200, answer.text
    assert answer.json() == engines[task].segment({**movie, **TIMES}).to_dict()
    schema.validate(answer.json())


def test_a_scene_and_an_act_model_give_one_result(service: Any, engines: Any, movie: Any, schema: Any) -> None:
    answer = service.http.post("/v1/segment", params={"model": ["act", "scene"]}, content=npz(**movie, **TIMES))
    parts = [engines[task].segment({**movie, **TIMES}) for task in ("scene", "act")]
    assert answer.json() == joined(parts).to_dict()
    schema.validate(answer.json())


def test_decisions(service: Any, engines: Any, movie: Any) -> None:
    decision = {"threshold": 0.7, "min_scene_length": 3}
    answer = service.http.post(
        "/v1/segment", params={"model": "scene", "timeout": 60, **decision}, content=npz(**movie)
    )
    assert answer.json() == engines["scene"].segment(movie, **decision).to_dict()
    answer = service.http.post("/v1/segment", params={"model": "scene", "num_scenes": 5}, content=npz(**movie))
    assert answer.json() == engines["scene"].segment(movie, num_scenes=5).to_dict()
    answer = service.http.post("/v1/segment", params={"model": "act", "ordered": "false"}, content=npz(**movie))
    assert answer.json() == engines["act"].segment(movie, ordered=False).to_dict()


def test_the_only_model_needs_no_name(start: Any, checkpoints: Any, engines: Any, movie: Any) -> None:
    service = start(checkpoints={"scene": checkpoints["scene"]})
    assert service.http.post("/v1/segment", content=npz(**movie)).json() == engines["scene"].segment(movie).to_dict()


QUERIES: list[tuple[dict[str, Any], int]] = [
    ({}, 400),  # two models are served
    ({"model": "other"}, 404),
    ({"model": ["scene", "scene"]}, 400),
    ({"model": ["scene", "act", "scene"]}, 400),
    ({"model": "scene", "threshold": "nan"}, 400),
    ({"model": "scene", "threshold": 1.5}, 400),
    ({"model": "scene", "num_scenes": 31}, 400),
    ({"model": "scene", "min_scene_length": 0}, 400),
    ({"model": "scene", "treshold": 0.5}, 400),
    ({"model": "scene", "timeout": 0}, 400),
    ({"model": "scene", "timeout": 1e-9}, 504),
]


@pytest.mark.parametrize(("query", "status"), QUERIES, ids=[str(query) for query, _ in QUERIES])
def test_a_bad_query_is_refused(service: Any, movie: Any, query: dict[str, Any], status: int) -> None:
    answer = service.http.post("/v1/segment", params=query, content=npz(**movie))
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}


def test_an_unknown_field_of_a_query_lists_those_that_there_are(service: Any, movie: Any) -> None:
    answer = service.http.post("/v1/segment", params={"treshold": 0.5}, content=npz(**movie))
    assert answer.json()["error"].startswith("treshold: expected some of model, threshold, min_scene_length")


def test_a_bad_file_is_refused(service: Any, movie: Any) -> None:
    nan = {**movie, "clip": np.full_like(movie["clip"], np.nan)}
    for content in (b"", b"no feature file", npz(clip=movie["clip"]), npz(**nan), npz(**movie, labels=np.ones(3))):
        answer = service.http.post("/v1/segment", params={"model": "scene"}, content=content)
        assert answer.status_code == 400, answer.text
