"""The parameters of an inference request, checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from megaseg.serving.errors import RequestError

# Kinds of the protocols' parameters: bool, int, float (an int too) and str.
_KINDS: dict[str, tuple[type, ...]] = {
    "sequence_id": (int, str),
    "sequence_start": (bool,),
    "sequence_end": (bool,),
    "provisional": (bool,),
    "timeout": (int,),
    "time_base": (str,),
    "threshold": (float, int),
    "min_scene_length": (int,),
    "num_scenes": (int,),
    "ordered": (bool,),
}
_DECISION = ("threshold", "min_scene_length", "num_scenes", "ordered")
_STREAM = ("threshold", "provisional")


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a request: its sequence, its deadline in seconds from now, and how to decide.

    ``decision`` are keywords of ``Engine.segment``, or of ``Scheduler.stream`` where ``sequence_id`` is given.
    """

    sequence_id: int | str | None = None
    sequence_start: bool = False
    sequence_end: bool = False
    timeout: float | None = None
    time_base: str | None = None
    decision: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Parameters:
        """Check a request's parameters; names that begin with ``triton_`` are hints for other servers.

        Raises:
            RequestError: names the parameter, what was expected and what came.
        """
        given = {name: value for name, value in values.items() if not name.startswith("triton_")}
        for name, value in given.items():
            _check(name, value)
        sequence = given.get("sequence_id") or None  # 0 and "" are the protocol's "no sequence"
        allowed = _DECISION if sequence is None else _STREAM if given.get("sequence_start") else ()
        decision = {name: given[name] for name in (*_DECISION, "provisional") if name in given}
        misplaced = [name for name in decision if name not in allowed]
        if misplaced:
            place = "a sequence's start" if sequence is not None else "a request without sequence_id"
            raise RequestError(
                f"{misplaced[0]}: expected {', '.join(allowed) or 'no decision parameter'} "
                f"in {place if allowed else 'a sequence after its start'}, got {misplaced[0]}"
            )
        microseconds = given.get("timeout") or None  # 0 is no deadline
        return cls(
            sequence,
            given.get("sequence_start", False),
            given.get("sequence_end", False),
            None if microseconds is None else microseconds / 1e6,
            given.get("time_base"),
            decision,
        )


def _check(name: str, value: Any) -> None:
    if name not in _KINDS:
        raise RequestError(f"parameters: expected {', '.join(_KINDS)}, got {name!r:.60}")
    kinds = _KINDS[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise RequestError(f"{name}: expected {' or '.join(kind.__name__ for kind in kinds)}, got {value!r:.60}")
    if isinstance(value, (int, float)) and not 0 <= value < 1 << 64:
        raise RequestError(f"{name}: expected 0 or more, below 2**64, got {value!r:.60}")
