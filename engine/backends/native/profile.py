"""Where the time of a compiled model goes: the steps of its program, timed one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.protocol import LOGITS, Excerpt

SUMMED = ("rows", "calls", "seconds", "operations", "bytes")


@dataclass(frozen=True, slots=True)
class Entry:
    """A step of a program, or several of them together.

    ``operations`` are the multiplications and additions of products; ``bytes`` what is read and written if nothing is
    read twice: values, weights and results.
    """

    op: str
    what: str  # types and widths, such as "int8 768 -> bfloat16 3072"
    rows: int  # of the results, all calls together
    calls: int
    seconds: float
    operations: float
    bytes: float

    @property
    def operations_per_second(self) -> float:
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Fastest times of a number of runs: of each step by itself, and of a run as a whole."""

    seconds: float
    steps: tuple[Entry, ...]  # in the order of the program

    def by_op(self) -> list[Entry]:
        """Steps of one op together, the longest first."""
        return _together((replace(step, what="") for step in self.steps))

    def by_kind(self) -> list[Entry]:
        """Steps of one op with equal types and widths together, the longest first."""
        return _together(self.steps)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def profile(
    backend: NativeBackend,
    excerpts: Sequence[Excerpt],
    outputs: Sequence[str] = (LOGITS,),
    *,
    repeats: int = 10,
    cpu_time: bool = False,
) -> Profile:
    """Run excerpts ``repeats`` times, after one run that is not counted, and time every step.

    Args:
        cpu_time: processor time of all threads together, which other processes hardly change, not time passed.

    Raises:
        FeatureError, ValueError, UnsupportedError: as ``NativeBackend.run``.
    """
    backend.run(excerpts, outputs)
    runs = [backend.timed(excerpts, outputs, cpu_time=cpu_time) for _ in range(repeats)]
    steps = [min(same, key=lambda step: step[7]) for same in zip(*(steps for _, steps in runs), strict=True)]
    return Profile(min(seconds for seconds, _ in runs), tuple(_entry(*step) for step in steps if step[6]))


def _entry(
    op: str,
    in_type: str,
    out_type: str,
    rows: int,
    width: int,
    in_width: int,
    calls: int,
    seconds: float,
    operations: float,
    size: float,
) -> Entry:
    what = f"{in_type} {in_width} -> {out_type} {width}"
    return Entry(op, what, rows, calls, seconds, operations, size)


def _together(steps: Iterable[Entry]) -> list[Entry]:
    """Sums of the entries of one op and description, the longest first."""
    groups = defaultdict(list)
    for step in steps:
        groups[step.op, step.what].append(step)
    sums = [
        Entry(op, what, *(sum(getattr(s, name) for s in same) for name in SUMMED))
        for (op, what), same in groups.items()
    ]
    return sorted(sums, key=lambda entry: -entry.seconds)
