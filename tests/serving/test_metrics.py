"""Metrics as Prometheus reads them, and logs as one JSON object a line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from support import random_features, small_config

from megaseg import _C
from megaseg.serving import logs

INFER = "/v2/models/scene/infer"


def body(shots: int, **changes: Any) -> dict[str, Any]:
    tensors = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in random_features(small_config(), shots).items()
    ]
    return {"inputs": tensors, **changes}


def test_metrics_count_what_happened(start: Any) -> None:
    service = start()
    for _ in range(3):
        assert service.http.post(INFER, json=body(30)).status_code == 200
    assert service.http.post(INFER, json=body(3, inputs=[])).status_code == 400
    assert service.http.post(INFER, content=b"{").status_code == 400
    assert service.http.post("/v2/models/../../etc/infer", json=body(3)).status_code == 404
    assert service.http.post("/v2/models/other/infer", json=body(3)).status_code == 404
    parameters = {"sequence_id": 1, "sequence_start": True}
    assert service.http.post(INFER, json=body(3, parameters=parameters)).status_code == 200
    for _ in range(1000):  # a batch is counted after its answers are out
        seen = service.metrics()
        if seen["megaseg_batch_windows_count", ("scene",)] == 4:
            break
    assert seen["megaseg_requests_total", ("scene", "ok", "http")] == 4
    assert seen["megaseg_requests_total", ("scene", "bad_request", "http")] == 2
    assert seen["megaseg_requests_total", ("", "not_found", "http")] == 1  # no label of a client's choice
    assert seen["megaseg_request_seconds_count", ("scene", "http")] == 6
    assert seen["megaseg_batch_windows_count", ("scene",)] == 4
    assert seen["megaseg_batch_windows_sum", ("scene",)] == 91
    assert seen["megaseg_queue", ("scene",)] == 0
    assert seen["megaseg_models_ready", ()] == 2
    assert seen["megaseg_streams_open", ()] == 1
    service.http.post("/v2/repository/models/act/unload")
    seen = service.metrics()
    assert seen["megaseg_models_ready", ()] == 1
    assert ("megaseg_queue", ("act",)) not in seen


@pytest.mark.skipif("int8" not in _C.compute_types(_C.target()), reason="no int8 products here")
def test_metrics_count_what_ran_again(start: Any, checkpoints: dict[str, str]) -> None:
    service = start(checkpoints={"scene": checkpoints["scene"]}, compute_type="int8_checked")
    assert service.http.post(INFER, json=body(30)).status_code == 200
    seen = service.metrics()
    assert seen["megaseg_checked_rows_total", ("int8", "scene")] == 30
    assert 1 <= seen["megaseg_checked_again_total", ("int8", "scene")] <= 30  # shot 16 does, whatever its score
    assert seen["megaseg_checked_doubt_total", ("int8", "scene")] == 0


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The service's log, and its logger as it was afterwards."""
    logger = logging.getLogger("megaseg.serving")
    before = logger.handlers, logger.level, logger.propagate
    logs.log_to_stderr()
    stream = io.StringIO()
    logger.handlers[0].setStream(stream)  # type: ignore[attr-defined]
    yield stream
    logger.handlers, logger.level, logger.propagate = before


def test_a_log_line_is_a_json_object(lines: io.StringIO) -> None:
    logs.log("request", model="scene", text="a\nb", seconds=0.25)
    logs.log("defect", logging.ERROR, exception=ValueError("why"), route="infer")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {"level": "info", "event": "request", "model": "scene", "text": "a\nb", "seconds": 0.25}
    assert second["level"] == "error"
    assert "ValueError: why" in second["traceback"]


def test_a_request_leaves_one_line_without_features_or_token(start: Any, lines: io.StringIO) -> None:
    service = start(token="very-secret")
    (handler,) = logging.getLogger("megaseg.serving").handlers  # the service's own by now
    handler.setStream(lines)  # type: ignore[attr-defined]
    answer = service.http.post(INFER, json=body(3, id="mine"), headers={"Authorization": "Bearer very-secret"})
    assert answer.status_code == 200
    (line,) = (json.loads(text) for text in lines.getvalue().splitlines())
    assert line.pop("seconds") > 0
    line.pop("time")
    assert line == {
        "level": "info",
        "event": "request",
        "protocol": "http",
        "model": "scene",
        "outcome": "ok",
        "id": "mine",
        "shots": 3,
    }
    assert "very-secret" not in lines.getvalue()
