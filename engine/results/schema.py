"""The JSON of results: version 3 is written; versions 1 (scenes or acts) and 2 (both) are read as well.

The scores of a result's first track are its ``scores``, those of acts beside scenes its ``act_scores``, and those of
any other track are in its entry of ``tracks``: each once.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import check_times
from megaseg.engine.results.source import Source
from megaseg.engine.tasks.act import ActDecision
from megaseg.engine.tasks.scene import SceneDecision
from megaseg.engine.tasks.task import DecidingTask, TaskDecision, deciding_tasks
from megaseg.engine.tasks.track import Point, Segment, Track
from megaseg.errors import FeatureError

SCHEMA = "megaseg.segmentation/3"
SCENES_OR_ACTS, SCENES_AND_ACTS = "megaseg.segmentation/1", "megaseg.segmentation/2"
Times = NDArray[np.int64] | None
Names = Mapping[str, Mapping[int, str]]
_EDITS = ("locked", "barred")  # of a decision: written only where there are some


@dataclass(frozen=True)
class Decision(ActDecision, SceneDecision):
    """The options of scenes (``threshold``, the two after it and edits) and acts (``ordered``) in one.

    Raises:
        FeatureError: as its parts.
    """


def ranked(tracks: Mapping[str, Any], task: Callable[[Any], str] = lambda track: track.task) -> list[str]:
    """Names of tracks in the order of their tasks, whatever order a file has them in."""
    order = [own.name for own in deciding_tasks()]
    return sorted(tracks, key=lambda name: order.index(task(tracks[name])))


def task_name(tracks: Mapping[str, Track]) -> str:
    """The task of the only track, or ``movie``."""
    return next(iter(tracks.values())).task if len(tracks) == 1 else "movie"


def flat_decision(tracks: Mapping[str, Track]) -> Decision:
    """The decisions of all tracks in one; defaults for what none of them has."""
    names = {field.name for field in dataclasses.fields(Decision)}
    own = [item for track in tracks.values() for item in dataclasses.asdict(track.decision).items()]
    return Decision(**{name: value for name, value in own if name in names})


# Writing.


def written(
    tracks: Mapping[str, Track],
    times: Times,
    base: Fraction | None,
    remarks: Sequence[str] = (),
    source: Source | None = None,
    names: Names | None = None,
) -> dict[str, Any]:
    """A result as plain values; ``remarks``, ``source`` and ``names`` only where there are some."""
    first = next(iter(tracks.values()))
    entries = {name: _entry(track, times, base) for name, track in tracks.items()}
    both = "acts" in tracks and tracks["acts"] is not first
    for name, track in tracks.items():
        if track is not first and name != "acts":
            entries[name] |= _arrays(track, "")
    return {
        "schema": SCHEMA,
        "task": task_name(tracks),
        "num_shots": len(first.scores),
        "time_base": None if base is None else list(base.as_integer_ratio()),
        "decision": _decision(flat_decision(tracks)),
        "boundaries": first.boundaries.tolist(),
        "scenes": entries["scenes"]["segments"] if "scenes" in tracks else [],
        "acts": entries["acts"]["segments"] if "acts" in tracks else [],
        "turning_points": entries["acts"]["points"] if "acts" in tracks else [],
        "times": None if times is None else times.tolist(),
        **_arrays(first, ""),
        **({"act_boundaries": entries["acts"]["boundaries"], **_arrays(tracks["acts"], "act_")} if both else {}),
        "tracks": entries,
        **({"remarks": list(remarks)} if remarks else {}),
        **({} if source is None else {"source": source.to_dict()}),
        **({"names": {track: _own_names(own) for track, own in names.items()}} if names else {}),
    }


def _own_names(names: Mapping[int, str]) -> dict[str, str]:
    return {str(shot): name for shot, name in sorted(names.items())}


def _decision(decision: TaskDecision) -> dict[str, Any]:
    """A decision's options; edits of a person only where there are some."""
    values = dataclasses.asdict(decision)
    edits = {name: list(values.pop(name)) for name in _EDITS if name in values}
    return {**values, **{name: shots for name, shots in edits.items() if shots}}


def _entry(track: Track, times: Times, base: Fraction | None) -> dict[str, Any]:
    return {
        "kind": track.task,
        "decision": _decision(track.decision),
        "boundaries": track.boundaries.tolist(),
        "segments": [_segment(segment, base) for segment in track.segments],
        "points": [_point(point, times, base) for point in track.points],
    }


def _arrays(track: Track, prefix: str) -> dict[str, Any]:
    """The large arrays of a track; JSON has no -inf, so that it is null."""
    scores = {f"{prefix}scores": track.scores.tolist()}
    if track.logits is None:
        return scores
    logits = [[None if value == -math.inf else value for value in row] for row in track.logits.tolist()]
    return {**scores, f"{prefix}logits": logits}


def _segment(segment: Segment, base: Fraction | None) -> dict[str, Any]:
    ticks = {"start": segment.start_ticks, "end": segment.end_ticks}
    return {**dataclasses.asdict(segment), **{f"{name}_seconds": _seconds(tick, base) for name, tick in ticks.items()}}


def _point(point: Point, times: Times, base: Fraction | None) -> dict[str, Any]:
    ticks = None if times is None else int(times[point.shot, 0])
    return {**dataclasses.asdict(point), "start_ticks": ticks, "start_seconds": _seconds(ticks, base)}


