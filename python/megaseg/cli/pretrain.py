"""``megaseg pretrain``: films without labels to an encoder of shots."""

from __future__ import annotations

import dataclasses
import json as jsonlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, named_flags, print_json, progress, require_folder
from megaseg.cli.pretrain_scene_contrast import scene_contrast
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import ENCODER
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.split import feature_files

if TYPE_CHECKING:
    from megaseg.training.recipes.pretrain.config import PretrainConfig

app = typer.Typer(help="Learn from films without labels.", no_args_is_help=True)
app.command("scene-contrast")(scene_contrast)

Films = Annotated[list[Path], typer.Argument(help="Feature files, or folders of them; labels are not read.")]
Run = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run: encoder.safetensors and log.jsonl.")]
Config = Annotated[Path | None, typer.Option(help="JSON of PretrainConfig fields; default: the defaults.")]
Length = Annotated[int | None, typer.Option(help="Shots of a window.", min=2)]
Objective = Annotated[str | None, typer.Option(help="Masked prediction by contrast, cosine or regression.")]
Asked = Annotated[str | None, typer.Option(help="Tokens that masked prediction asks for: masked, or all.")]
Without = Annotated[list[str] | None, typer.Option(help="Leave out a loss: intra, inter or cross.")]
Splices = Annotated[
    float | None, typer.Option(help="Share of windows with places of elsewhere spliced in, to be found; default: 0.")
]
Epochs = Annotated[int | None, typer.Option(help="Most epochs; 0 writes the random weights of the seed.", min=0)]
BatchSize = Annotated[int | None, typer.Option(help="Windows of a batch.", min=1)]
Seed = Annotated[int | None, typer.Option(help="Overrides the config's seed.", min=0)]
Threads = Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)]


@app.command("contextualizer")
def contextualizer(
    films: Films,
    output: Run,
    config: Config = None,
    modalities: Annotated[str | None, typer.Option(help="Modalities to read, with commas; default: all.")] = None,
    without: Without = None,
    length: Length = None,
    objective: Objective = None,
    asked: Asked = None,
    splices: Splices = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seed: Seed = None,
    threads: Threads = 0,
    json: JsonOption = False,
) -> None:
    """Pretrain a contextualizer: what stands at a masked shot is told from the shots around it.

    Ends by the loss on held-out films. An interrupted run goes on after its last epoch when run again.
    """
    named = None if modalities is None else tuple(name.strip() for name in modalities.split(","))
    given: dict[str, Any] = {"modalities": named, "length": length, "objective": objective, "asked": asked}
    given |= {"epochs": epochs, "batch_size": batch_size, "seed": seed, "without": tuple(without or ()) or None}
    given |= {"splice_share": splices}
    _pretrain("contextualizer", films, output, config, given, threads, json)


@app.command("long-range")
def long_range(
    films: Films,
    output: Run,
    config: Config = None,
    video: Annotated[str | None, typer.Option(help="The modality in the place of video.")] = None,
    audio: Annotated[str | None, typer.Option(help="The modality in the place of audio.")] = None,
    language: Annotated[str | None, typer.Option(help="The modality of words or sentences.")] = None,
    without: Without = None,
    length: Length = None,
    objective: Objective = None,
    asked: Asked = None,
    splices: Splices = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seed: Seed = None,
    threads: Threads = 0,
    json: JsonOption = False,
) -> None:
    """Pretrain a long-range model: within each modality, between modalities, and across them.

    Ends by the loss on held-out films. An interrupted run goes on after its last epoch when run again.
    """
    given: dict[str, Any] = {"video": video, "audio": audio, "language": language}
    given |= {"length": length, "objective": objective, "asked": asked}
    given |= {"epochs": epochs, "batch_size": batch_size, "seed": seed, "without": tuple(without or ()) or None}
    given |= {"splice_share": splices}
    _pretrain("long_range", films, output, config, given, threads, json)


def _pretrain(
    family: str, inputs: list[Path], output: Path, config: Path | None, given: dict[str, Any], threads: int, json: bool
) -> None:
    require_folder(output)
    try:
        import torch

        from megaseg.training.recipes.pretrain.config import config_of
        from megaseg.training.recipes.pretrain.run import pretrain
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    settings = config_of(family)() if config is None else config_of(family).read(config)
    if settings.family != family:
        raise FeatureError(f"{config}: expected a config of family {family}, got one of {settings.family}")
    settings = dataclasses.replace(settings, **{name: value for name, value in given.items() if value is not None})
    movies = feature_files(*inputs)
    _tell_absent(movies, settings)
    if threads:
        torch.set_num_threads(threads)
    windows = sum(math.ceil(movie.num_shots / settings.length) for movie in movies.values()) * settings.epochs

    def report(line: dict[str, Any]) -> None:
        console.print(_line(line, settings.epochs), soft_wrap=True)

    roles = ("video", "audio", "language") if family == "long_range" else ()
    with progress("Pretraining (windows)", windows) as bar, named_flags(*roles, "batch_size"):
        notes = {"command": f"megaseg pretrain {family.replace('_', '-')} FILMS -o {output.name} --config CONFIG"}
        made = pretrain(movies, settings, output, report, lambda count: bar.advance(bar.task_ids[0], count), notes)
    training = jsonlib.loads(made.metadata["training"])
    if json:
        print_json({"encoder": str(output / ENCODER), **{name: training[name] for name in ("epochs", "validation")}})
    else:
        kept = f"weights of epoch {training['epochs']}" if training["epochs"] else "random weights"
        console.print(f"{output / ENCODER}: {kept}")


def _tell_absent(movies: dict[str, Features], settings: PretrainConfig) -> None:
    """Say which modalities some films do not have: such films add nothing to the losses that need them."""
    known = dict.fromkeys(name for movie in movies.values() for name in movie.modalities)
    for name in settings.modalities or known:
        absent = [film for film, movie in movies.items() if name not in movie.modalities]
        if absent:
            some = ", ".join(absent[:3]) + ", ..." * (len(absent) > 3)
            console.print(f"{len(absent)} of {len(movies)} films have no {name}: {some}", soft_wrap=True)


def _line(line: dict[str, Any], epochs: int) -> str:
    parts = "  ".join(f"{name} {value:.4f}" for name, value in line["train"].items())
    held = line.get("validation")
    return f"epoch {line['epoch'] + 1}/{epochs}  {parts}" + (f"  held out {held['loss']:.4f}" if held else "")
