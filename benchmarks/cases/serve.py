"""The scheduler and the service under load: the scene preset, with the load generator on the same machine.

Parts: ``movie``, ``streams``, ``streams-int8`` (the scheduler alone), ``requests``, ``load``, ``memory``.
"""

from __future__ import annotations

import tempfile
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.inputs import SCENE, random_checkpoint, random_features
from benchmarks.rows import Row, alternate, row_of
from benchmarks.serving.live import Film, live
from benchmarks.serving.service import Service, client, running
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.engine import Engine
from megaseg.engine.live.scheduler import Scheduler

THREADS = 2
STREAMS = 1000
MORE = (1200, 1400, 1600, 1800, 2000, 2300, 2600)  # until one of them does not hold
BOUND = 250.0  # ms, p99 from push to final event
SHOTS = 64  # of a request
QUEUE = 8  # requests of that size that may wait: 0.8 s of work
LOADS = (0.25, 0.5, 0.75, 0.9, 1, 1.25, 2, 10)  # offered, in capacities
Rows = Iterator[Row]
STREAMED = "live streams, a shot every 3 s, {}"


def run(only: tuple[str, ...] = ()) -> list[Row]:
    parts = {"movie": movie, "streams": streams, "requests": requests, "load": load, "memory": memory}
    with tempfile.TemporaryDirectory() as folder:
        path, narrow = Path(folder) / "scene.mseg", Path(folder) / "scene-int8.mseg"
        kind = compile_checkpoint(random_checkpoint(SCENE), path).compute_type
        compile_checkpoint(random_checkpoint(SCENE), narrow, compute_type="int8")
        found = {name: partial(part, path, kind) for name, part in parts.items()}
        found["streams-int8"] = partial(in_process, narrow, "int8")
        return [row for name in only or found for row in found[name]()]


def movie(path: Path, kind: str) -> Rows:
    """One long movie, by the engine alone and through the scheduler."""
    engine = Engine.from_checkpoint(path, num_threads=THREADS)
    features = random_features(SCENE, 1024)
    with Scheduler(engine) as scheduler:
        subjects = {"engine": partial(engine.segment, features), "scheduler": partial(scheduler.segment, features)}
        alternate(subjects, 1)
        seconds = alternate(subjects, 9)
    bare = float(np.median(seconds["engine"]))
    for name, values in seconds.items():
        slower = {} if name == "engine" else {"slower": float(np.median(values)) / bare - 1, "must": 0.05}
        facts = {"windows_per_s": 1024 / float(np.median(values)), **slower}
        yield row_of(f"one movie of 1,024 shots, {kind}", name, "ms", [1e3 * x for x in values], **facts)


def streams(path: Path, kind: str) -> Rows:
    """Live streams, a shot every 3 s: in this process, and as sequences of the service over gRPC."""
    yield from in_process(path, kind)
    with tempfile.TemporaryDirectory() as folder, running(path, Path(folder), max_queue=1 << 16) as service:
        yield from _levels(STREAMED.format(kind), "service, gRPC", partial(_sequences, service))


def in_process(path: Path, kind: str) -> Rows:
    """Live streams of the scheduler alone."""
    film = Film(random_features(SCENE, 997))
    engine = Engine.from_checkpoint(path, num_threads=THREADS)

    def here(count: int, seconds: float) -> tuple[list[float], dict[str, Any]]:
        with Scheduler(engine, max_queue=1 << 16) as scheduler:
            got = live(scheduler, film, count, seconds)
        return got.latencies, got.facts(seconds)

    yield from _levels(STREAMED.format(kind), "scheduler", here)


def _sequences(service: Service, count: int, seconds: float) -> tuple[list[float], dict[str, Any]]:
    before, start = service.seconds, time.perf_counter()
    got = client("streams", service.grpc_port, count, seconds)
    took = time.perf_counter() - start
    latencies, errors = got.pop("latencies"), got.pop("errors")
    if errors:
        raise RuntimeError(f"service: {errors}")
    facts = {"p99": float(np.percentile(latencies, 99)), "max": max(latencies), **got}
    facts["windows_per_s"] = got["pushes"] / seconds
    return latencies, {**facts, "service_cores": (service.seconds - before) / took, "rss_mib": service.resident}


def _levels(case: str, subject: str, measured: Any) -> Rows:
    """The number of streams that the issue asks for, then more until one level does not hold."""
    held = None
    for count in (STREAMS, *MORE):
        latencies, facts = measured(count, 30 if count == STREAMS else 15)
        holds = facts["p99"] <= BOUND and not facts["lost"] and not facts["reordered"] and not facts.get("wrong")
        held = count if holds else held
        yield row_of(case, f"{subject}, {count:,}", "ms", latencies, **facts, holds=holds, must=BOUND)
        if not holds:
            break
    yield Row(case, subject, "streams", 0, 0, 0, 0, {"largest_that_held": held})


