"""``megaseg info`` and ``megaseg convert``: look into a checkpoint, or make one from a torch state dict."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from megaseg.cli.console import JsonOption, console, output, print_json
from megaseg.engine.backends.native.artefact import is_artefact
from megaseg.engine.backends.onnx.file import is_onnx, load
from megaseg.engine.backends.tensorrt.plan import is_plan, read_plan
from megaseg.engine.model.checkpoint import load_checkpoint, resolve_checkpoint
from megaseg.errors import CheckpointError


def info(
    file: Annotated[str, typer.Argument(help="A checkpoint, a compiled model, or the name of a shipped checkpoint.")],
    json: JsonOption = False,
) -> None:
    """Show a checkpoint or compiled model: config, parameters, modalities, checksums. Every value is checked."""
    path = resolve_checkpoint(file)
    if is_artefact(path) or is_onnx(path):
        report = _describe_compiled(path)
    else:
        report = _describe_plan(path) if is_plan(path) else _describe(path)
    if json:
        print_json(report)
        return
    table = Table(show_header=False, title=report["file"])
    for key, value in report["config"].items():
        if key == "modalities":
            value = ", ".join(f"{entry['name']} ({entry['feature_size']})" for entry in value)
        table.add_row(key, str(value))
    table.add_section()
    for key, value in report.items():
        if key in ("file", "config", "metadata"):
            continue
        table.add_row(key, f"{value:,}" if isinstance(value, int) else value)
    table.add_section()
    for key, value in report["metadata"].items():
        text = value if isinstance(value, str) else json_module.dumps(value, indent=1)
        table.add_row(key, text)
    output.print(table)


def _describe(path: Path) -> dict[str, Any]:
    checkpoint = load_checkpoint(path)
    return {
        "file": str(path),
        "config": checkpoint.config.to_dict(),
        "parameters": checkpoint.num_parameters,
        "tensors": len(checkpoint.tensors),
        "bytes": path.stat().st_size,
        "sha256": checkpoint.file_sha256(),
        "weights_sha256": checkpoint.weights_sha256(),
        "metadata": {key: _decoded(value) for key, value in checkpoint.metadata.items()},
    }


def _describe_compiled(path: Path) -> dict[str, Any]:
    from megaseg.engine.backends.native.backend import NativeBackend

    # Both check the whole file.
    own = load(path)[1] if is_onnx(path) else NativeBackend(path, num_threads=1).info
    return {
        "file": str(path),
        "config": own.config.to_dict(),
        "target": own.target,
        "compute_type": own.compute_type,
        "passes": ", ".join(own.passes) or "none",
        "bytes": path.stat().st_size,
        "metadata": {key: _decoded(value) for key, value in own.metadata.items()},
    }


def _describe_plan(path: Path) -> dict[str, Any]:
    own, _ = read_plan(path)  # checks the whole file
    ranges = {name: f"{r[0]} to {r[2]}, tuned for {r[1]}" for name, r in asdict(own.profile).items()}
    return {
        "file": str(path),
        "config": own.config.to_dict(),
        "target": f"TensorRT {own.tensorrt}, {own.gpu} (compute capability {own.capability})",
        "compute_type": own.compute_type,
        "passes": ", ".join(own.passes) or "none",
        "attention": own.attention,
        **ranges,
        "weights_sha256": own.weights_sha256,
        "bytes": path.stat().st_size,
        "metadata": {key: _decoded(value) for key, value in own.metadata.items()},
    }


def _decoded(text: str) -> Any:
    try:
        return json_module.loads(text)
    except ValueError:
        return text


def convert(
    source: Annotated[Path, typer.Argument(help="A torch file with a state dict.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="The .safetensors checkpoint to write.")],
    config: Annotated[Path, typer.Option(help="JSON file with the model's config.", exists=True, dir_okay=False)],
    prefix: Annotated[str, typer.Option(help="Prefix to strip from every name, besides module. and its like.")] = "",
    storage: Annotated[str, typer.Option(help="F32 or F16: how weights are stored.")] = "F32",
    json: JsonOption = False,
) -> None:
    """Make a checkpoint from a torch state dict (read with weights_only, so no code of the file ever runs)."""
    from megaseg.deploy.convert import NamesError, convert_state_dict

    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target}: expected a name that ends in .safetensors")
    if storage not in ("F32", "F16"):
        raise CheckpointError(f"--storage: expected F32 or F16, got {storage!r}")
    try:
        convert_state_dict(source, target, config, prefix=prefix, storage=storage)
    except NamesError as error:
        _print_names(error)
        raise
    report = _describe(target)
    if json:
        print_json(report)
    else:
        console.print(f"{target}: {report['parameters']:,} parameters, sha256 {report['sha256'][:16]}", highlight=False)


def _print_names(error: Any) -> None:
    table = Table(title="names that do not fit the config")
    for column in ("tensor", "expected", "got"):
        table.add_column(column)
    for name, expected, got in error.rows:
        table.add_row(name, expected, got)
    console.print(table)
