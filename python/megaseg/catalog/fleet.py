"""Workers on a Ray cluster. The driver alone counts and writes, so that a title whose worker dies is done once."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from megaseg.catalog.workers import Batch, Outcome, hand_of, outcomes_of
from megaseg.errors import ResourceLimitError, UnsupportedError

QUEUED = 2  # batches that a worker has at hand, so that it never waits for the driver
DEATHS = 3  # workers that die while they run one title, before the title is taken for the cause
_PATIENCE = 30  # seconds without a single worker, before a warning

_log = logging.getLogger(__name__)


class _Actor:
    """The actor of a worker. A call, not the constructor, loads the models, so that errors keep their types."""

    def start(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        self._hand = hand_of(options)
        return self._hand.describe()

    def run(self, batch: Batch) -> list[Outcome]:
        return outcomes_of(self._hand, batch)


@dataclass(eq=False)
class _Worker:
    actor: Any
    ready: bool = False
    alone: bool = False  # runs one suspect title, and no other that could be taken for the cause
    jobs: dict[Any, Batch] = field(default_factory=dict)  # by the reference of their results; the first one runs


class Fleet:
    """Workers of a Ray cluster, any of which may die; a context that ends them.

    A worker whose process or node is gone is replaced, and the titles that it had not delivered run again. Titles that
    may have run as it died run alone from then on; a title that has seen ``DEATHS`` workers die is a failure.
    """

    def __init__(
        self, address: str, options: Mapping[str, Any], *, workers: int = 0, cpus: int = 1, gpus: int = 0
    ) -> None:
        """Connect, and start one worker, which settles ``auto`` for all and compiles the checkpoint on its node.

        Args:
            address: ``local`` starts a cluster on this machine; ``auto``, ``host:port`` and ``ray://host:port`` join
                one that runs.
            options: of ``hand_of``.
            workers: how many; 0 is as many as the cluster has room for.
            cpus: of each worker, which runs as many threads; gpus: of each worker.

        Raises:
            UnsupportedError: no Ray, or no cluster at the address.
            MegasegError: as ``hand_of``, in a worker.
            ResourceLimitError: worker after worker dies as it starts.
        """
        self._ray, self._owned = _connected(address)
        self._options = dict(options)
        self._actor = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(_Actor)
        self._workers: list[_Worker] = []
        self._requeued: deque[Batch] = deque()
        self._suspects: deque[Batch] = deque()
        self._deaths: Counter[str] = Counter()
        self._failed_starts = 0
        self.descriptions: list[dict[str, Any]] = []
        try:
            self._size = workers or _room(self._ray.cluster_resources(), cpus, gpus)
            self._start_worker()
            while not self.descriptions:
                list(self._collect())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and the cluster if it was started here."""
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers.clear()
        if self._owned:
            self._ray.shutdown()

    def run(self, batches: Iterator[Batch]) -> Iterator[Outcome]:
        """One outcome a title, in the order in which they come.

        Raises:
            MegasegError: a later worker that cannot load the checkpoint, as when made.
        """
        while len(self._workers) < self._size:
            self._start_worker()
        while self._fill(batches):
            yield from self._collect()

    def _start_worker(self) -> None:
        worker = _Worker(self._actor.remote())
        worker.jobs[worker.actor.start.remote(self._options)] = ()
        self._workers.append(worker)

    def _fill(self, batches: Iterator[Batch]) -> bool:
        """Give ready workers their next batches. Returns whether any outcome is still to come."""
        for depth in range(1, QUEUED + 1):  # one for each before a second for any
            for worker in self._workers:
                if worker.ready and len(worker.jobs) < depth and not worker.alone:
                    worker.alone = bool(self._suspects) and not worker.jobs
                    batch = self._suspects.popleft() if worker.alone else self._next_batch(batches)
                    if batch is not None:
                        worker.jobs[worker.actor.run.remote(batch)] = batch
        under_way = any(batch for worker in self._workers for batch in worker.jobs.values())
        return under_way or not any(worker.ready for worker in self._workers)

    def _next_batch(self, batches: Iterator[Batch]) -> Batch | None:
        return self._requeued.popleft() if self._requeued else next(batches, None)

    def _collect(self) -> Iterator[Outcome]:
        """Wait for one call to end, and yield the outcomes that it brought."""
        owners = {call: worker for worker in self._workers for call in worker.jobs}
        ended, _ = self._ray.wait(list(owners), timeout=None if self.descriptions else _PATIENCE)
        if not ended:
            _log.warning("no worker has started yet: the cluster is growing, or has no node with that many CPUs")
            return
        worker = owners[ended[0]]
        errors = self._ray.exceptions
        try:
            value = self._ray.get(ended[0])
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            yield from self._replace(worker, error)
            return
        del worker.jobs[ended[0]]
        worker.alone = False
        if worker.ready:
            yield from value
        else:
            worker.ready, self._failed_starts = True, 0
            self._settle(value)

    def _settle(self, descriptions: list[dict[str, Any]]) -> None:
        """What ``auto`` stands for on the first worker's node holds for all, or results would differ by node."""
        if not self.descriptions:
            self.descriptions = descriptions
            kinds = {description["compute_type"] for description in descriptions}
            if len(kinds) == 1:
                self._options["compute_type"] = kinds.pop()

    def _replace(self, worker: _Worker, error: Exception) -> Iterator[Outcome]:
        """Replace a dead worker: delivered outcomes count, the batch that ran is suspect, queued ones are not."""
        self._ray.kill(worker.actor)
        self._workers.remove(worker)
        titles = sum(map(len, worker.jobs.values()))
        _log.warning("a worker died and is replaced; what it held of %d titles runs again", titles)
        self._failed_starts += not worker.ready
        if self._failed_starts == DEATHS:
            raise ResourceLimitError(f"workers: expected them to start, {DEATHS} in a row died of: {error}")
        ran = True
        for call, batch in worker.jobs.items():
            try:
                yield from self._ray.get(call)
            except self._ray.exceptions.RayError:
                if ran:
                    yield from self._suspect(batch)
                else:
                    self._requeued.append(batch)
                ran = False
        self._start_worker()

    def _suspect(self, batch: Batch) -> Iterator[Outcome]:
        for title, path in batch:
            self._deaths[title] += 1
            if self._deaths[title] < DEATHS:
                self._suspects.append([(title, path)])
            else:
                reason = f"{DEATHS} workers died as they ran it: a crash, or out of memory"
                yield Outcome(title, path, None, reason)


def _connected(address: str) -> tuple[Any, bool]:
    """The module ``ray``, connected, and whether this made the connection."""
    try:
        import ray
    except ImportError as error:
        raise UnsupportedError(
            f"a Ray cluster needs the extra fleet: pip install 'megaseg[fleet]' ({error})"
        ) from error
    if ray.is_initialized():
        return ray, False
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "object_store_memory": 128 << 20}
    try:
        ray.init(address, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UnsupportedError(f"{address}: expected auto, local or a running cluster, got: {error}") from error
    return ray, True


def _room(resources: Mapping[str, float], cpus: int, gpus: int) -> int:
    """How many workers a cluster has room for, at least one."""
    rooms = [resources.get(kind, 0) // each for kind, each in (("CPU", cpus), ("GPU", gpus)) if each]
    return max(1, int(min(rooms)))