def requests(path: Path, kind: str) -> Rows:
    """Requests of 64 shots as fast as they are answered: the engine in a loop, and four clients of the service."""
    engine = Engine.from_checkpoint(path, num_threads=THREADS)
    features, count = random_features(SCENE, SHOTS), 40
    rates: dict[str, list[float]] = {"engine": [], "service, gRPC, 4 clients": []}
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, running(path, Path(folder)) as service:
        for _ in range(6):
            start = time.perf_counter()
            for _ in range(count):
                engine.segment(features)
            rates["engine"].append(count * SHOTS / (time.perf_counter() - start))
            got = client("closed", service.grpc_port, SHOTS, 4, count)
            assert list(got["ends"]) == ["OK"], got["ends"]
            rates["service, gRPC, 4 clients"].append(count * SHOTS / got["seconds"])
            facts = {"generator_cores": got["generator_cores"], "rss_mib": service.resident}
    rates = {name: values[1:] for name, values in rates.items()}  # the first turn warms up
    bare = float(np.median(rates["engine"]))
    for name, values in rates.items():
        extra = {} if name == "engine" else {"slower": 1 - float(np.median(values)) / bare, "must": 0.2, **facts}
        yield row_of(f"requests of {SHOTS} shots, {kind}", name, "windows/s", values, **extra)


def load(path: Path, kind: str) -> Rows:
    """Requests at several rates, in shares of what the service can do, with a short queue."""
    with tempfile.TemporaryDirectory() as folder, running(path, Path(folder), max_queue=QUEUE) as service:
        capacity = 60 / client("closed", service.grpc_port, SHOTS, 4, 60)["seconds"]
        base = 0.0
        for share in LOADS:
            before, place = _counts(service), service.log.stat().st_size
            got = client("open", service.grpc_port, SHOTS, share * capacity, 12)
            ends = got["ends"]
            accepted, refused = ends.get("OK", []), ends.get("RESOURCE_EXHAUSTED", [])
            counted = {key: value - before.get(key, 0) for key, value in _counts(service).items()}
            p99 = float(np.percentile(accepted, 99))
            base = p99 if share == 1 else base
            facts = {
                "load": share,
                "offered_per_s": got["offered_per_s"],
                "accepted_per_s": len(accepted) / got["seconds"],
                "accepted": len(accepted),
                "refused": len(refused),
                "others": sum(map(len, ends.values())) - len(accepted) - len(refused),
                "counted_by_service": counted == {"ok": len(accepted), "refused": len(refused)},
                "p99": p99,
                **({"p99_to_that_at_capacity": p99 / base, "must": 2} if share > 1 else {}),
                "generator_cores": got["generator_cores"],
                "generator_late_p99": got["generator_late_p99"],
                "rss_mib": service.resident,
            }
            title = f"requests of {SHOTS} shots at a rate, {kind}, queue of {QUEUE}"
            yield row_of(title, f"{share:g} x capacity, accepted", "ms", accepted, **facts)
            if refused:
                own = service.took("refused", place)
                for where, values in (("in the service", own), ("at the client", refused)):
                    late = {"p99": float(np.percentile(values, 99)), "max": max(values), "must": 5}
                    yield row_of(title, f"{share:g} x capacity, refused, {where}", "ms", values, **late)


def _counts(service: Service) -> dict[str, int]:
    """Requests by outcome, as the service's own metrics have them; 0 are left out."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.http_port}/metrics") as response:
        families = text_string_to_metric_families(response.read().decode())
    counts = {"ok": 0, "refused": 0}
    for family in families:
        for sample in family.samples:
            if sample.name == "megaseg_requests_total" and sample.value:
                outcome = sample.labels["outcome"]
                counts[outcome] = counts.get(outcome, 0) + int(sample.value)
    return counts


def memory(path: Path, kind: str) -> Rows:
    """Resident memory of the service after 500 requests, and after 2,000 more."""
    with tempfile.TemporaryDirectory() as folder, running(path, Path(folder)) as service:
        client("closed", service.grpc_port, 8, 4, 500)
        sizes = [service.resident]
        for _ in range(4):
            client("closed", service.grpc_port, 8, 4, 500)
            sizes.append(service.resident)
    facts = {"grown_mib": sizes[-1] - sizes[0], "rss_mib": [round(size, 1) for size in sizes]}
    yield row_of(f"resident memory over 2,000 requests of 8 shots, {kind}", "service, gRPC", "MiB", sizes, **facts)
