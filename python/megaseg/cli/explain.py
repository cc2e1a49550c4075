"""``megaseg explain``: why a movie was divided as it was, as pictures, arrays and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from megaseg.cli.console import (
    MODEL_KEYWORDS,
    BackendOption,
    JsonOption,
    OrderedOption,
    ThreadsOption,
    ThresholdOption,
    named_flags,
    output,
    print_json,
    require_folder,
)
from megaseg.cli.inputs import hints, row_of
from megaseg.engine.inputs.feature_files import load_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.tasks.task import deciding_task
from megaseg.errors import FeatureError
from megaseg.pipelines import Pipeline, find_source
from megaseg.pipelines.pipeline import naming
from megaseg.pipelines.shipped import shipped_for
from megaseg.pipelines.sources import open_source
from megaseg.report.plots import plot_attention, plot_importance, plot_synchronisation


def explain(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A film, feature file or screenplay of one movie, or a sample's name."),
    ],
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for pictures, arrays and explanation.json.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            "-c",
            help="A checkpoint or compiled model, or the name of a shipped one.",
            show_default="the scene model shipped for such inputs",
        ),
    ] = None,
    threshold: ThresholdOption = None,
    ordered: OrderedOption = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Fusion attention too, as picture and .npz; extra train.")
    ] = False,
    shot: Annotated[
        int | None, typer.Option(help="Scene model: middle of --attention's window; default: the surest boundary.")
    ] = None,
    synopsis_checkpoint: Annotated[
        str | None, typer.Option(help="Synopsis model, to synchronise the movie with --sentences too; extra train.")
    ] = None,
    sentences: Annotated[str | None, typer.Option(help="Feature file of the synopsis: one row a sentence.")] = None,
    similarity: Annotated[
        float | None,
        typer.Option(help="Least cosine of a shot and a sentence that belong together (lambda); default: by density."),
    ] = None,
    band: Annotated[float, typer.Option(help="How far from the diagonal they may lie (xi).")] = 0.3,
    overflow: Annotated[
        str, typer.Option(help="A movie longer than an act model takes: error, or pool neighbouring shots.")
    ] = "error",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Show which modalities a movie's scenes (or turning points) rest on, and on request attention and synchronisation.

    Writes explanation.json and importance.png, and with their options attention and synchronisation as .png and .npz.
    """
    require_folder(folder)
    synopsis = _synopsis(synopsis_checkpoint, sentences, similarity)
    if shot is not None and not attention:
        raise FeatureError("--shot: expected with --attention")
    found = find_source(source)
    with naming(found):
        opened = open_source(found)
    checkpoint = checkpoint or shipped_for(opened)[0]
    with named_flags(*MODEL_KEYWORDS):
        pipeline = Pipeline.from_checkpoints([checkpoint], backend=backend, num_threads=threads, overflow=overflow)
    (engine,) = pipeline.engines
    with hints(pipeline, opened), named_flags(), naming(found):
        movie = pipeline.features(opened)
        result = engine.explain(movie, threshold=threshold, ordered=ordered)
    (track,) = result.segmentation.tracks.values()
    if shot is None and deciding_task(track.task, "explain").streams:  # a model of windows
        shot = int(track.scores.argmax())
    scores = matrix = None
    if attention:
        with named_flags("shot"):
            scores = inspection().attention_scores(checkpoint, movie, shot)
    if synopsis:
        with named_flags("band", "synopsis_checkpoint", act_checkpoint="--checkpoint", threshold="--similarity"):
            matrix = inspection().synchronisation(checkpoint, movie, *synopsis, band)
    folder.mkdir(parents=True, exist_ok=True)
    _draw(result, scores, matrix, folder, found.name, shot, band)
    with atomic_write(folder / "explanation.json") as temporary:
        temporary.write_text(result.to_json(indent=1) + "\n", encoding="utf-8")
    if json:
        print_json(result.to_dict())
    else:
        output.print(_table(result, found.name, row_of(found, pipeline)))
        output.print(f"written to {folder}", soft_wrap=True)


def _draw(
    result: Explanation,
    scores: Mapping[str, NDArray[np.float32]] | None,
    matrix: NDArray[Any] | None,
    folder: Path,
    name: str,
    shot: int | None,
    band: float,
) -> None:
    """Pictures, and the arrays of attention and synchronisation where there are any."""
    plot_importance(result, folder / "importance.png", title=f"{name}: importance of the modalities")
    if scores is not None:
        plot_attention(scores, folder / "attention.png", shot=shot, title=f"{name}: attention of the last fusion layer")
        _save(folder / "attention.npz", scores)
    if matrix is not None:
        plot_synchronisation(matrix, folder / "synchronisation.png", band=band, title=f"{name} and its synopsis")
        _save(folder / "synchronisation.npz", {"synchronisation": matrix})


def _synopsis(
    checkpoint: str | None, sentences: str | None, similarity: float | None
) -> tuple[str, Features, float | None] | None:
    if checkpoint is None and sentences is None and similarity is None:
        return None
    if checkpoint is None or sentences is None:
        raise FeatureError("--synopsis-checkpoint, --sentences: expected both, or neither (nor --similarity)")
    return checkpoint, load_features(sentences), similarity


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]


def _table(result: Explanation, name: str, row: str) -> Table:
    """Importance for each point, or for a track without points the means over its boundaries and over other shots."""
    (track,) = result.segmentation.tracks.values()
    table = Table(title=f"{name}: importance of the modalities", box=box.SIMPLE_HEAD)
    table.add_column("decision", no_wrap=True)
    table.add_column(row if track.points else f"{row}s", justify="right", no_wrap=True)
    for modality in result.modalities:
        table.add_column(modality, justify="right", no_wrap=True)
    names = np.array(result.names)
    for decision in dict.fromkeys(result.names):
        own = names == decision
        count = result.shots[own][0] if track.points else own.sum()
        shares = result.importance[own].mean(axis=0)
        table.add_row(decision, str(count), *(f"{share:.0%}" for share in shares))
    return table


def inspection() -> ModuleType:
    """``megaseg.models.inspection``, which imports torch: only what asks for it pays."""
    from megaseg.models import inspection as module

    return module
