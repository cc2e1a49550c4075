"""``megaseg export-triton``: a model repository for NVIDIA's Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import JsonOption, output, print_json, require_folder


def export_inference_server(
    model: Annotated[str, typer.Argument(help="A checkpoint or compiled model, or the name of a shipped checkpoint.")],
    repository: Annotated[Path, typer.Option("--output", "-o", help="The repository: a folder of models.")],
    kind: Annotated[
        str, typer.Option(help="onnx (the graph), tensorrt (a .plan's engine) or python (scenes and acts by megaseg).")
    ] = "onnx",
    name: Annotated[str | None, typer.Option(help="Of the model in the server; by default the file's.")] = None,
    compute_type: Annotated[
        str, typer.Option(help="float32, float16 (onnx), bfloat16, int8, int8_checked (python), or auto.")
    ] = "auto",
    max_batch_size: Annotated[
        int, typer.Option(help="Kind python: movies that the server gathers in one call; 0 takes one.", min=0)
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Write a model, or its next version, into a repository of Triton Inference Server (docs/triton.md)."""
    require_folder(repository)
    from megaseg.deploy import inference_server

    made = inference_server.export_inference_server(
        model, repository, name=name, kind=kind, compute_type=compute_type, max_batch_size=max_batch_size
    )
    if json:
        print_json({"folder": str(made.folder), "inputs": _tensors(made.inputs), "outputs": _tensors(made.outputs)})
        return
    output.print(f"{made.folder}: start it with tritonserver --model-repository {repository.resolve()}", soft_wrap=True)
    for word, tensors in (("input", made.inputs), ("output", made.outputs)):
        for tensor, (dtype, *sizes) in _tensors(tensors).items():
            output.print(f"  {word} {tensor}: {dtype} {sizes}", soft_wrap=True)


def _tensors(tensors: list[tuple[str, str, tuple[int, ...]]]) -> dict[str, list[str | int]]:
    return {name: [dtype, *sizes] for name, dtype, sizes in tensors}
