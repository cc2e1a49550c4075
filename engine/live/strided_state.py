"""Where a stream of a model of strided windows stands: decisions wait for the windows that may be nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.excerpts import excerpts_of
from megaseg.engine.backends.protocol import Backend
from megaseg.engine.graph.sequences import Strided
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.tokens import SUFFIX
from megaseg.engine.live.feature_buffer import FeatureBuffer
from megaseg.engine.live.state import Event, StreamBatch, StreamState
from megaseg.engine.live.strided_rows import StridedRows
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import UnsupportedError


class StridedState(StreamState):
    """``StreamState`` of a model whose windows overlap: a batch is of windows, and ends with the rows then final."""

    def __init__(self, config: ModelConfig, backend: Backend, **options: Any) -> None:
        """``options`` as of ``StreamState``.

        Raises:
            UnsupportedError: provisional decisions, which would take another window for each shot that comes.
        """
        super().__init__(config, backend, **options)
        if self.provisional:
            raise UnsupportedError(
                f"provisional: expected a model of windows around each shot, got family {config.family}, whose "
                "decisions are final at the latest when its next window is full"
            )
        assert isinstance(config.sequences, Strided)
        self._strided, self._buffer = StridedRows(config.sequences, hold_last=True), FeatureBuffer()

    def _check(self, shots: Features) -> Features:
        self._buffer.check(shots)
        excerpts_of(self.config, shots)
        return shots

    def _keep(self, checked: Features) -> None:
        self._buffer.append(checked)

    @property
    def _rows(self) -> StridedRows:
        """The windows of the shots that have come."""
        self._strided.num_shots, self._strided.closed = self.num_shots, self.closed
        return self._strided

    @property
    def ready(self) -> int:
        """End of the shots that can be decided."""
        return self._rows.final()

    def wanted(self) -> int:
        """Windows that can run."""
        return len(self._rows.windows())

    def batch(self, most: int) -> StreamBatch:
        """What to run next, at most this many windows, and the shots that are decided then; there may be only these."""
        windows = self._rows.windows(most)
        excerpts = [
            replace(excerpt, check=self.check)
            for window in windows
            for excerpt in excerpts_of(self.config, self._buffer.read(window.start, window.stop))
        ]
        final = range(self.decided, self._rows.final(len(windows)))
        return StreamBatch(tuple(excerpts), final, range(0), 0)

    def advance(self, batch: StreamBatch, logits: Sequence[NDArray[np.float32]]) -> tuple[list[Event], list[Event]]:
        """Events of the shots that are decided now: those of the batch, and others where more shots have come since."""
        rows = self._rows.give(logits)
        if rows is None:
            return [], []
        scores = self.task.scores(rows)
        events = self._events(range(self.decided, self.decided + len(rows)), scores, True)
        self.decided += len(rows)
        if self.history:
            self.scores.append(scores)
        return events, []

    def advance_alone(self) -> list[Event]:
        """Final events of shots whose windows have run before the shots after them came."""
        return [] if self.wanted() else self.advance(self.batch(0), [])[0]

    def _drop(self) -> None:
        self._buffer.drop_before(self.kept_begin)

    @property
    def kept_begin(self) -> int:
        """First shot whose features what is not delivered needs."""
        return self._rows.needed_from(self.delivered)

    def kept(self) -> dict[str, NDArray[Any]]:
        """Features of the shots from ``kept_begin`` on, at least one, as a mapping that ``Features`` is read from."""
        kept = self._buffer.read(self.kept_begin, self.num_shots)
        return {**kept.modalities, **{name + SUFFIX: shots for name, shots in kept.token_shots.items()}}

    def go_on(self, kept: Features | None) -> None:
        """As of ``StreamState``; the window of the next shot runs again."""
        self._buffer = FeatureBuffer(self.kept_begin)
        if kept is not None:
            self._keep(self._check(kept))
        self._strided.resume(self.num_shots, self.decided, closed=self.closed)
