"""``megaseg segment`` and ``megaseg redecide``: features or kept scores to scenes and acts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from megaseg.cli.console import (
    BackendOption,
    CheckpointOption,
    JsonOption,
    ThreadsOption,
    output,
    print_json,
    progress,
)
from megaseg.engine.engine import Engine
from megaseg.engine.features import resolve_features
from megaseg.engine.files import atomic_write
from megaseg.engine.segmentation import Segment, Segmentation, TurningPoint
from megaseg.errors import FeatureError

ThresholdOption = Annotated[
    float | None, typer.Option(help="Least P(boundary) of a boundary; default: the checkpoint's own.")
]
LengthOption = Annotated[int | None, typer.Option("--min-scene-length", help="Shortest scene, in shots.")]
ScenesOption = Annotated[int | None, typer.Option("--num-scenes", help="Exactly this many scenes.")]
OrderedOption = Annotated[bool, typer.Option("--ordered", help="Acts: turning points in increasing order.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="JSON file; with several inputs, a folder.")]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Picture of scores and boundaries (.png, .svg); extra plot.")
]


def segment(
    inputs: Annotated[list[str], typer.Argument(help="Feature files, folders of them, or the name of a sample.")],
    checkpoint: CheckpointOption = "screenplay-scenes",
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = False,
    output_path: OutputOption = None,
    plot: PlotOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compute_type: Annotated[str, typer.Option(help="auto, float32 or float64.")] = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Find the scenes (or acts) of movies from their features.

    Prints a table, or with --json one result a line.
    """
    files = [file for name in inputs for file in _feature_files(name)]
    if plot is not None and len(files) > 1:
        raise FeatureError(f"--plot: expected one input, got {len(files)}")
    engine = Engine.from_checkpoint(
        checkpoint, device=device, compute_type=compute_type, num_threads=threads, backend=backend
    )
    with progress("segmenting", len(files)) as bar:
        for file in files:
            result = engine.segment(
                file,
                threshold=threshold,
                min_scene_length=1 if min_scene_length is None else min_scene_length,
                num_scenes=num_scenes,
                ordered=ordered,
            )
            target = output_path / f"{file.stem}.json" if output_path and len(files) > 1 else output_path
            _deliver(result, file.stem, target, plot, json)
            bar.advance(bar.task_ids[0])


def redecide(
    result: Annotated[Path, typer.Argument(help="A result that megaseg segment wrote.", exists=True, dir_okay=False)],
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: Annotated[
        bool | None, typer.Option("--ordered/--unordered", help="Acts: order of turning points.")
    ] = None,
    output_path: OutputOption = None,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Decide again on a result's kept scores, without running the model."""
    try:
        kept = Segmentation.from_json(result.read_text(encoding="utf-8"))
    except (FeatureError, UnicodeDecodeError) as error:
        raise FeatureError(f"{result}: {error}") from error
    changed = kept.redecide(
        threshold=threshold, min_scene_length=min_scene_length, num_scenes=num_scenes, ordered=ordered
    )
    _deliver(changed, result.stem, output_path, plot, json)


def _feature_files(name: str) -> list[Path]:
    path = Path(name)
    if not path.is_dir():
        return [resolve_features(name)]
    files = sorted(file for file in path.iterdir() if file.suffix in {".npz", ".safetensors"})
    if not files:
        raise FeatureError(f"{path}: expected .npz or .safetensors feature files in the folder, got none")
    return files


def _deliver(result: Segmentation, name: str, target: Path | None, plot: Path | None, json: bool) -> None:
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            temporary.write_text(result.to_json(indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        from megaseg.export.plot import plot_segmentation

        plot_segmentation(result, plot, title=name)
    if json:
        print_json(result.to_dict())
    else:
        output.print(_table(result, name))


def _table(result: Segmentation, name: str) -> Table:
    kind, segments = ("scene", result.scenes) if result.task == "scene" else ("act", result.acts)
    table = Table(title=f"{name}: {len(segments)} {kind}s in {result.num_shots} shots", box=box.SIMPLE_HEAD)
    table.add_column(kind, no_wrap=True)
    for column in ["first", "last", "shots"] + ["start", "end"] * (result.times is not None) + ["score"]:
        table.add_column(column, justify="right", no_wrap=True)
    if result.task == "scene":
        table.add_column("", style="cyan", no_wrap=True)
    for number, part in enumerate(segments, start=1):
        shots = (part.first_shot, part.last_shot, part.last_shot - part.first_shot + 1)
        clocks = _clocks(result, part.start_ticks, part.end_ticks)
        table.add_row(str(number), *map(str, shots), *clocks, *_score(part, bar=not result.acts))
    for point in result.turning_points:
        start = None if result.times is None else int(result.times[point.shot, 0])
        clock = [*_clocks(result, start), ""] if result.times is not None else []
        table.add_row(point.name, str(point.shot), "", "", *clock, *_score(point), style="bold")
    return table


def _clocks(result: Segmentation, *ticks: int | None) -> list[str]:
    return [_clock(result.seconds(tick)) for tick in ticks if tick is not None]


def _score(part: Segment | TurningPoint, bar: bool = False) -> list[str]:
    return [f"{part.score:.3f}"] + ["━" * round(12 * part.score)] * bar


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02}:{rest:04.1f}"
