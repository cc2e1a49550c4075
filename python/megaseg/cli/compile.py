"""``megaseg compile``: a checkpoint with its exact rewrites done and its weights packed for one machine and type."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import JsonOption, output, print_json
from megaseg.engine.artefact import compile_checkpoint
from megaseg.engine.checkpoint import Checkpoint, load_checkpoint
from megaseg.engine.passes import PASSES
from megaseg.engine.tensorrt_plan import Profile
from megaseg.errors import UnsupportedError

TARGETS = ("cpu", "tensorrt")


def compile_model(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint file, or the name of a shipped one.")],
    output_path: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .mseg, or .plan.")],
    target: Annotated[str, typer.Option(help="What runs it: cpu, or tensorrt on this machine's GPU.")] = "cpu",
    compute_type: Annotated[
        str, typer.Option(help="auto, float32, bfloat16, int8 (cpu) or float16 (tensorrt, its auto).")
    ] = "auto",
    isa: Annotated[
        str, typer.Option(help="A CPU target for machines that have less than this one; megaseg doctor lists them.")
    ] = "",
    passes: Annotated[bool, typer.Option(help="Whether to apply the exact rewrites.")] = True,
    windows: Annotated[int, typer.Option(help="TensorRT, scene models: windows of a batch to tune for.")] = 256,
    max_windows: Annotated[
        int | None, typer.Option(help="TensorRT, scene models: most windows of a batch; by default four times as many.")
    ] = None,
    movies: Annotated[int, typer.Option(help="TensorRT, act models: most movies of equal length in a batch.")] = 1,
    workspace: Annotated[
        int | None, typer.Option(help="TensorRT: MiB that a layer may take while it runs.", min=1)
    ] = None,
    attention: Annotated[
        str, typer.Option(help="TensorRT: onnx (standard operators) or plugin (our Triton kernel; TensorRT 10.9).")
    ] = "onnx",
    json: JsonOption = False,
) -> None:
    """Compile a checkpoint. The file is mapped when loaded: processes on a machine share one copy of the weights."""
    if target not in TARGETS:
        raise UnsupportedError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
    chosen = tuple(PASSES) if passes else ()
    if target == "tensorrt":
        if isa:
            raise UnsupportedError(f"isa: expected none for target tensorrt, got {isa!r}")
        model = load_checkpoint(checkpoint)
        profile = Profile.of(model.config, windows, max_windows, movies)
        limit = None if workspace is None else workspace << 20
        options = {"profile": profile, "workspace": limit, "attention": attention}
        report = _tensorrt(model, output_path, compute_type, chosen, options)
    else:
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
            f"{output_path}: {report['bytes']:,} bytes for {report['target']} in {report['compute_type']}; "
            f"use it as a checkpoint: megaseg segment ... --checkpoint {output_path}",
            soft_wrap=True,
        )


def _tensorrt(
    model: Checkpoint, path: Path, compute_type: str, passes: tuple[str, ...], options: dict[str, Any]
) -> dict[str, Any]:
    from megaseg.engine.backends.tensorrt import compile_plan

    info = compile_plan(model, path, compute_type=compute_type, passes=passes, **options)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "target": f"TensorRT {info.tensorrt}, {info.gpu}",
        "compute_type": info.compute_type,
        "passes": list(info.passes),
        "attention": info.attention,
        "profile": dataclasses.asdict(info.profile),
    }
