"""``megaseg train head``: an encoder of shots and labels, or films alone, to a head."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, named_flags, print_json, progress, require_file
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.split import feature_files, labelled_files

if TYPE_CHECKING:
    from megaseg.engine.inputs.features import Features
    from megaseg.training.recipes.head.protocol import Head
    from megaseg.training.recipes.head.run import HeadEpoch, TrainedHead

LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="Labels of films, clips, shots or events (docs/heads.md).")
]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Leave out labels of films that have no features, rather than refuse them.")
]


def head(
    checkpoint: Annotated[str, typer.Argument(help="Encoder: a checkpoint of family contextualizer or long_range.")],
    folder: Annotated[Path, typer.Argument(help="Folder of feature files.")],
    kind: Annotated[
        str,
        typer.Option("--head", help="boundary, classify, regress, attributes, relation, roles, ordering or next-shot."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Head to write (.safetensors).")],
    labels: LabelsOption = None,
    validation: Annotated[
        Path | None, typer.Option(help="Folder of films that validate; default: a share of FOLDER, by name.")
    ] = None,
    validation_labels: Annotated[Path | None, typer.Option(help="Labels of the films that validate.")] = None,
    partial: PartialOption = False,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Train the encoder's weights, too.")] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train an encoder of these sizes that is drawn anew.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="JSON of HeadConfig fields; default: the defaults.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train a head on an encoder of shots, frozen unless told otherwise, stopping early on the validation films.

    A boundary head is written as a scene checkpoint of the encoder's family, for segment and eval scene. Interrupted,
    training goes on from OUTPUT.state when run again.
    """
    require_file(output)
    try:
        import torch

        from megaseg.training.recipes.head.config import HeadConfig
        from megaseg.training.recipes.head.registry import head_of
        from megaseg.training.recipes.head.run import Mode, Watch, train_head
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    with named_flags("head"):
        own = head_of(kind)
    settings = HeadConfig() if config is None else HeadConfig.read(config)
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    encoder = load_checkpoint(checkpoint)
    given = read_labels(own, labels), None if validation_labels is None else read_labels(own, validation_labels)
    train, judged, known = _films(own, folder, validation, given, partial, settings.validation_share)
    if threads:
        torch.set_num_threads(threads)
    state = output.with_name(f"{output.name}.state")
    with progress("Training", settings.epochs) as bar:

        def report(epoch: HeadEpoch) -> None:
            console.print(_line(own, epoch, settings.epochs))
            bar.advance(bar.task_ids[0])

        watch = Watch(state, report)
        trained = train_head(own, encoder, train, judged, settings, Mode(fine_tune, from_scratch), known, watch)
    mode = "from scratch" if from_scratch else "fine-tuned" if fine_tune else "frozen"
    _save(output, trained, checkpoint, {"encoder": mode, "films": list(train), "validation_films": list(judged)})
    state.unlink(missing_ok=True)
    figures = trained.best.validation or {}
    if json:
        print_json({"head": kind, "output": str(output), "epoch": trained.best.number + 1, **figures})
    else:
        console.print(f"{output}: {own.figure} {figures[own.figure]:.4f} on {len(judged)} validation films")


def read_labels(kind: type[Head], path: Path | None) -> Mapping[str, Any] | None:
    """Labels of a file for a head; None for a head that needs none.

    Raises:
        FeatureError: labels that the head cannot read, or none that it needs, or some that it does not.
    """
    if kind.needs_labels != (path is not None):
        raise FeatureError(f"--labels: expected {'a file' if kind.needs_labels else 'none'} for head {kind.kind}")
    return None if path is None else kind.read_labels(path)


def films_of(kind: type[Head], folder: Path) -> dict[str, Features]:
    """Films of a folder; those that have labels where the head learns these."""
    return labelled_files(folder) if kind.reads_film_labels else feature_files(folder)


def _films(
    kind: type[Head],
    folder: Path,
    validation: Path | None,
    labels: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
    partial: bool,
    share: float,
) -> tuple[dict[str, Features], dict[str, Features], dict[str, Any] | None]:
    """Films to train on, those that validate, and the labels of both."""
    from megaseg.training.recipes.head.data import require_films, split_films

    movies = films_of(kind, folder)
    others = movies if validation is None else films_of(kind, validation)
    train, judged = labels
    if not partial:
        for own, known in ((train, {**movies, **others}), (judged, others)):
            if own is not None:
                require_films(own, known, folder)
    named = [name for name in movies if train is None or name in train]
    held_out = [name for name in others if judged is None or name in judged]
    if validation is None and judged is None:
        named, held_out = split_films(named, share)
    elif judged is None and train is not None:
        held_out = [name for name in held_out if name in train]
    twice = sorted(set(named) & set(held_out))
    if twice:
        raise FeatureError(f"films: expected others to validate than to train on, got {', '.join(twice[:3])} in both")
    known = None if train is None else {**train, **(judged or {})}
    return {name: movies[name] for name in named}, {name: others[name] for name in held_out}, known


def _save(output: Path, trained: TrainedHead, checkpoint: str, notes: Mapping[str, Any]) -> None:
    """A head as its file, a boundary head as the scene model that it is with its encoder."""
    from megaseg.training.recipes.head.boundary import Boundary, scene_checkpoint
    from megaseg.training.recipes.head.file import save_head

    best = trained.best
    about = {"config": dataclasses.asdict(trained.config), **notes, "epochs": best.number + 1}
    about["validation"] = best.validation
    if not isinstance(trained.head, Boundary):
        save_head(output, trained, Path(checkpoint).resolve(), about)
        return
    made = scene_checkpoint(trained)
    save_checkpoint(output, Checkpoint(made.config, made.tensors, {"training": jsonlib.dumps(about)}))


def _line(kind: type[Head], epoch: HeadEpoch, epochs: int) -> str:
    figure = (epoch.validation or {})[kind.figure]
    return f"epoch {epoch.number + 1}/{epochs}  loss {epoch.loss:.4f}  {kind.figure} {figure:.4f}"
