"""``megaseg compile``: a checkpoint with its exact rewrites done and its weights packed for one machine and type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import JsonOption, output, print_json
from megaseg.engine.artefact import compile_checkpoint
from megaseg.engine.checkpoint import load_checkpoint
from megaseg.engine.passes import PASSES
from megaseg.errors import UnsupportedError

TARGETS = ("cpu",)


def compile_model(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint file, or the name of a shipped one.")],
    output_path: Annotated[Path, typer.Option("--output", "-o", help="The compiled model to write (.mseg).")],
    target: Annotated[str, typer.Option(help="What runs it: cpu.")] = "cpu",
    compute_type: Annotated[str, typer.Option(help="auto, float32, bfloat16 or int8.")] = "auto",
    isa: Annotated[
        str, typer.Option(help="A CPU target for machines that have less than this one; megaseg doctor lists them.")
    ] = "",
    passes: Annotated[bool, typer.Option(help="Whether to apply the exact rewrites.")] = True,
    json: JsonOption = False,
) -> None:
    """Compile a checkpoint. The file is mapped when loaded: processes on a machine share one copy of the weights."""
    if target not in TARGETS:
        raise UnsupportedError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
    chosen = tuple(PASSES) if passes else ()
    info = compile_checkpoint(
        load_checkpoint(checkpoint), output_path, compute_type=compute_type, target=isa, passes=chosen
    )
    report = {
        "file": str(output_path),
        "bytes": output_path.stat().st_size,
        "target": info.target,
        "compute_type": info.compute_type,
        "passes": list(info.passes),
    }
    if json:
        print_json(report)
    else:
        output.print(
            f"{output_path}: {report['bytes']:,} bytes for {info.target} in {info.compute_type}; "
            f"use it as a checkpoint: megaseg segment ... --checkpoint {output_path}",
            soft_wrap=True,
        )
