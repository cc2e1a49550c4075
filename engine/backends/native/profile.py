"""Where the time of a compiled model goes: its steps, timed one by one, beside what this machine can do at most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.protocol import LOGITS, Excerpt

_SUMMED = ("rows", "calls", "seconds", "least", "operations", "bytes")


@dataclass(frozen=True, slots=True)
class Entry:
    """A step of a program in one run, or several of them together.

    ``operations`` are the multiplications and additions of products, two for a pair of elements; ``bytes`` what is read
    and written if nothing is read twice: rows, weights and results.
    """

    op: str
    what: str  # types and widths, such as "int8 768 -> bfloat16 3072"
    rows: int  # of the results, all calls together
    calls: int
    seconds: float
    least: float  # seconds that this machine needs at least
    operations: float
    bytes: float

    @property
    def of_ceiling(self) -> float:
        """How much of what the machine can do at most the step does: 1 is all."""
        return self.least / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a machine does at most on so many threads, measured.

    ``products`` are operations a second by type; of a type that has none, memory alone counts. ``memory`` has for areas
    of some sizes, which each thread goes through again and again, (bytes, bytes a second that are read, bytes a second
    that are copied).
    """

    products: dict[str, float]
    memory: tuple[tuple[int, float, float], ...]

    def seconds(self, step: dict[str, Any], weights: float, threads: int) -> float:
        """The least time of a step: of its products, its reading or its writing, whichever takes longest.

        Rows are read and written as fast as an area of their size, and weights as one of all weights together.
        """
        read, copied = self._memory((step["read"] + step["written"]) / max(1, step["calls"]) / threads)
        rate = self.products.get(step["product"])
        products = step["operations"] / rate if rate else 0
        return float(
            max(
                products,
                step["read"] / read + step["weights"] / self._memory(weights / threads)[0],
                step["written"] / copied,
            )
        )

    def _memory(self, size: float) -> tuple[float, float]:
        """Bytes a second, read and copied, of the largest area that is not larger than ``size``."""
        _, read, copied = next((own for own in reversed(self.memory) if own[0] <= size), self.memory[0])
        return read, copied


@dataclass(frozen=True, slots=True)
class Profile:
    """A run, of the fastest of several for each step; ``between`` are seconds between steps."""

    steps: tuple[Entry, ...]  # in the order of the program
    between: float
    ceilings: Ceilings

    @property
    def seconds(self) -> float:
        """Of a whole run."""
        return self.between + sum(step.seconds for step in self.steps)

    def by_op(self) -> list[Entry]:
        """Steps of one op together, the longest first."""
        return _together(replace(step, what="") for step in self.steps)

    def by_kind(self) -> list[Entry]:
        """Steps of one op with equal types and widths together, the longest first."""
        return _together(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``seconds``, ``between``, ``steps`` and ``ceilings``."""
        return {"seconds": self.seconds, **asdict(self)}


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
        cpu_time: processor time of all threads by their number, which other processes hardly change, not time passed.

    Raises:
        FeatureError, ValueError, UnsupportedError: as ``NativeBackend.run``.
    """
    said = backend.describe()
    threads, weights = said["num_threads"], said["weight_bytes"]
    backend.run(excerpts, outputs)
    runs = [backend.timed(excerpts, outputs, cpu_time=cpu_time) for _ in range(repeats)]
    between = min(seconds - sum(step["seconds"] for step in steps) for seconds, steps in runs)
    fastest = [
        min(same, key=lambda step: float(step["seconds"])) for same in zip(*(steps for _, steps in runs), strict=True)
    ]
    products, memory = backend.ceilings()
    products.pop("int16", None)  # of weights in ten bits: no loop of its own measures it
    ceilings = Ceilings(products, tuple(memory))
    share = threads if cpu_time else 1
    entries = (_entry(step, share, ceilings.seconds(step, weights, threads)) for step in fastest if step["rows"])
    return Profile(tuple(entries), between / share, ceilings)


def _entry(step: dict[str, Any], share: int, least: float) -> Entry:
    size = step["read"] + step["written"] + step["weights"]
    what = f"{step['in_type']} {step['in_width']} -> {step['out_type']} {step['out_width']}"
    seconds = step["seconds"] / share
    return Entry(step["op"], what, step["rows"], step["calls"], seconds, least, step["operations"], size)


def _together(steps: Iterable[Entry]) -> list[Entry]:
    """Sums of the entries of one op and description, the longest first."""
    groups = defaultdict(list)
    for step in steps:
        groups[step.op, step.what].append(step)
    sums = [
        Entry(op, what, *(sum(getattr(step, name) for step in same) for name in _SUMMED))
        for (op, what), same in groups.items()
    ]
    return sorted(sums, key=lambda entry: -entry.seconds)
