"""``megaseg segment`` and ``megaseg redecide``: features or kept scores to scenes and acts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.table import Table

from megaseg.cli.console import (
    BackendOption,
    ComputeTypeOption,
    DeviceOption,
    JsonOption,
    OverflowOption,
    ThreadsOption,
    output,
    print_json,
    progress,
)
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.feature_files import load_features, resolve_features
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.results.movie import (
    MovieSegmentation,
    check_same_features,
    check_together,
    joined,
    on_shots,
    read_result,
)
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.features.extractor import UNITS, Extractor
from megaseg.features.recipe import sentence_vectors
from megaseg.features.screenplay.scenes import scene_features
from megaseg.features.screenplay.screenplay import Screenplay, read_screenplays

SCREENPLAYS = (".fountain", ".txt", ".jsonl", ".jsonl.gz")

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
Result = Segmentation | MovieSegmentation
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where results go: a .json file, or a folder.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Picture of scores and boundaries (.png, .svg); extra plot.")
]


def segment(
    inputs: Annotated[
        list[str], typer.Argument(help="Feature files or screenplays, folders of feature files, or a sample's name.")
    ],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            "-c",
            help="A checkpoint, compiled model or shipped name; a scene and an act model together give one result.",
            show_default="screenplay-scenes",
        ),
    ] = None,
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = None,
    output_path: OutputOption = None,
    plot: PlotOption = None,
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    overflow: OverflowOption = "error",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Find scenes, acts, or both, from features of movies or from screenplays (Fountain, plain text, JSONL).

    Prints a table, or with --json one result a line.
    """
    movies = [movie for name in inputs for movie in _movies(name)]
    targets = _targets([name for name, _ in movies], output_path)
    if plot is not None and len(movies) > 1:
        raise FeatureError(f"--plot: expected one movie, got {len(movies)}")
    names = checkpoint or ["screenplay-scenes"]
    engines = [
        Engine.from_checkpoint(
            given,
            device=device,
            compute_type=compute_type,
            num_threads=threads,
            backend=backend,
            overflow=overflow,
        )
        for given in names
    ]
    configs = [engine.config for engine in engines]
    check_together(configs, names)
    extractor = Extractor()
    decision: dict[str, Any] = {
        "threshold": threshold,
        "min_scene_length": 1 if min_scene_length is None else min_scene_length,
        "num_scenes": num_scenes,
        "ordered": ordered,
    }
    with progress("segmenting", len(movies)) as bar:
        for (name, movie), target in zip(movies, targets, strict=True):
            play = movie if isinstance(movie, Screenplay) else None
            if isinstance(movie, Screenplay):
                result = segment_screenplay(engines, movie, extractor, **decision)
            else:
                check_same_features(configs, str(movie))
                result = joined([engine.segment(load_features(movie), **decision) for engine in engines])
            _deliver(result, name, target, plot, json, play)
            bar.advance(bar.task_ids[0])