def _seconds(ticks: int | None, base: Fraction | None) -> float | None:
    return None if ticks is None or base is None else float(ticks * base)


# Reading.


def parse_json(text: str) -> Any:
    """The value of a result's JSON text.

    Raises:
        FeatureError: not JSON.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"))  # some text editors begin a file with it
    except (ValueError, RecursionError) as error:  # no JSON, or a number of thousands of digits
        raise FeatureError(f"result: expected JSON, got: {error}") from error


class Read(NamedTuple):
    """What a result's plain values say, in the order of a ``Segmentation``'s fields."""

    tracks: dict[str, Track]
    times: Times
    time_base: Fraction | None
    remarks: tuple[str, ...]
    source: Source | None
    names: Names


def read_result(values: Mapping[str, Any]) -> Read:
    """All that a result's plain values say: the same scores, decided in the same way.

    Raises:
        FeatureError: not a result of a known schema version.
    """
    schema = values.get("schema") if isinstance(values, Mapping) else None
    if schema not in (SCHEMA, SCENES_AND_ACTS, SCENES_OR_ACTS):
        raise FeatureError(f"schema: expected {SCHEMA!r} or an earlier version, got {schema!r:.80}")
    try:
        base = None if values["time_base"] is None else Fraction(*values["time_base"])
        times = None if values["times"] is None else np.asarray(values["times"], dtype=np.int64)
        parts = list((_parts if schema == SCHEMA else _earlier_parts)(values, Decision(**values["decision"])))
        tracks = {}
        for part in parts:
            track = part.track(times, base)
            tracks[track.name] = track
        if not tracks:
            raise ValueError("no tracks")
        if schema == SCHEMA and (task_name(tracks), [*tracks]) != (values["task"], ranked(values["tracks"], _kind)):
            raise ValueError(f"task {values['task']!r} with the tracks {', '.join(values['tracks'])}")
        source = None if values.get("source") is None else Source.from_dict(values["source"])
        return Read(tracks, times, base, _remarks(values), source, _names(values))
    except (LookupError, TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError) as error:
        raise FeatureError(f"result: expected the fields of {schema}, got: {error}") from error


def _remarks(values: Mapping[str, Any]) -> tuple[str, ...]:
    remarks = values.get("remarks", [])
    if not isinstance(remarks, list) or not all(isinstance(remark, str) for remark in remarks):
        raise ValueError(f"remarks {remarks!r:.60}")
    return tuple(remarks)


def _names(values: Mapping[str, Any]) -> Names:
    return {track: {int(shot): name for shot, name in own.items()} for track, own in values.get("names", {}).items()}


@dataclass(frozen=True)
class _Part:
    """One track as it is read: the JSON values of its scores and logits."""

    task: DecidingTask
    decision: TaskDecision
    scores: Any
    logits: Any = None

    def track(self, times: Times, base: Fraction | None) -> Track:
        scores = np.asarray(self.scores, dtype=np.float32)
        self.task.check_scores(scores)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("scores outside 0 to 1")
        if times is not None:
            check_times(times, base, len(scores))
        logits = None if self.logits is None else _read_logits(self.logits, scores.shape)
        return self.task.decide(scores, logits, self.decision, times)


def _kind(entry: Mapping[str, Any]) -> str:
    return str(entry["kind"])


def _parts(values: Mapping[str, Any], flat: Decision) -> Iterator[_Part]:
    """Version 3: every track has its own decision, and the one of all must agree."""
    entries = values["tracks"]
    common = {field.name for field in dataclasses.fields(Decision)}
    for place, name in enumerate(ranked(entries, _kind)):
        task = _deciding(_kind(entries[name]))
        decision = task.decision_type(**entries[name]["decision"])
        for option in common & {*task.options}:
            own, other = getattr(decision, option), getattr(flat, option)
            if own != other:
                raise ValueError(f"{option} {own!r} of track {name}, but {other!r} of all")
        prefix, place_of = ("", values) if place == 0 else ("act_", values) if name == "acts" else ("", entries[name])
        yield _Part(task, decision, place_of[f"{prefix}scores"], place_of.get(f"{prefix}logits"))


def _earlier_parts(values: Mapping[str, Any], flat: Decision) -> Iterator[_Part]:
    """Version 1, scenes or acts, and version 2, both."""
    task, both = values["task"], values["schema"] == SCENES_AND_ACTS
    if task not in (("movie",) if both else ("scene", "act")):
        raise ValueError(f"task {task!r}")
    if task != "act":
        scene = _deciding("scene")
        yield _Part(scene, scene.own(flat), values["scores"])
    if task != "scene":
        act, prefix = _deciding("act"), "act_" if both else ""
        yield _Part(act, act.own(flat), values[f"{prefix}scores"], values.get(f"{prefix}logits"))


def _deciding(name: str) -> DecidingTask:
    found = {task.name: task for task in deciding_tasks()}
    if name not in found:
        raise ValueError(f"task {name!r}")
    return found[name]


def _read_logits(rows: Iterable[Iterable[float | None]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    logits = np.array([[-math.inf if value is None else value for value in row] for row in rows], dtype=np.float64)
    if logits.shape != shape or not (logits <= np.finfo(np.float32).max).all():
        raise ValueError(f"logits of shape {logits.shape}, some perhaps not finite, to scores of shape {shape}")
    with np.errstate(over="ignore"):  # far below any that counts
        return logits.astype(np.float32)
