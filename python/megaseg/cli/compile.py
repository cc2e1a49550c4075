"""``megaseg compile``: a checkpoint with its exact rewrites done: packed for a CPU, as ONNX, or built for a GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import JsonOption, output, print_json
from megaseg.engine.backends.native.artefact import compile_checkpoint, is_artefact, read_info
from megaseg.engine.backends.onnx.file import OPSET, export_checkpoint, is_onnx
from megaseg.engine.backends.tensorrt.plan import Profile, is_plan
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from megaseg.errors import UnsupportedError

TARGETS = {"cpu": ".mseg", "onnx": ".onnx", "tensorrt": ".plan"}  # and the suffix of their files


def compile_model(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint file, or the name of a shipped one.")],
    output_path: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .mseg, .onnx or .plan.")],
    target: Annotated[
        str, typer.Option(help="cpu (this engine), onnx (any ONNX runtime) or tensorrt (this machine's GPU).")
    ] = "cpu",
    compute_type: Annotated[
        str,
        typer.Option(
            help="float32, bfloat16, int8, int8_float32, int8_bfloat16 (cpu), float16 (onnx, tensorrt), "
            "or auto: the target's own."
        ),
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
    """Compile a checkpoint: for this engine, whose processes share the weights, for ONNX or for TensorRT."""
    if target not in TARGETS:
        raise UnsupportedError(f"--target: expected one of {', '.join(TARGETS)}, got {target!r}")
    if isa and target != "cpu":
        raise UnsupportedError(f"--isa: expected none for target {target}, got {isa!r}")
    if output_path.suffix.lower() != TARGETS[target]:
        raise UnsupportedError(
            f"--output: expected a name that ends in {TARGETS[target]} for target {target}, got {output_path}"
        )
    chosen = tuple(PASSES) if passes else ()
    model = _checkpoint(resolve_checkpoint(checkpoint))
    if target == "onnx":
        report = _onnx(model, output_path, compute_type, chosen)
    elif target == "tensorrt":
        profile = Profile.of(model.config, windows, max_windows, movies)
        limit = None if workspace is None else workspace << 20
        options = {"profile": profile, "workspace": limit, "attention": attention}
        report = _tensorrt(model, output_path, compute_type, chosen, options)
    else:
        info = compile_checkpoint(model, output_path, compute_type=compute_type, target=isa, passes=chosen)
        report = {"target": info.target, "compute_type": info.compute_type}
    report = {"file": str(output_path), "bytes": output_path.stat().st_size, "passes": list(chosen), **report}
    if json:
        print_json(report)
        return
    output.print(
        f"{output_path}: {report['bytes']:,} bytes for {report['target']} in {report['compute_type']}; "
        "use it as a checkpoint",
        soft_wrap=True,
    )
    for key in ("inputs", "outputs"):
        for name, (kind, *sizes) in report.get(key, {}).items():
            output.print(f"  {key[:-1]} {name}: {kind} {sizes}", soft_wrap=True)


def _checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint; a compiled model is none."""
    if is_artefact(path):
        own = read_info(path)
        raise UnsupportedError(
            f"{path}: expected a checkpoint, got a model that is compiled already, for {own.target} in "
            f"{own.compute_type}"
        )
    if is_onnx(path) or is_plan(path):
        raise UnsupportedError(f"{path}: expected a checkpoint, got a model that is compiled already")
    return load_checkpoint(path)


def _onnx(model: Checkpoint, path: Path, compute_type: str, passes: tuple[str, ...]) -> dict[str, Any]:
    compute_type = "float32" if compute_type == "auto" else compute_type
    exported = export_checkpoint(model, compute_type, path, passes=passes)
    return {
        "target": f"ONNX opset {OPSET}",
        "opset": OPSET,
        "compute_type": compute_type,
        "inputs": {value.name: _tensor(value) for value in exported.graph.input},
        "outputs": {value.name: _tensor(value) for value in exported.graph.output},
    }


def _tensor(value: Any) -> list[str | int]:
    """Type and sizes of an input or output; a free size by its name."""
    from onnx import helper

    tensor = value.type.tensor_type
    sizes = [size.dim_param or size.dim_value for size in tensor.shape.dim]
    return [helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, *sizes]


def _tensorrt(
    model: Checkpoint, path: Path, compute_type: str, passes: tuple[str, ...], options: dict[str, Any]
) -> dict[str, Any]:
    from megaseg.engine.backends.tensorrt.backend import compile_plan

    info = compile_plan(model, path, compute_type=compute_type, passes=passes, **options)
    return {
        "target": f"TensorRT {info.tensorrt}, {info.gpu}",
        "compute_type": info.compute_type,
        "attention": info.attention,
        "profile": dataclasses.asdict(info.profile),
    }