def redecide(
    result: Annotated[Path, typer.Argument(help="A result that megaseg segment wrote.", exists=True, dir_okay=False)],
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = None,
    output_path: OutputOption = None,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Decide again on a result's kept scores, without running the model."""
    try:
        kept = read_result(result.read_text(encoding="utf-8"))
    except (FeatureError, UnicodeDecodeError) as error:
        raise FeatureError(f"{result}: {error}") from error
    changed = kept.redecide(
        threshold=threshold, min_scene_length=min_scene_length, num_scenes=num_scenes, ordered=ordered
    )
    _deliver(changed, result.stem, output_path, plot, json)


def segment_screenplay(engines: list[Engine], play: Screenplay, extractor: Extractor, **decision: Any) -> Result:
    """A screenplay's scenes and acts in blocks.

    An act model of scenes reads those that the scene model has found; without a scene model, those that the source
    names.

    Raises:
        FeatureError: an act model alone, and a source that names no scenes.
    """
    wanted = {UNITS["scene"] if engine.config.recipe == UNITS["scene"] else UNITS["block"] for engine in engines}
    blocks = extractor.features(play) if UNITS["block"] in wanted else None
    results: list[Segmentation] = []
    for engine in sorted(engines, key=lambda engine: engine.config.task, reverse=True):  # the scene model first
        if engine.config.recipe != UNITS["scene"] and blocks is not None:
            results.append(engine.segment(blocks, **decision))
            continue
        if results:
            last = np.zeros(len(play.blocks), bool)
            last[[scene.last_shot for scene in results[0].scenes]] = True
        elif play.scenes is not None:
            last = np.append(np.diff(play.scenes) > 0, True)
        else:
            raise FeatureError(
                f"{play.name}: expected a screenplay that names its scenes, got one that names none; "
                "--checkpoint screenplay-scenes as well finds them first"
            )
        scenes = np.cumsum(last) - last
        vectors = extractor.vectors(play) if blocks is None else sentence_vectors(blocks)
        acts = engine.segment(scene_features(play, vectors, scenes, int(last.sum())), **decision)
        results.append(on_shots(acts, np.flatnonzero(last)))
    return joined(results)


def _movies(name: str) -> list[tuple[str, Path | Screenplay]]:
    """Name and source of each movie behind one argument."""
    path = Path(name)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in {".npz", ".safetensors"})
        if not files:
            raise FeatureError(f"{path}: expected .npz or .safetensors feature files in the folder, got none")
        return [(file.stem, file) for file in files]
    if name.endswith(SCREENPLAYS):
        return [(play.name, play) for play in read_screenplays(path)]
    file = resolve_features(name)
    return [(file.stem, file)]


def _targets(names: list[str], output_path: Path | None) -> list[Path | None]:
    """The JSON file of each movie: the given one, or one a movie in the given folder."""
    if output_path is None:
        return [None] * len(names)
    if output_path.suffix == ".json":
        if len(names) > 1:
            raise FeatureError(f"{output_path}: expected a folder for {len(names)} movies, got a .json file")
        return [output_path]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeatureError(f"{output_path}: expected movies of different names, got two of {', '.join(twice)}")
    return [output_path / f"{name.replace('/', '_')}.json" for name in names]


def _deliver(
    result: Result, name: str, target: Path | None, plot: Path | None, json: bool, play: Screenplay | None = None
) -> None:
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            temporary.write_text(result.to_json(indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        if isinstance(result, MovieSegmentation):
            from megaseg.report.movie_plots import plot_movie

            plot_movie(result, plot, title=name)
        else:
            from megaseg.report.plots import plot_segmentation

            plot_segmentation(result, plot, title=name)
    if json:
        print_json(result.to_dict())
        return
    for part in (result.scene, result.act) if isinstance(result, MovieSegmentation) else (result,):
        output.print(_table(part, name, play))


def _table(result: Segmentation, name: str, play: Screenplay | None) -> Table:
    kind, segments = ("scene", result.scenes) if result.task == "scene" else ("act", result.acts)
    table = Table(title=f"{name}: {len(segments)} {kind}s in {result.num_shots} shots", box=box.SIMPLE_HEAD)
    table.add_column(kind, no_wrap=True)
    for column in ["first", "last", "shots"] + ["start", "end"] * (result.times is not None) + ["score"]:
        table.add_column(column, justify="right", no_wrap=True)
    if play:
        table.add_column("begins", no_wrap=True)
    elif result.scenes:
        table.add_column("", style="cyan", no_wrap=True)
    for number, part in enumerate(segments, start=1):
        shots = (part.first_shot, part.last_shot, part.last_shot - part.first_shot + 1)
        clocks = _clocks(result, part.start_ticks, part.end_ticks)
        last = (
            play.blocks[part.first_shot].text[: 32 if result.scenes else 20]
            if play
            else "━" * round((12 if result.scenes else 6) * part.score)
        )
        table.add_row(str(number), *map(str, shots), *clocks, f"{part.score:.3f}", last)
    for point in result.turning_points:
        start = None if result.times is None else int(result.times[point.shot, 0])
        clock = [*_clocks(result, start), ""] if result.times is not None else []
        table.add_row(point.name, str(point.shot), "", "", *clock, f"{point.score:.3f}", style="bold")
    return table


def _clocks(result: Segmentation, *ticks: int | None) -> list[str]:
    return [_clock(result.seconds(tick)) for tick in ticks if tick is not None]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02}:{rest:04.1f}"
