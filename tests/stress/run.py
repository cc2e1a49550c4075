"""Stress for some time, ``python tests/stress/run.py SECONDS SEED``, or one trial again, ``--trial PART:SEED:NUMBER``.

Each part runs in a process of its own, so that a crash or a hang is a finding like any other. Before its trials, a
part runs its control, a subject that is broken on purpose, and fails if it finds nothing wrong with it. Trials of the
scheduler are drawn from the seed; how their threads interleave is not.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from stress import differential, files, scheduler, streams
from stress.findings import Finding
from threadpoolctl import threadpool_limits

HANG = 300  # seconds: far beyond any trial


class Part(NamedTuple):
    """A trial (an error ratio, where it measures one) and its share of the time."""

    trial: Callable[..., float | None]
    share: float


PARTS = {
    "differential": Part(differential.trial, 0.4),
    "streams": Part(streams.trial, 0.1),
    "snapshots": Part(streams.snapshots, 0.05),
    "scheduler": Part(scheduler.trial, 0.2),
    "replaced": Part(files.replaced, 0.15),
    "damaged": Part(files.damaged, 0.1),
}


def run_trial(part: str, seed: int, number: int, broken: bool = False) -> float | None:
    """One trial: everything random in it comes from its part, seed and number.

    Raises:
        Finding: a promise that did not hold.
    """
    with threadpool_limits(1):  # NumPy's and torch's: small matrices
        return PARTS[part].trial(np.random.default_rng([list(PARTS).index(part), seed, number]), broken)


def missed_controls(part: str, trials: int = 3) -> list[int]:
    """Trials on a broken subject that found nothing wrong with it."""
    missed = []
    for number in range(trials):
        try:
            run_trial(part, 0, number, broken=True)
        except Finding:
            continue
        missed.append(number)
    return missed


def _work(part: str, seconds: float, seed: int, number: Any, line: Any) -> None:
    """Trials in a process of their own: ``number`` says which one runs, ``line`` gets the last word."""
    logging.disable()
    threading.excepthook = lambda _: None  # of threads that are killed on purpose
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MEGASEG_CACHE"] = cache
        if missed := missed_controls(part):
            line.put(f"FAILED: the control's trials {missed} found nothing wrong with a broken subject")
            return
        ratios, begin = [], time.monotonic()
        while not ratios or time.monotonic() - begin < seconds:
            number.value += 1
            try:
                ratios.append(run_trial(part, seed, number.value) or 0.0)
            except Finding as finding:
                line.put(f"FAILED: {finding}")
                return
        worst = f", worst error {max(ratios):.2f} times the naive model's" if any(ratios) else ""
        line.put(f"{len(ratios)} trials{worst}; the control was found")


def stress(part: str, seconds: float, seed: int) -> bool:
    """Run one part, and say how it went."""
    context = multiprocessing.get_context("spawn")
    number, line = context.Value("q", -1), context.Queue()
    process = context.Process(target=_work, args=(part, seconds, seed, number, line), daemon=True)
    process.start()
    last, deadline = -2, 0.0
    while process.is_alive() and (last != number.value or time.monotonic() < deadline):
        if last != number.value:
            last, deadline = number.value, time.monotonic() + HANG
        process.join(1)
    how = f"FAILED: no end in {HANG} s" if process.is_alive() else f"FAILED: exit code {process.exitcode}"
    process.kill()
    told = line.get(timeout=10) if process.exitcode == 0 else how
    print(f"{part:13} seed {seed}: {told}", flush=True)
    if failed := told.startswith("FAILED"):
        print(f"  trial {number.value}; again: python tests/stress/run.py --trial {part}:{seed}:{number.value}")
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=600)
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("--trial", metavar="PART:SEED:NUMBER", help="run this trial alone")
    options = parser.parse_args()
    if options.trial:
        part, seed, number = options.trial.split(":")
        print(run_trial(part, int(seed), int(number)))
        return
    passed = [stress(part, options.seconds * PARTS[part].share, options.seed) for part in PARTS]
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
