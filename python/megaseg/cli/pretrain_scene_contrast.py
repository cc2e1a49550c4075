"""``megaseg pretrain scene-contrast``: scenes that similar movies share to an encoder of scenes."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import JsonOption, console, named_flags, print_json, progress, require_folder
from megaseg.engine.model.checkpoint import ENCODER
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.split import feature_files
from megaseg.pipelines.embedding import encoder_sha256
from megaseg.pipelines.mined_pairs import MinedPairs, read_mined


def scene_contrast(
    films: Annotated[list[Path], typer.Argument(help="Feature files, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run: encoder.safetensors, log.jsonl.")],
    pairs: Annotated[Path | None, typer.Option(help="Scene pairs of megaseg mine-pairs (.npz).")] = None,
    halves: Annotated[
        bool, typer.Option("--halves", help="Halves of labelled scenes as positives, in place of --pairs.")
    ] = False,
    mined_by: Annotated[
        Path | None, typer.Option(help="Refuse scene pairs that another encoder than this one found.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="JSON of SceneContrastConfig fields.")] = None,
    modalities: Annotated[str | None, typer.Option(help="Modalities to read, with commas; default: all.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs; 0 writes random weights.", min=0)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Scene pairs of a batch.", min=1)] = None,
    queue_size: Annotated[int | None, typer.Option(help="Most keys kept as negatives.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the config's seed.", min=0)] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes every core.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Pretrain an encoder of scenes: mined pairs close together, scenes of other movies apart.

    Ends by the loss between held-out films. An interrupted run goes on after its last epoch when run again.
    """
    require_folder(output)
    try:
        import torch

        from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig
        from megaseg.training.recipes.scene_contrast.run import pretrain_scene_contrast
    except ImportError as error:
        raise UnsupportedError(f"training needs {error.name}: pip install 'megaseg[train]'") from error
    mined = _read(pairs, halves, mined_by)
    settings = SceneContrastConfig() if config is None else SceneContrastConfig.read(config)
    named = None if modalities is None else tuple(name.strip() for name in modalities.split(","))
    given: dict[str, Any] = {"modalities": named, "epochs": epochs, "batch_size": batch_size, "seed": seed}
    given |= {"queue_size": queue_size, "positives": "halves" if halves else "pairs"}
    settings = dataclasses.replace(settings, **{name: value for name, value in given.items() if value is not None})
    movies = feature_files(*films)
    if threads:
        torch.set_num_threads(threads)
    count = None if mined is None else min(len(mined), settings.pairs_per_epoch or len(mined)) * settings.epochs
    source = "--halves" if mined is None else "--pairs PAIRS"
    notes = {"command": f"megaseg pretrain scene-contrast FILMS {source} -o {output.name} --config CONFIG"}

    def report(line: dict[str, Any]) -> None:
        console.print(_line(line, settings.epochs), soft_wrap=True)

    with progress("Pretraining (scene pairs)", count) as bar, _named(pairs, "batch_size"):
        made = pretrain_scene_contrast(
            movies, mined, settings, output, report, lambda done: bar.advance(bar.task_ids[0], done), notes
        )
    training = jsonlib.loads(made.metadata["training"])
    if json:
        print_json({"encoder": str(output / ENCODER), **{name: training[name] for name in ("epochs", "validation")}})
    else:
        kept = f"weights of epoch {training['epochs']}" if training["epochs"] else "random weights"
        console.print(f"{output / ENCODER}: {kept}")


def _read(pairs: Path | None, halves: bool, mined_by: Path | None) -> MinedPairs | None:
    """The scene pairs, where halves of scenes do not take their place."""
    if (pairs is None) != halves:
        raise typer.BadParameter("give either --pairs or --halves")
    if pairs is None:
        if mined_by is not None:
            raise FeatureError("--mined-by: expected --pairs with it, got --halves")
        return None
    mined = read_mined(pairs)
    if mined_by is not None:
        with _named(pairs):
            mined.require_encoder(encoder_sha256(mined_by))
    return mined


def _named(pairs: Path | None, *names: str) -> AbstractContextManager[None]:
    """Errors about scene pairs name their file."""
    return named_flags(*names, **{"scene pairs": f"--pairs: {pairs}"})


def _line(line: dict[str, Any], epochs: int) -> str:
    held = line.get("validation")
    told = (
        f"  held out {held['loss']:.4f}, partner nearest {held['accuracy']:.1%}"
        if held
        else "  no pair of held-out films"
    )
    return f"epoch {line['epoch'] + 1}/{epochs}  loss {line['train']['loss']:.4f}{told}"
