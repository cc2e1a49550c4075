"""Task: what a model is for, and the registry of all tasks. The package registers its own: one file and one row each.

A model's config names its task. ``DecidingTask`` turns logits into a track; another task has outputs and decides
nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.model.config import ModelConfig, type_text
from megaseg.engine.tasks.track import Track
from megaseg.errors import FeatureError, UnsupportedError

# What a value of an annotated type may be, and the plain type that it becomes: NumPy's numbers are taken as Python's.
_KINDS: dict[str, tuple[type, type]] = {"float": (Real, float), "int": (Integral, int), "bool": (np.bool_, bool)}
_SHOTS = "tuple[int, ...]"


class TensorSpec(NamedTuple):
    """A tensor that a task offers to a service: its name, element type as NumPy names it, and shape (-1: shots)."""

    name: str
    type: str
    shape: tuple[int, ...]


class Explained(NamedTuple):
    """What a model decided: at which shots (decisions,), under which names, and for which classes (decisions,)."""

    shots: NDArray[np.int64]
    names: tuple[str, ...]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class TaskDecision:
    """Options of a task: how scores become a track. A subclass's fields are ``float``, ``int`` or ``bool``, or None.

    A field of shots, ``tuple[int, ...]``, takes whole numbers in any order and keeps each once, increasing.

    Raises:
        FeatureError: a value of another type, or one that no movie allows.
    """

    def __post_init__(self) -> None:
        plain: dict[str, type] = {}
        for name, expected in _fields(type(self)):  # type: ignore[arg-type]  # a class hashes
            value = getattr(self, name)
            if expected == _SHOTS:
                object.__setattr__(self, name, _shots(name, value))
            elif value is not None or not expected.endswith("None"):
                if not _is_a(value, expected):
                    raise FeatureError(f"{name}: expected {expected}, got {value!r:.40}")
                plain[name] = _kinds(expected)[1]
        self._check()
        for name, kind in plain.items():
            object.__setattr__(self, name, kind(getattr(self, name)))

    def _check(self) -> None:
        """Raises FeatureError for values of the right types that no movie allows."""


@functools.cache
def _fields(decision: type[TaskDecision]) -> tuple[tuple[str, str], ...]:
    """Name and annotation of each option."""
    return tuple((field.name, type_text(field)) for field in dataclasses.fields(decision))


def _kinds(expected: str) -> tuple[type, type]:
    return _KINDS[expected.removesuffix(" | None")]


def _is_a(value: Any, expected: str) -> bool:
    """Whether a value is of an annotated type; no bool is a number."""
    kind, plain = _kinds(expected)
    if type(value) is plain:
        return True
    return isinstance(value, (kind, plain)) and not (isinstance(value, bool) and plain is not bool)


def _shots(name: str, value: Any) -> tuple[int, ...]:
    """Shots, each once and increasing.

    Raises:
        FeatureError: not whole numbers from 0 on.
    """
    if type(value) is tuple and not value:
        return ()
    of_shots = isinstance(value, Collection) and not isinstance(value, (str, bytes))  # an iterator could be read once
    shots: list[Any] = list(value) if of_shots else [None]
    for shot in shots:
        if not _is_a(shot, "int") or shot < 0:
            raise FeatureError(f"{name}: expected numbers of shots from 0 on, got {value!r:.40}")
    return tuple(sorted({int(shot) for shot in shots}))


class Task:
    """A task that decides nothing: its models have outputs only.

    ``streams`` says that a shot is decided by a threshold on its own score, so that shots may come one by one.
    """

    streams: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name

    def problems(self, config: ModelConfig) -> Iterator[str]:
        """What a config of the task lacks; none if it may be one."""
        yield from ()


class DecidingTask(Task, ABC):
    """A task that divides a movie: scores of logits, the decision on them, and what others see of it.

    ``track`` is the name of its tracks, and ``decision_type`` has its options.
    """

    track: ClassVar[str]
    decision_type: ClassVar[type[TaskDecision]]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that the task takes."""
        return tuple(name for name, _ in _fields(self.decision_type))  # type: ignore[arg-type]

    def given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that are not None, checked by themselves.

        Raises:
            FeatureError: an option of another task, or a value that no movie allows.
            TypeError: an option of no task.
        """
        own = given_options(options)
        for name, value in own.items():
            if name not in self.options:
                expected = ", ".join(self.options)
                raise FeatureError(f"{name}: expected an option of task {self.name} ({expected}), got {value!r:.40}")
        self.decision_type(**own)
        return own

    def own(self, decision: TaskDecision) -> TaskDecision:
        """The task's options of a decision that may have those of other tasks as well."""
        if type(decision) is self.decision_type:
            return decision
        return self.decision_type(**{name: getattr(decision, name) for name in self.options})

    @abstractmethod
    def decision(self, given: Mapping[str, Any], threshold: float | None, logits: NDArray[np.floating]) -> TaskDecision:
        """The decision with ``given`` options; ``threshold`` is the model's own, if it has one."""

    def changed(self, decision: TaskDecision, given: Mapping[str, Any]) -> TaskDecision:
        """An earlier decision with ``given`` options in place of its own."""
        return dataclasses.replace(decision, **given)

    @abstractmethod
    def scores(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probabilities of logits (shots, N_c)."""

    @abstractmethod
    def decide(
        self,
        scores: NDArray[np.float32],
        logits: NDArray[np.float32] | None,
        decision: Any,
        times: NDArray[np.int64] | None = None,
    ) -> Track:
        """The track of scores; logits, where they are known, decide what probabilities cannot tell apart.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """

    @abstractmethod
    def unsure(self, logits: NDArray[np.float32], margin: float, decision: Any) -> NDArray[np.bool_]:
        """On which rows (rows,) the decision may rest, where each logit is wrong by at most ``margin``.

        With these rows exact, the decision is that on exact logits. Where ``streams``, the rows are of a part of a
        movie, else of all of it.
        """

    @abstractmethod
    def check_scores(self, scores: NDArray[np.float32]) -> None:
        """Raises ValueError for an array that is no ``scores`` of a movie, such as one read from a file."""

    @abstractmethod
    def tensor_specs(self, config: ModelConfig) -> tuple[TensorSpec, ...]:
        """What ``tensors`` gives for a model of this config."""

    @abstractmethod
    def tensors(self, track: Track) -> dict[str, NDArray[Any]]:
        """A track as arrays, for a service."""

    @abstractmethod
    def explained(self, track: Track, logits: NDArray[np.float32], about: str | None = None) -> Explained:
        """The decisions whose reasons an explanation gives; ``about`` is a class to ask about in place of the decided.

        Raises:
            FeatureError: a class that cannot be asked about.
        """


_TASKS: dict[str, Task] = {}


def register(task: Task) -> None:
    """Add a task; the order of registration is that of tracks in a result.

    Raises:
        ValueError: a name that is taken.
    """
    if task.name in _TASKS:
        raise ValueError(f"task: {task.name!r} is there already")
    _TASKS[task.name] = task


def tasks() -> tuple[Task, ...]:
    """All tasks, in the order of their registration."""
    return tuple(_TASKS.values())


def task_of(name: str) -> Task:
    """The task of a name.

    Raises:
        UnsupportedError: there is none.
    """
    if name not in _TASKS:
        raise UnsupportedError(f"task: expected one of {', '.join(_TASKS)}, got {name!r:.40}")
    return _TASKS[name]


def deciding_tasks() -> tuple[DecidingTask, ...]:
    """The tasks that give tracks."""
    return tuple(task for task in tasks() if isinstance(task, DecidingTask))


def deciding_task(name: str, call: str) -> DecidingTask:
    """The task of a name, for a call that needs decisions.

    Raises:
        UnsupportedError: a task that decides nothing.
    """
    task = task_of(name)
    if not isinstance(task, DecidingTask):
        expected = " or ".join(own.name for own in deciding_tasks())
        rows = "embed" if name == "embedding" else "logits"
        raise UnsupportedError(f"{call}: expected a {expected} model, got one of task {name}; use {rows} or outputs")
    return task


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not None.

    Raises:
        TypeError: an option of no task.
    """
    known = dict.fromkeys(option for task in deciding_tasks() for option in task.options)
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"{unknown[0]!r} is an unexpected keyword: expected some of {', '.join(known)}")
    return {name: value for name, value in options.items() if value is not None}
