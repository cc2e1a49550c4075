"""A run in a folder: a line of ``log.jsonl`` an epoch, and a state from which an interrupted run goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.model.checkpoint import ENCODER
from megaseg.errors import CheckpointError
from megaseg.training.loop import Epoch, Loop
from megaseg.training.state import Groups, StateFile

LOG, STATE = "log.jsonl", "state.safetensors"
Line = dict[str, Any]


class Companion(Protocol):
    """What a run keeps beside its loop."""

    def state(self) -> Groups:
        """Tensors, by groups whose names no other part of the state has."""

    def restore(self, groups: Groups) -> None:
        """Put back what ``state`` gave."""


class LoggedRun:
    """The loop of a run whose state and log are in ``folder``.

    Args:
        loop: of the run.
        folder: of the run, which is there.
        config: everything that fixes the run besides its data.
        data: lists of texts that fix the data, as of ``StateFile``.
        figures: what a line says of an epoch's training, ``loss`` among it; by default the mean loss.
        companion: what the run keeps beside the loop.

    Raises:
        CheckpointError: the folder has a finished run, which is not written over.
    """

    def __init__(
        self,
        loop: Loop[Any, Any, Any],
        folder: Path,
        config: Any,
        data: Sequence[Sequence[str]],
        figures: Callable[[Epoch[Any]], Mapping[str, float]] = lambda epoch: {"loss": epoch.loss},
        companion: Companion | None = None,
    ) -> None:
        self._loop, self._folder, self._figures, self._companion = loop, folder, figures, companion
        self._state = StateFile(folder / STATE, config, data)
        if (folder / ENCODER).exists() and not (folder / STATE).exists():
            raise CheckpointError(f"{folder}: expected a new folder or an unfinished run, got a finished run")
        self.lines: list[Line] = []

    def train(self, report: Callable[[Line], None], advance: Callable[[int], None]) -> Any:
        """Train, or go on, and return the loop's model; ``advance`` is called with the size of every batch.

        Raises:
            FeatureError: a loss that is not finite.
            CheckpointError: the state of another run.
        """
        self._restore()
        begun = time.perf_counter()

        def keep(epoch: Epoch[Any]) -> None:
            nonlocal begun
            line = {
                "epoch": epoch.number,
                "train": dict(self._figures(epoch)),
                "seconds": time.perf_counter() - begun,
            }
            self.lines.append(line | ({} if epoch.validation is None else {"validation": epoch.validation}))
            groups = self._loop.state() | ({} if self._companion is None else self._companion.state())
            self._state.save(groups, {"lines": self.lines})
            self._write()
            report(self.lines[-1])
            begun = time.perf_counter()

        model = self._loop.run(keep, lambda batch: advance(len(batch[0])))
        self._write()
        return model

    def best(self) -> Line | None:
        """The line of the epoch whose weights are kept; None without an epoch."""
        number = self._loop.best_epoch()
        return self.lines[-1 if number is None else number] if self.lines else None

    def finish(self) -> None:
        """Delete the state, when the run's results are written."""
        self._state.remove()

    def _restore(self) -> None:
        found = self._state.load()
        if found is None:
            return
        groups, progress = found
        self.lines = progress["lines"]
        history = [Epoch(n, x["train"]["loss"], x.get("validation")) for n, x in enumerate(self.lines)]
        self._loop.restore(groups, history)
        if self._companion is not None:
            self._companion.restore(groups)

    def _write(self) -> None:
        with atomic_write(self._folder / LOG) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
