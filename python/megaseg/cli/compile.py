"""``megaseg compile``: a checkpoint with its exact rewrites done, packed for one kind of machine or as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import JsonOption, output, print_json
from megaseg.engine.artefact import compile_checkpoint
from megaseg.engine.checkpoint import load_checkpoint
from megaseg.engine.onnx_graph import OPSET, export_checkpoint, is_onnx
from megaseg.engine.passes import PASSES
from megaseg.errors import UnsupportedError

TARGETS = ("cpu", "onnx")


def compile_model(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint file, or the name of a shipped one.")],
    output_path: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .mseg, or .onnx.")],
    target: Annotated[str, typer.Option(help="What runs it: cpu (this engine) or onnx (any ONNX runtime).")] = "cpu",
    compute_type: Annotated[
        str, typer.Option(help="auto, float32, bfloat16, int8 (cpu) or float16 (onnx); onnx: auto is float32.")
    ] = "auto",
    isa: Annotated[
        str, typer.Option(help="A CPU target for machines that have less than this one; megaseg doctor lists them.")
    ] = "",
    passes: Annotated[bool, typer.Option(help="Whether to apply the exact rewrites.")] = True,
    json: JsonOption = False,
) -> None:
    """Compile a checkpoint for this engine, whose processes then share one copy of the weights, or to ONNX."""
    if target not in TARGETS:
        raise UnsupportedError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
    chosen = tuple(PASSES) if passes else ()
    if target == "onnx":
        if isa:
            raise UnsupportedError(f"isa: expected none for target onnx, got {isa!r}")
        report = _onnx(checkpoint, output_path, compute_type, chosen)
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
        return
    output.print(
        f"{output_path}: {report['bytes']:,} bytes for {report['target']} in {report['compute_type']}; "
        f"use it as a checkpoint: megaseg segment ... --checkpoint {output_path}",
        soft_wrap=True,
    )
    for key in ("inputs", "outputs"):
        for name, (kind, *sizes) in report.get(key, {}).items():
            output.print(f"  {key[:-1]} {name}: {kind} {sizes}", soft_wrap=True, markup=False)


def _onnx(checkpoint: str, path: Path, compute_type: str, passes: tuple[str, ...]) -> dict[str, Any]:
    if not is_onnx(path):
        raise UnsupportedError(f"output: expected a name that ends in .onnx, got {path}")
    compute_type = "float32" if compute_type == "auto" else compute_type
    model = export_checkpoint(load_checkpoint(checkpoint), compute_type, path, passes=passes)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "target": f"ONNX opset {OPSET}",
        "opset": OPSET,
        "compute_type": compute_type,
        "passes": list(passes),
        "inputs": {value.name: _tensor(value) for value in model.graph.input},
        "outputs": {value.name: _tensor(value) for value in model.graph.output},
    }


def _tensor(value: Any) -> list[str | int]:
    """Type and sizes of an input or output; a free size by its name."""
    from onnx import helper

    tensor = value.type.tensor_type
    sizes = [size.dim_param or size.dim_value for size in tensor.shape.dim]
    return [helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, *sizes]
