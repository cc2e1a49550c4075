"""What every command shares: streams, progress bars, options and JSON. Results on stdout, all else on stderr."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.style import Style
from rich.text import Text

from megaseg.errors import FeatureError, MegasegError
from megaseg.report.text import visible


def plain(text: str, style: str | Style = "") -> Text:
    """Text as it was written, on one line: no markup, no emoji codes, and control characters shown."""
    return Text(visible(text), style)


class PlainConsole(Console):
    """A console to which every string is ``plain``: printed, in a table's cells, its title and its headers."""

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: HighlighterType | None = None,
    ) -> Text:
        """What rich makes of a string wherever it meets one."""
        made = plain(text, style)
        made.justify, made.overflow = justify, overflow
        return made

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, but break no line of text, so that programs and greps find it whole."""
        if all(isinstance(one, str) for one in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)


console = PlainConsole(stderr=True)
output = PlainConsole()

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
CheckpointOption = Annotated[
    str, typer.Option("--checkpoint", "-c", help="A checkpoint or compiled model, or the name of a shipped one.")
]
ThreadsOption = Annotated[int, typer.Option("--threads", help="Threads; 0 takes every core.", min=0)]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
ComputeTypeOption = Annotated[
    str,
    typer.Option(
        "--compute-type",
        help="auto, float32, bfloat16, int8, int8_checked, int8_float32, int8_bfloat16; float16 (cuda, onnx, plan).",
    ),
]
OverflowOption = Annotated[
    str,
    typer.Option("--overflow", help="Movies longer than an act model takes: error, or pool neighbouring shots."),
]
BackendOption = Annotated[str, typer.Option("--backend", help="auto, native, torch, onnx or tensorrt.")]
CheckpointsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--checkpoint",
        "-c",
        help="A checkpoint, compiled model or shipped name; a scene and an act model together give one result.",
        show_default="those shipped for such inputs",
    ),
]
# Keywords of decisions, and the flags that give them.
FLAGS = {
    "threshold": "--threshold",
    "min_scene_length": "--min-scene-length",
    "num_scenes": "--num-scenes",
    "ordered": "--ordered/--unordered",
}
# Keywords that mean these flags in the messages of every command.
_ALWAYS = {
    "detector": "--detector",
    "fold": "--fold",
    "unit": "--unit",
    "num_threads": "--threads",
    "media_root": "--media-root",
}
# What messages say to a program, and what a command's user does in its place.
_COMMANDS = {
    "overflow='pool'": "--overflow pool",
    "pipelines.embedding makes": "megaseg embed makes",
    "Pipeline.segment makes": "--checkpoint names another model, or megaseg segment makes",
}
MODEL_KEYWORDS = ("device", "compute_type", "backend", "overflow")  # of Engine.from_checkpoint
ThresholdOption = Annotated[
    float | None, typer.Option(help="Least P(boundary) of a boundary; default: the checkpoint's own.")
]
LengthOption = Annotated[int | None, typer.Option("--min-scene-length", help="Shortest scene, in shots.")]
ScenesOption = Annotated[int | None, typer.Option("--num-scenes", help="Exactly this many scenes.")]
OrderedOption = Annotated[
    bool | None,
    typer.Option(
        "--ordered/--unordered",
        help="Acts: turning points in increasing order (default where the movie is long enough), or each on its own.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Where results go: a file (.json, or of a format), a folder, or - for JSON on stdout."
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="Formats of files, several with commas: json, fcpxml, edl, ... (megaseg formats)."),
]


@contextmanager
def named_flags(*names: str, **others: str) -> Iterator[None]:
    """An error about a keyword names the flag in its place: of a decision, of ``names``, or another one's.

    ``others`` are flags by keyword, where a flag is not called as its keyword is.
    """
    try:
        yield
    except MegasegError as error:
        told = with_flags(str(error), *names, **others)
        if told == str(error):
            raise
        raise type(error)(told) from error


def with_flags(message: str, *names: str, **others: str) -> str:
    """A message with the flag in place of a keyword; arguments are those of ``named_flags``."""
    flags = FLAGS | {name: f"--{name.replace('_', '-')}" for name in names} | others
    told = _replaced(message, flags)
    for python, command in _COMMANDS.items():
        told = told.replace(python, command)
    return told


def _replaced(message: str, flags: Mapping[str, str]) -> str:
    keyword = rf"(^|: |\()({'|'.join(flags)})(?=: |\))"
    return re.sub(keyword, lambda found: found[1] + flags[found[2]], message, count=1)


def exact(value: float, flag: str) -> Fraction:
    """A number as it was typed.

    Raises:
        FeatureError: none that is finite.
    """
    if not math.isfinite(value):
        raise FeatureError(f"{flag}: expected a finite number, got {value}")
    return Fraction(str(value))


def require_folder(path: str | os.PathLike[str]) -> None:
    """Check before any work that an output can be a folder: no file, nor ``-`` (stdout), nor a place to read only.

    Raises:
        FeatureError: it cannot.
    """
    if os.fspath(path) == "-" or Path(path).is_file():
        raise FeatureError(f"--output: expected a folder, got {'-' if os.fspath(path) == '-' else f'the file {path}'}")
    require_writable(Path(path) / "any")


def require_writable(path: Path, flag: str = "--output") -> None:
    """Check before any work that a file can be made, its folders too where they are not there yet.

    Raises:
        FeatureError: it cannot.
    """
    there = next(folder for folder in path.parents if os.path.lexists(folder))
    if not there.is_dir():
        raise FeatureError(f"{flag}: expected a folder to write to, got {there}, which is none")
    if not os.access(there, os.W_OK | os.X_OK):
        raise FeatureError(f"{flag}: expected a folder that can be written to, got {there}, which is read-only")


def require_file(path: Path, *read: Path | None) -> None:
    """Check before any work that an output can be a checkpoint: no folder, nor ``-``, nor what is read.

    Args:
        path: of the output.
        read: files, and folders whose files are all read.

    Raises:
        FeatureError: it cannot.
    """
    if path == Path("-") or path.is_dir():
        raise FeatureError(
            f"--output: expected a file to write, got {'-' if path == Path('-') else f'the folder {path}'}"
        )
    if not path.parent.is_dir():
        raise FeatureError(f"--output: expected a file in a folder that is there, got {path}")
    if path.suffix.lower() != ".safetensors":
        raise FeatureError(f"--output: expected a .safetensors file, got {path}")
    require_writable(path)
    for source in read:
        if source is not None and source.resolve() in {path.resolve(), path.resolve().parent}:
            raise FeatureError(f"--output: expected another file than those that are read, {source}, got {path}")


def error_text(error: Exception) -> str:
    """An error's message with flags for keywords; of one of the system the file, and what was wrong with it."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        file = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
        return f"{file}: expected a file or folder that can be used, got: {error.strerror}"
    return _replaced(re.sub(r"\[Errno \d+\] ", "", str(error)), _ALWAYS)


def print_error(message: str) -> None:
    """One error on one line of stderr."""
    console.print(plain("error:", "bold red"), plain(message), soft_wrap=True)


def print_warnings(messages: Iterable[str]) -> None:
    """What the user should hear though the work went on, a line each on stderr."""
    for message in messages:
        console.print(plain("warning:", "bold yellow"), plain(message), soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout."""
    print(json.dumps(value), flush=True)


class _Description(ProgressColumn):
    def render(self, task: Task) -> Text:
        return plain(task.description)


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.3g} {self._unit}/s")


@contextmanager
def progress(description: str, total: int | None, unit: str = "") -> Iterator[Progress]:
    """A rich progress bar with one task (``advance(task_ids[0])``); nothing is drawn when stderr is not a terminal.

    With a ``unit``, such as titles, it shows how many a second.
    """
    columns: list[ProgressColumn] = [_Description(), BarColumn(), MofNCompleteColumn()]
    columns += [_Speed(unit)] * bool(unit) + [TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task(description, total=total)
        yield bar
