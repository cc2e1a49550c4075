"""Models of several tasks that segment one movie together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megaseg.engine.model.config import ModelConfig
from megaseg.engine.tasks.task import deciding_task, deciding_tasks, given_options
from megaseg.errors import FeatureError


def check_together(configs: Sequence[ModelConfig], names: Sequence[str]) -> None:
    """One model, or models of different tasks; ``names`` are the models', for the message.

    Raises:
        FeatureError: no model, two models of one task, or several of which one decides nothing.
    """
    found = [config.task for config in configs]
    if not found:
        raise FeatureError("checkpoint: expected at least one model, got none")
    deciding = [task.name for task in deciding_tasks()]
    if len(found) > 1 and (len(set(found)) < len(found) or not set(found) <= set(deciding)):
        got = ", ".join(f"{name} of task {task}" for name, task in zip(names, found, strict=True))
        raise FeatureError(f"checkpoint: expected one model for each of the tasks {' and '.join(deciding)}, got {got}")


def options_for_each(tasks: Sequence[str], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the options that are not None, those that each of the tasks takes.

    Raises:
        FeatureError: no tasks, or an option that none of them takes.
        TypeError: an option of no task.
    """
    if not tasks:
        raise FeatureError("tasks: expected at least one that takes the options, got none")
    own = [deciding_task(name, "segment") for name in tasks]
    given = given_options(options)
    for option, value in given.items():
        if not any(option in task.options for task in own):
            taken = " or ".join(f"task {task.name} ({', '.join(task.options)})" for task in own)
            raise FeatureError(f"{option}: expected an option of {taken}, got {value!r:.40}")
    return [{name: value for name, value in given.items() if name in task.options} for task in own]
