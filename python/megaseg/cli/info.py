"""``megaseg info``: what is in a checkpoint or compiled model."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from megaseg.cli.console import JsonOption, output, plain, print_json
from megaseg.engine.backends.native.artefact import ArtefactInfo, is_artefact, read_info
from megaseg.engine.backends.native.extension import extension
from megaseg.engine.backends.onnx.file import is_onnx, load
from megaseg.engine.backends.tensorrt.plan import is_plan, read_plan
from megaseg.engine.model.checkpoint import load_checkpoint, resolve_checkpoint
from megaseg.errors import UnsupportedError

_MOST_SHOWN = 20_000


def info(
    file: Annotated[str, typer.Argument(help="A checkpoint, a compiled model, or the name of a shipped checkpoint.")],
    json: JsonOption = False,
) -> None:
    """Show a checkpoint or compiled model: config, parameters, modalities, checksums. Every value is checked.

    Of a model that is compiled for another CPU target the checksum is, and runs_here says that it does not run.
    """
    path = resolve_checkpoint(file)
    if is_artefact(path) or is_onnx(path):
        report = _describe_compiled(path)
    else:
        report = _describe_plan(path) if is_plan(path) else describe_checkpoint(path)
    if json:
        print_json(report)
        return
    table = Table(Column(), Column(overflow="fold"), show_header=False, title=report["file"])
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
        text = value if isinstance(value, str) else json_module.dumps(value, indent=1, ensure_ascii=False)
        table.add_row(key, Text("\n").join(map(plain, text.split("\n"))))
    output.print(table)


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Config, sizes, checksums and metadata of a checkpoint file."""
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
    own, runs = (load(path)[1], {}) if is_onnx(path) else _native_info(path)  # both check the whole file
    return {
        "file": str(path),
        "config": own.config.to_dict(),
        "target": own.target,
        **runs,
        "compute_type": own.compute_type,
        "passes": ", ".join(own.passes) or "none",
        "bytes": path.stat().st_size,
        "metadata": {key: _decoded(value) for key, value in own.metadata.items()},
    }


def _native_info(path: Path) -> tuple[ArtefactInfo, dict[str, str]]:
    """What a compiled model says about itself, and whether this machine runs it."""
    from megaseg.engine.backends.native.backend import NativeBackend

    targets = extension().available_targets()
    try:
        return NativeBackend(path, num_threads=1).info, {"runs_here": "yes"}
    except UnsupportedError:  # after the checksum
        own = read_info(path)
        if own.target in targets:
            raise
        return own, {"runs_here": f"no: this machine and build offer {', '.join(targets)}"}


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
    """JSON as its value, any other text as it is; of long ones, such as a tokenizer, their length."""
    if len(text) > _MOST_SHOWN:
        return f"{len(text):,} characters"
    try:
        return json_module.loads(text)
    except ValueError:
        return text
