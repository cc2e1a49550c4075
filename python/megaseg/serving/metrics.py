"""Metrics and logs of a service: one registry, and one log line a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from megaseg.serving.logs import log
from megaseg.serving.statistics import Statistics
from megaseg.serving.status import INTERNAL, OK, status_of

if TYPE_CHECKING:
    from megaseg.engine.live.scheduler import BatchReport
    from megaseg.search.manifest import Manifest
    from megaseg.serving.models import Models

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WINDOWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Prometheus metrics of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.statistics = Statistics()
        self._requests = Counter(
            "megaseg_requests",
            "Requests answered, by outcome.",
            ("model", "protocol", "outcome"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "megaseg_request_seconds",
            "Seconds from a request's arrival to its answer.",
            ("model", "protocol"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._windows = Histogram(
            "megaseg_batch_windows",
            "Windows (shots) of each batch that ran.",
            ("model",),
            buckets=_WINDOWS,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "megaseg_batch_seconds",
            "Seconds of each batch that ran.",
            ("model",),
            buckets=_SECONDS,
            registry=self._registry,
        )

        self._search_seconds = Histogram(
            "megaseg_search_seconds",
            "Seconds of each search of the index, without what makes its vector.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def searched(self, seconds: float) -> None:
        """Count a search of the index."""
        self._search_seconds.observe(seconds)

    def watch_index(self, manifest: Callable[[], Manifest]) -> None:
        """Read the index's size when the metrics are read."""
        self._registry.register(_IndexGauges(manifest))

    def batches(self, model: str) -> Callable[[BatchReport], None]:
        """A callback for a model's scheduler, called after each batch from the scheduler's thread."""
        windows, seconds = self._windows.labels(model), self._batch_seconds.labels(model)

        def report(batch: BatchReport) -> None:
            windows.observe(batch.windows)
            seconds.observe(batch.seconds)
            self.statistics.ran(model, batch.seconds)

        return report

    def watch(self, models: Models, streams: Callable[[], int]) -> None:
        """Read queues, loaded models and open streams when the metrics are read."""
        self._registry.register(_Gauges(models, streams))

    @contextmanager
    def request(self, protocol: str, model: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Count, time and log the work inside as one request; ``model`` is a known name or empty.

        Fields added to the dictionary that it yields are logged too.
        """
        begin = time.perf_counter()
        failure: BaseException | None = None
        try:
            yield fields
        except BaseException as error:
            failure = error
            raise
        finally:
            self._finish(protocol, model, time.perf_counter() - begin, failure, fields)

    @contextmanager
    def failing(self, protocol: str, model: str) -> Iterator[None]:
        """Count, time and log a request only where it fails: while it is read or its answer written."""
        begin = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self._finish(protocol, model, time.perf_counter() - begin, error, {})
            raise

    def _finish(
        self, protocol: str, model: str, seconds: float, error: BaseException | None, fields: dict[str, Any]
    ) -> None:
        status = OK if error is None else status_of(error)
        self._requests.labels(model, protocol, status.outcome).inc()
        self._seconds.labels(model, protocol).observe(seconds)
        for name in model.split("+") if model else ():
            self.statistics.answered(name, seconds, ok=error is None)
        level = logging.ERROR if status is INTERNAL else logging.INFO
        told = {"error": str(error)} if error is not None and str(error) else {}
        exception = error if status is INTERNAL else None
        fields = {"protocol": protocol, "model": model, "outcome": status.outcome, **fields, **told}
        log("request", level, exception=exception, **fields, seconds=round(seconds, 6))

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _IndexGauges(Collector):
    def __init__(self, manifest: Callable[[], Manifest]) -> None:
        self._manifest = manifest

    def collect(self) -> Iterator[GaugeMetricFamily]:
        manifest = self._manifest()
        yield GaugeMetricFamily("megaseg_index_titles", "Titles of the index.", value=len(manifest.titles))
        yield GaugeMetricFamily("megaseg_index_scenes", "Scenes of the index.", value=manifest.num_scenes)


class _Gauges(Collector):
    def __init__(self, models: Models, streams: Callable[[], int]) -> None:
        self._models, self._streams = models, streams

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        loaded = self._models.loaded()
        queue = GaugeMetricFamily("megaseg_queue", "Requests and pushes accepted and not finished.", labels=("model",))
        for model in loaded:
            queue.add_metric([model.name], model.scheduler.stats().queued)
        yield queue
        yield from _checked({model.name: model.engine.describe().get("checked", []) for model in loaded})
        yield GaugeMetricFamily("megaseg_models_ready", "Models that take requests.", value=len(loaded))
        yield GaugeMetricFamily("megaseg_streams_open", "Sequences between their start and end.", value=self._streams())


def _checked(models: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[CounterMetricFamily]:
    """What models in checked int8 found, by the type that was checked."""
    for name, told in (
        ("rows", "Rows computed in this type and checked."),
        ("again", "Rows that ran again in a more exact type."),
        ("doubt", "Movies that went on in float32 after an error near the margin."),
    ):
        family = CounterMetricFamily(f"megaseg_checked_{name}", told, labels=("model", "compute_type"))
        for model, steps in models.items():
            for step in steps:
                family.add_metric([model, step["compute_type"]], step[name])
        yield family
