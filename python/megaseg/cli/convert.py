"""``megaseg convert``: a torch state dict, or a folder of sentence-transformers, to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from megaseg.cli.console import JsonOption, console, print_json
from megaseg.cli.info import describe_checkpoint
from megaseg.errors import CheckpointError
from megaseg.features.text.pretrained import MINILM


def convert(
    source: Annotated[
        Path, typer.Argument(help=f"A torch file with a state dict, a folder of a text encoder, or {MINILM}.")
    ],
    target: Annotated[Path, typer.Argument(help="The .safetensors checkpoint to write.")],
    config: Annotated[
        Path | None,
        typer.Option(help="JSON config of a state dict's model.", exists=True, dir_okay=False),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Prefix to strip from every name, besides module. and its like.")] = "",
    storage: Annotated[str, typer.Option(help="F32 or F16: how weights are stored.")] = "F32",
    json: JsonOption = False,
) -> None:
    """Make a checkpoint from a torch state dict, read with weights_only, so that no code of the file ever runs.

    A folder holds a BERT text encoder as sentence-transformers and Hugging Face write it: config.json,
    model.safetensors and tokenizer.json.
    """
    from megaseg.deploy.convert import NamesError, convert_encoder, convert_state_dict

    if target.suffix.lower() != ".safetensors":
        raise CheckpointError(f"{target}: expected a name that ends in .safetensors")
    if storage not in ("F32", "F16"):
        raise CheckpointError(f"--storage: expected F32 or F16, got {storage!r}")
    folder = source.is_dir() or str(source) == MINILM
    if folder == (config is not None) or not (folder or source.is_file()):
        got = "a folder" if folder else "a file" if source.is_file() else "nothing"
        raise CheckpointError(
            f"{source}: expected a state dict's file with --config, or a text encoder's folder without, got {got} "
            f"{'with' if config else 'without'} --config"
        )
    try:
        if config is None:
            convert_encoder(source, target, storage=storage)
        else:
            convert_state_dict(source, target, config, prefix=prefix, storage=storage)
    except NamesError as error:
        _print_names(error)
        raise
    report = describe_checkpoint(target)
    if json:
        print_json(report)
    else:
        console.print(f"{target}: {report['parameters']:,} parameters, sha256 {report['sha256'][:16]}")


def _print_names(error: Any) -> None:
    table = Table(title="names that do not fit the config")
    for column in ("tensor", "expected", "got"):
        table.add_column(column)
    for name, expected, got in error.rows:
        table.add_row(name, expected, got)
    console.print(table)
