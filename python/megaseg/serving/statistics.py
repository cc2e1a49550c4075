"""What each model has done since the service began: the protocol's statistics, as far as they are measured here."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from megaseg.serving.models import VERSION

_DURATIONS = ("success", "fail", "compute_infer")  # of requests answered, of requests failed, of batches


class Statistics:
    """Counts and cumulative durations by model; safe between threads.

    Requests have a duration from arrival to answer, batches that of the model's run. What the protocol knows besides
    (waiting, reading and writing apart) is not measured, and left out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, dict[str, list[float]]] = {}  # count and seconds
        self._last: dict[str, float] = {}  # seconds since 1970

    def answered(self, model: str, seconds: float, *, ok: bool) -> None:
        """Count a request to a model."""
        self._add(model, "success" if ok else "fail", seconds)
        if ok:
            self._last[model] = time.time()

    def ran(self, model: str, seconds: float) -> None:
        """Count a batch of a model."""
        self._add(model, "compute_infer", seconds)

    def of(self, model: str) -> Mapping[str, Any]:
        """A model's ``ModelStatistics``, in the names of the protocol: milliseconds since 1970, and nanoseconds."""
        with self._lock:
            own = {name: tuple(values) for name, values in self._models.get(model, {}).items()}
        durations = {name: own.get(name, (0, 0.0)) for name in _DURATIONS}
        return {
            "name": model,
            "version": VERSION,
            "last_inference": int(self._last.get(model, 0.0) * 1000),
            "inference_count": int(durations["success"][0]),
            "execution_count": int(durations["compute_infer"][0]),
            "inference_stats": {
                name: {"count": int(count), "ns": int(seconds * 1e9)} for name, (count, seconds) in durations.items()
            },
        }

    def _add(self, model: str, name: str, seconds: float) -> None:
        with self._lock:
            values = self._models.setdefault(model, {}).setdefault(name, [0, 0.0])
            values[0] += 1
            values[1] += seconds
