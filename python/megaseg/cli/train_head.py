"""``megaseg train head``: an encoder of shots and labels, or films alone, to a head."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, named_flags, print_json, progress, require_file
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint, save_checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.split import feature_files, labelled_files
from megaseg.training.recipes.head.data import require_films, split_films

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


@dataclasses.dataclass(frozen=True, slots=True)
class _Films:
    """Films to train on, films that validate, and the labels of both."""

    train: dict[str, Features]
    validation: dict[str, Features]
    labels: dict[str, Any] | None


def head(
    checkpoint: Annotated[Path, typer.Argument(help="Encoder: a checkpoint, or the folder of a pretraining run.")],
    folder: Annotated[Path, typer.Argument(help="Folder of feature files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Head to write (.safetensors).")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--head",
            help="boundary, classify, regress, tags, attributes, relation, roles, ordering, next-shot or retrieval; "
            "default: the preset's.",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Published settings, such as lvu-place, boundary, places (docs/heads.md).")
    ] = None,
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
    config: Annotated[
        Path | None, typer.Option(help="JSON of HeadConfig fields; others: the preset's, or the defaults.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Train a head on an encoder of shots, frozen unless told otherwise, stopping early on the validation films.

    A boundary head is written as a scene checkpoint of the encoder's family, for segment and eval scene; retrieval, as
    the encoder that it trained, for eval retrieval. Interrupted, training goes on from OUTPUT.state when run again.
    """
    checkpoint = resolve_checkpoint(checkpoint)
    require_file(output, checkpoint, folder, validation)
    try:
        import torch

        from megaseg.training.recipes.head.config import HeadConfig
        from megaseg.training.recipes.head.presets import asked
        from megaseg.training.recipes.head.registry import head_of
        from megaseg.training.recipes.head.run import Mode, Watch, train_head
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    with named_flags("head", "preset", "fine_tune", "from_scratch"):
        published = asked(kind, preset)
        own = head_of(published.head)
        mode = Mode(fine_tune, from_scratch)
    settings = published.config if config is None else HeadConfig.read(config, published.config)
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    encoder = load_checkpoint(checkpoint)
    films = _films(own, (folder, validation), (labels, validation_labels), partial, settings.validation_share)
    published.check(films.labels)
    if threads:
        torch.set_num_threads(threads)
    state = output.with_name(f"{output.name}.state")
    with progress("Training", settings.epochs) as bar:

        def report(epoch: HeadEpoch) -> None:
            console.print(_line(own, epoch, settings.epochs))
            bar.advance(bar.task_ids[0])

        watch = Watch(state, report)
        trained = train_head(own, encoder, films.train, films.validation, settings, mode, films.labels, watch)
    named = {"films": list(films.train), "validation_films": list(films.validation)}
    _save(output, trained, checkpoint, {"encoder": str(mode), **named})
    state.unlink(missing_ok=True)
    figures = trained.best.validation or {}
    if json:
        print_json({"head": own.kind, "output": str(output), "epoch": trained.best.number + 1, **figures})
    else:
        console.print(f"{output}: {own.figure} {figures[own.figure]:.4f} on {len(films.validation)} validation films")


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
    folders: tuple[Path, Path | None],
    files: tuple[Path | None, Path | None],
    partial: bool,
    share: float,
) -> _Films:
    """Films to train on and those that validate, of folders and files of labels for each, or a share of the first."""
    labels = read_labels(kind, files[0])
    judged = labels if files[1] is None else read_labels(kind, files[1])
    train = films_of(kind, folders[0])
    others = train if folders[1] is None else films_of(kind, folders[1])
    if not partial:
        for path, own, movies in ((files[0], labels, {**train, **others}), (files[1], judged, others)):
            if path is not None and own is not None:
                require_films(own, movies, path)
    named, held_out = _known(train, labels), _known(others, judged)
    if folders[1] is None and files[1] is None:
        named, held_out = split_films(named, share)
    twice = ", ".join(sorted(set(named) & set(held_out))[:3])
    if twice:
        raise FeatureError(f"films: expected others to validate than to train on, got {twice} in both")
    every = None if labels is None else {**labels, **(judged or {})}
    return _Films({name: train[name] for name in named}, {name: others[name] for name in held_out}, every)


def _known(movies: Mapping[str, Features], labels: Mapping[str, Any] | None) -> list[str]:
    return [name for name in movies if labels is None or name in labels]


def _save(output: Path, trained: TrainedHead, checkpoint: Path, notes: Mapping[str, Any]) -> None:
    """A head as its file; a boundary head as a scene model, a retrieval head as the encoder that it trained."""
    from megaseg.training.recipes.head.boundary import Boundary, scene_checkpoint
    from megaseg.training.recipes.head.file import save_head
    from megaseg.training.recipes.head.retrieval import Retrieval

    best = trained.best
    about = {"config": dataclasses.asdict(trained.config), **notes, "epochs": best.number + 1}
    about["validation"] = best.validation
    if isinstance(trained.head, Retrieval):
        made = trained.encoder
    elif isinstance(trained.head, Boundary):
        made = scene_checkpoint(trained)
    else:
        save_head(output, trained, checkpoint.resolve(), about)
        return
    save_checkpoint(output, Checkpoint(made.config, made.tensors, {"training": jsonlib.dumps(about)}))


def _line(kind: type[Head], epoch: HeadEpoch, epochs: int) -> str:
    figure = (epoch.validation or {})[kind.figure]
    return f"epoch {epoch.number + 1}/{epochs}  loss {epoch.loss:.4f}  {kind.figure} {figure:.4f}"
