"""The result: the tracks of one movie, their scores, and all that deciding again without the model needs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.results.schema import (
    Decision,
    Names,
    flat_decision,
    parse_json,
    ranked,
    read_result,
    task_name,
    written,
)
from megaseg.engine.results.source import Source
from megaseg.engine.results.writer import write_file
from megaseg.engine.tasks.task import DecidingTask, TaskDecision, deciding_task, deciding_tasks
from megaseg.engine.tasks.together import options_for_each
from megaseg.engine.tasks.track import Point, Segment, Track
from megaseg.errors import FeatureError


@dataclass(frozen=True)
class Segmentation:
    """The tracks of one movie by name, in the order of their tasks: ``scenes``, ``acts``, whatever models give.

    ``times`` are int64 (shots, 2), start and end tick of each shot in units of ``time_base`` seconds. ``remarks`` say
    how the source was read where a user should know, such as that a film has no dialogue. ``source`` tells of the movie
    itself, and ``names`` are a person's for segments: of a track, by the segment's first shot.

    Raises:
        FeatureError: no track, a track under another name or of an unknown task, tracks of different lengths, a source
            of other shots, or names of shots or tracks that are not there.
    """

    tracks: Mapping[str, Track]
    times: NDArray[np.int64] | None = None
    time_base: Fraction | None = None
    remarks: tuple[str, ...] = ()
    source: Source | None = None
    names: Names = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self.tracks)
        object.__setattr__(self, "tracks", {name: self.tracks[name] for name in ranked(self.tracks)})
        shots = [len(track.scores) for track in self.tracks.values()]
        if len(set(shots)) != 1:
            raise FeatureError(
                f"tracks: expected {' and '.join(self.tracks) or 'at least one'} over the same shots, "
                f"got {' and '.join(map(str, shots)) or 'none'}"
            )
        if self.source is not None:
            self.source.check_shots(shots[0])
        _check_texts(self.names, self.tracks, shots[0])

    @classmethod
    def from_logits(
        cls,
        task: str,
        logits: NDArray[np.floating],
        decision: TaskDecision,
        times: NDArray[np.int64] | None = None,
        time_base: Fraction | None = None,
    ) -> Segmentation:
        """Decide on a model's logits (shots, N_c).

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        own = deciding_task(task, "from_logits")
        return cls._decided(own, own.scores(logits), logits.astype(np.float32), decision, times, time_base)

    @classmethod
    def from_scores(
        cls,
        task: str,
        scores: NDArray[np.float32],
        decision: TaskDecision,
        times: NDArray[np.int64] | None = None,
        time_base: Fraction | None = None,
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        """Decide on kept scores, with their logits if they are known.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        own = deciding_task(task, "from_scores")
        return cls._decided(own, scores, logits, decision, times, time_base)

    @classmethod
    def _decided(
        cls,
        task: DecidingTask,
        scores: NDArray[np.float32],
        logits: NDArray[np.float32] | None,
        decision: TaskDecision,
        times: NDArray[np.int64] | None,
        time_base: Fraction | None,
    ) -> Segmentation:
        track = task.decide(scores, logits, task.own(decision), times)
        return cls({track.name: track}, times, time_base)

    @property
    def _first(self) -> Track:
        return next(iter(self.tracks.values()))

    @property
    def task(self) -> str:
        """The task of the only track, or ``movie`` where there are several."""
        return task_name(self.tracks)

    @property
    def num_shots(self) -> int:
        """Number of shots n of the movie."""
        return len(self._first.scores)

    @property
    def scenes(self) -> tuple[Segment, ...]:
        """Segments of the track ``scenes``; none without it."""
        return self.tracks["scenes"].segments if "scenes" in self.tracks else ()

    @property
    def acts(self) -> tuple[Segment, ...]:
        """Segments of the track ``acts``; none without it."""
        return self.tracks["acts"].segments if "acts" in self.tracks else ()

    @property
    def turning_points(self) -> tuple[Point, ...]:
        """Points of the track ``acts``; none without it."""
        return self.tracks["acts"].points if "acts" in self.tracks else ()

    @property
    def boundaries(self) -> NDArray[np.int64]:
        """Boundaries of the first track: of the scenes, where there are scenes."""
        return self._first.boundaries

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores of the first track."""
        return self._first.scores

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """Logits of the first track, where its decision needs them."""
        return self._first.logits

    @property
    def decision(self) -> Decision:
        """The options of scenes and of acts in one; those of a track that is not there have their defaults."""
        return flat_decision(self.tracks)

    def redecide(
        self,
        *,
        threshold: float | None = None,
        min_scene_length: int | None = None,
        num_scenes: int | None = None,
        ordered: bool | None = None,
        **options: Any,
    ) -> Segmentation:
        """Another decision on the same scores or logits, without running the model; what is not given stays as it was.

        A new ``threshold`` drops an earlier ``num_scenes``. ``options`` are those of other tasks.

        Raises:
            FeatureError: an option that no track takes, or a decision that the movie's length does not allow.
        """
        own = {"threshold": threshold, "min_scene_length": min_scene_length}
        given = {**own, "num_scenes": num_scenes, "ordered": ordered, **options}
        tasks = [track.task for track in self.tracks.values()]
        changed = {}
        for (name, track), changes in zip(self.tracks.items(), options_for_each(tasks, given), strict=True):
            task = deciding_task(track.task, "redecide")
            decision = task.changed(track.decision, task.given(changes))
            changed[name] = task.decide(track.scores, track.logits, decision, self.times)
        return dataclasses.replace(self, tracks=changed)

    def seconds(self, ticks: int) -> float:
        """Ticks of the time base as seconds, for reading.

        Raises:
            FeatureError: the movie has no times.
        """
        if self.time_base is None:
            raise FeatureError("times: expected features with times and time_base, got none")
        return float(ticks * self.time_base)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, as ``megaseg/engine/results/result.schema.json`` describes them."""
        return written(self.tracks, self.times, self.time_base, self.remarks, self.source, self.names)

    def to_json(self, indent: int | None = None) -> str:
        """``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def save(self, path: str | os.PathLike[str], format: str | None = None, **options: Any) -> None:
        """Write a file of the ``format``, else of the one that the path's suffix names, as ``megaseg.export.save``.

        Raises:
            FeatureError: no such format, or one that cannot say this result.
        """
        write_file(self, path, format, **options)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Segmentation:
        """Read ``to_dict`` back, of this schema version or an earlier one: the same scores, decided in the same way.

        Raises:
            FeatureError: not a result of a known schema version.
        """
        return cls(*read_result(values))

    @classmethod
    def from_json(cls, text: str) -> Segmentation:
        """Read ``to_json`` back.

        Raises:
            FeatureError: not JSON, or not a result of a known schema version.
        """
        return cls.from_dict(parse_json(text))


def _check_names(tracks: Mapping[str, Track]) -> None:
    """Check that each track is under its own name and of a task that decides."""
    known = [task.name for task in deciding_tasks()]
    for name, track in tracks.items():
        if not isinstance(track, Track):
            raise FeatureError(f"tracks: expected a Track as {name!r:.40}, got {type(track).__name__}")
        if name != track.name:
            raise FeatureError(f"tracks: expected the track {track.name!r} under its own name, got {name!r:.40}")
        if track.task not in known:
            raise FeatureError(f"tracks: expected {name} of a task {' or '.join(known)}, got {track.task!r:.40}")


def _check_texts(names: Names, tracks: Mapping[str, Track], shots: int) -> None:
    """Check a person's names for segments."""
    for track, own in names.items():
        if track not in tracks:
            raise FeatureError(f"names: expected names for {' or '.join(tracks)}, got some for {track!r:.40}")
        for shot, name in own.items():
            if not isinstance(shot, (int, np.integer)) or not 0 <= shot < shots:
                raise FeatureError(f"names: expected first shots of {track} from 0 to {shots - 1}, got {shot!r:.40}")
            if not isinstance(name, str):
                raise FeatureError(f"names: expected text for shot {shot} of {track}, got {name!r:.40}")


def joined(results: Sequence[Segmentation]) -> Segmentation:
    """The results of several models over the same shots as one.

    Raises:
        FeatureError: no results, two tracks of one name, or results of different lengths or with different times.
    """
    if not results:
        raise FeatureError("results: expected at least one, got none")
    first = results[0]
    tracks: dict[str, Track] = {}
    for result in results:
        own, other = first.times, result.times
        same = own is other if own is None or other is None else np.array_equal(own, other)
        if not same or first.time_base != result.time_base:
            raise FeatureError("results: expected tracks with the same times")
        if twice := tracks.keys() & result.tracks.keys():
            raise FeatureError(f"results: expected tracks of different names, got two of {', '.join(sorted(twice))}")
        tracks |= result.tracks
    remarks = dict.fromkeys(remark for result in results for remark in result.remarks)
    source = next((result.source for result in results if result.source is not None), None)
    names = {track: own for result in results for track, own in result.names.items()}
    return Segmentation(tracks, first.times, first.time_base, tuple(remarks), source, names)


def on_shots(
    result: Segmentation,
    ends: NDArray[np.int64],
    times: NDArray[np.int64] | None = None,
    time_base: Fraction | None = None,
) -> Segmentation:
    """Acts over longer units, such as scenes, as acts over shots: each unit's probability is its last shot's.

    What the source tells of each unit is left out.

    ``ends``: last shot (units,) of each unit, increasing. ``times`` are those of the shots.

    Raises:
        FeatureError: no acts, or ``ends`` that do not fit their units.
    """
    act = result.tracks.get("acts")
    if act is None or ends.shape != (len(act.scores),) or (np.diff(ends, prepend=-1) < 1).any():
        raise FeatureError(f"ends: expected the increasing last shots of {result.num_shots} units of an act result")
    scores = np.zeros((int(ends[-1]) + 1, act.scores.shape[1]), dtype=np.float32)
    scores[ends] = act.scores
    logits = None
    if act.logits is not None:
        logits = np.full_like(scores, -np.inf)
        logits[ends] = act.logits
    found = Segmentation.from_scores(act.task, scores, act.decision, times, time_base, logits)
    source = None if result.source is None else dataclasses.replace(result.source, captions=(), loudness=None)
    firsts = [0, *(ends[:-1] + 1).tolist()]
    names = {track: {firsts[unit]: name for unit, name in own.items()} for track, own in result.names.items()}
    return dataclasses.replace(found, source=source, names=names)
