"""What every command shares: streams, progress bars, options and JSON. Results on stdout, all else on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from megaseg.errors import FeatureError

DEFAULT = "screenplay-scenes"  # the shipped checkpoint of commands that are given none
console = Console(stderr=True)
output = Console()

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
CheckpointOption = Annotated[
    str, typer.Option("--checkpoint", "-c", help="A checkpoint or compiled model, or the name of a shipped one.")
]
ThreadsOption = Annotated[int, typer.Option("--threads", help="Threads; 0 takes every core.", min=0)]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
ComputeTypeOption = Annotated[
    str,
    typer.Option("--compute-type", help="auto, float32, bfloat16, int8 (CPU) or float16 (cuda, onnx, plan)."),
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
        show_default=DEFAULT,
    ),
]
# Keywords of decisions, and the flags that give them.
FLAGS = {
    "threshold": "--threshold",
    "min_scene_length": "--min-scene-length",
    "num_scenes": "--num-scenes",
    "ordered": "--ordered/--unordered",
}
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
    Path | None, typer.Option("--output", "-o", help="Where results go: a .json file, or a folder.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Picture of scores and boundaries (.png, .svg); extra plot.")
]


@contextmanager
def named_flags() -> Iterator[None]:
    """An error about a decision's keyword names the flag in its place."""
    try:
        yield
    except FeatureError as error:
        name, _, rest = str(error).partition(": ")
        if name not in FLAGS:
            raise
        raise FeatureError(f"{FLAGS[name]}: {rest}") from error


def print_warnings(messages: Iterable[str]) -> None:
    """What the user should hear though the work went on, a line each on stderr, as it stands."""
    for message in messages:
        plain = "".join(letter if letter.isprintable() else "?" for letter in message)
        console.print(Text.assemble(("warning:", "bold yellow"), f" {plain}"), soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout."""
    print(json.dumps(value), flush=True)


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
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [_Speed(unit)] * bool(unit) + [TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task(description, total=total)
        yield bar
