"""Requests that are late, cancelled or too many. The engine waits at a gate, so that no test is timed."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import random_features, small_config

from megaseg.engine.engine import Engine
from megaseg.engine.live.scheduler import Scheduler
from megaseg.errors import CheckpointError, DeadlineExceeded, MegasegError, OverloadedError
from megaseg.serving.errors import ModelNotReady, SequenceError
from megaseg.serving.inference import Inference, Request, Response
from megaseg.serving.models import Models
from megaseg.serving.settings import Limits
from megaseg.serving.status import STATUSES, message_of, status_of

httpx = pytest.importorskip("httpx")
create_app = pytest.importorskip("megaseg.serving.http", reason="needs the extra serve").create_app
Metrics = pytest.importorskip("megaseg.serving.metrics", reason="needs the extra serve").Metrics
MOVIE = random_features(small_config(), 30)


class Gate:
    """A backend whose runs wait until the gate is open."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.open, self.reached = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def run(self, *given: Any) -> Any:
        self.reached.set()
        self.open.wait()
        return self._backend.run(*given)


class Bench:
    """An ``Inference`` without servers."""

    def __init__(self, inference: Inference, gate: Gate) -> None:
        self.inference, self.gate = inference, gate

    async def infer(self, arrays: Mapping[str, np.ndarray] = MOVIE, **parameters: Any) -> Response:
        return await self.inference.infer(Request("scene", arrays, None, parameters, protocol="http"))

    def begin(self, **parameters: Any) -> asyncio.Task[Response]:
        return asyncio.create_task(self.infer(**parameters))

    async def reached(self) -> None:
        """A batch waits at the gate."""
        await asyncio.to_thread(self.gate.reached.wait)
        self.gate.reached.clear()

    def outcomes(self) -> dict[str, int]:
        """Requests by outcome."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.inference.metrics.text().decode())
        samples = (sample for family in families for sample in family.samples)
        return {
            sample.labels["outcome"]: int(sample.value) for sample in samples if sample.name == "megaseg_requests_total"
        }


@contextmanager
def bench(engine: Engine, limits: Limits = Limits(), **options: Any) -> Iterator[Bench]:  # noqa: B008 (frozen)
    gate = Gate(engine.backend)
    gated = Engine(engine.config, gate)
    models = Models({"scene": "a"}, open=lambda _: gated, scheduler=lambda _, own: Scheduler(own, **options))
    models.load("scene")
    try:
        yield Bench(Inference(models, limits=limits, metrics=Metrics()), gate)
    finally:
        gate.open.set()
        models.close()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **MOVIE)
    return buffer.getvalue()


def test_a_full_queue_refuses_at_once(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        first = one.begin()
        await one.reached()
        for _ in range(3):
            with pytest.raises(OverloadedError):
                await one.infer()
        one.gate.open.set()
        np.testing.assert_array_equal((await first).outputs["scores"], engines["scene"].segment(MOVIE).scores)
        assert one.outcomes() == {"refused": 3, "ok": 1}

    with bench(engines["scene"], max_queue=1) as one:
        asyncio.run(scenario(one))


def test_a_full_queue_refuses_a_file_before_it_is_read(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        first = one.begin()
        await one.reached()
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            pytest.fail("the body was read")

        async def send(message: Any) -> None:
            answers.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/segment", "query_string": b"", "headers": []}
        await create_app(one.inference)(scope, receive, send)
        assert answers[0]["status"] == 429
        one.gate.open.set()
        await first

    with bench(engines["scene"], max_queue=1) as one:
        asyncio.run(scenario(one))


def test_a_large_request_cancelled_while_it_is_submitted_does_not_run(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        scheduler = one.inference.models.get("scene").scheduler
        first = one.begin()
        await one.reached()
        large = one.begin(arrays=random_features(small_config(), 9000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # a thread looks at it
        large.cancel()
        await asyncio.get_running_loop().shutdown_default_executor()  # the thread has submitted it
        for _ in range(5):
            await asyncio.sleep(0)
        assert scheduler.stats().accepted == 2
        one.gate.open.set()
        await first
        await one.infer()
        assert (scheduler.stats().completed, scheduler.stats().cancelled) == (2, 1)

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


def test_a_late_request_is_expired_and_others_are_not(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        first = one.begin()
        await one.reached()
        late = one.begin(timeout=1)
        await asyncio.sleep(0)  # it is in line
        one.gate.open.set()
        with pytest.raises(DeadlineExceeded):
            await late
        await first
        assert one.outcomes() == {"expired": 1, "ok": 1}

    with bench(engines["scene"], max_batch_size=30) as one:
        asyncio.run(scenario(one))


def test_a_late_push_keeps_its_shots_and_its_events_come_with_the_next(engines: Any) -> None:
    front, rest = ({name: array[part] for name, array in MOVIE.items()} for part in (slice(0, 9), slice(9, 30)))

    async def scenario(one: Bench) -> None:
        first = one.begin()
        await one.reached()
        late = asyncio.create_task(one.infer(front, sequence_id=1, sequence_start=True, timeout=1))
        await asyncio.sleep(0)
        one.gate.open.set()
        with pytest.raises(DeadlineExceeded):
            await late
        last = await one.infer(rest, sequence_id=1, sequence_end=True)
        np.testing.assert_array_equal(last.outputs["scores"], (await first).outputs["scores"])
        with pytest.raises(SequenceError):
            await one.infer(rest, sequence_id=1)

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


def test_pushes_at_the_same_time_keep_their_order(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        one.gate.open.set()
        large = random_features(small_config(), 9000)  # checked in a thread
        parts = [large, *({name: array[k : k + 1] for name, array in MOVIE.items()} for k in range(30))]
        tasks = [
            asyncio.create_task(one.infer(part, sequence_id="x", sequence_start=k == 0, sequence_end=k == 30))
            for k, part in enumerate(parts)
        ]
        answers = await asyncio.gather(*tasks)
        whole = {name: np.concatenate([part[name] for part in parts]) for name in MOVIE}
        scores = np.concatenate([answer.outputs["scores"] for answer in answers])
        np.testing.assert_array_equal(scores, engines["scene"].segment(whole).scores)

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


def test_a_restart_answers_the_pushes_of_the_sequence_before(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        old = one.begin(sequence_id=1, sequence_start=True)
        await one.reached()
        new = one.begin(sequence_id=1, sequence_start=True, sequence_end=True)
        with pytest.raises(SequenceError, match="started again"):
            await old
        one.gate.open.set()
        np.testing.assert_array_equal((await new).outputs["scores"], engines["scene"].segment(MOVIE).scores)

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


@pytest.mark.parametrize("path", ["/v2/models/scene/infer", "/v1/segment"])
def test_a_client_that_goes_away_cancels_its_request(engines: Any, path: str) -> None:
    tensors = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in MOVIE.items()
    ]
    body = npz() if path == "/v1/segment" else json.dumps({"inputs": tensors}).encode()

    async def scenario(one: Bench) -> None:
        app = create_app(one.inference)
        gone = asyncio.Event()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await gone.wait()
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
        call = asyncio.create_task(app(scope, receive, send))
        await one.reached()
        gone.set()
        await call  # before the gate opens: nothing waits for the engine
        one.gate.open.set()
        await one.infer()
        stats = one.inference.models.get("scene").scheduler.stats()
        assert (stats.cancelled, stats.completed, stats.queued) == (1, 1, 0)
        assert one.outcomes() == {"cancelled": 1, "ok": 1}

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


def test_shutting_down_answers_what_was_accepted_and_refuses_the_rest(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        app = create_app(one.inference)
        first = one.begin()
        await one.reached()
        closing = asyncio.create_task(one.inference.close())
        await asyncio.sleep(0)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            assert (await client.get("/v2/health/live")).status_code == 200
            assert (await client.get("/v2/health/ready")).status_code == 503
            assert (await client.get("/v2/models/scene/ready")).status_code == 503
            assert (await client.post("/v1/segment", content=npz())).status_code == 503
            assert (await client.post("/v2/repository/models/scene/load")).status_code == 503
        assert not closing.done()
        one.gate.open.set()
        await closing
        np.testing.assert_array_equal((await first).outputs["scores"], engines["scene"].segment(MOVIE).scores)

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


def test_a_model_unloaded_under_a_request_is_not_ready(engines: Any) -> None:
    async def scenario(one: Bench) -> None:
        one.gate.open.set()
        large = one.begin(arrays=random_features(small_config(), 9000))  # is checked in a thread
        await asyncio.sleep(0)
        one.inference.models.unload("scene")
        with pytest.raises(ModelNotReady, match="try again"):
            await large

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


def test_a_defect_is_told_to_the_log_and_not_to_the_client(engines: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(one: Bench) -> None:
        one.gate._backend = SimpleNamespace(describe=one.gate._backend.describe)  # whatever runs fails
        one.gate.open.set()
        transport = httpx.ASGITransport(create_app(one.inference))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            answer = await client.post("/v1/segment", content=npz())
        assert answer.status_code == 500
        assert answer.json() == {"error": "internal error; the server's log has it"}
        assert one.outcomes() == {"error": 1}

    logger = logging.getLogger("megaseg.serving")
    logger.addHandler(caplog.handler)
    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))
    logger.removeHandler(caplog.handler)
    record = next(record for record in caplog.records if record.getMessage() == "request")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], AttributeError)


def test_a_model_that_fails_to_load_says_why(engines: Any) -> None:
    broken = False

    def open_engine(source: str) -> Engine:
        if broken:
            raise CheckpointError(f"{source}: truncated")
        return engines["scene"]  # type: ignore[no-any-return]

    models = Models({"scene": "file"}, open=open_engine, scheduler=lambda _, engine: Scheduler(engine))
    models.load("scene")
    broken = True
    with pytest.raises(CheckpointError):
        models.load("scene")
    assert models.index()[0].state == "READY"  # the one before goes on
    assert models.get("scene").scheduler.segment(MOVIE).num_shots == 30
    models.unload("scene")
    models.unload("scene")  # nothing
    with pytest.raises(CheckpointError):
        models.load("scene")
    assert models.index() == (("scene", "1", "UNAVAILABLE", "file: truncated"),)
    assert models.index(ready_only=True) == ()
    with pytest.raises(ModelNotReady, match="truncated"):
        models.get("scene")


def test_a_model_whose_scheduler_fails_is_not_ready_until_it_is_loaded_anew(
    engines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(one: Bench) -> None:
        models = one.inference.models
        one.gate.open.set()
        scheduler = models.get("scene").scheduler
        monkeypatch.setattr(scheduler, "_gather", None)  # a defect
        for _ in range(2):
            with pytest.raises(ModelNotReady, match="its scheduler is closed"):
                await one.infer()
        assert not models.ready("scene")
        await one.inference.load("scene")
        assert models.ready("scene")
        assert len((await one.infer()).outputs["scores"]) == 30
        assert one.outcomes() == {"not_ready": 2, "ok": 1}

    with bench(engines["scene"]) as one:
        asyncio.run(scenario(one))


def test_every_error_has_one_status() -> None:
    for kind, status in STATUSES.items():
        assert status_of(kind("told")) == status
    assert status_of(MegasegError("told")).http == status_of(ZeroDivisionError("secret")).http == 500
    assert message_of(OverloadedError("told")) == "told"
    assert "secret" not in message_of(ZeroDivisionError("secret"))
