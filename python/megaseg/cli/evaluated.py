"""The engine of a model that is scored: in float32, where it is not compiled for another type."""

from __future__ import annotations

from typing import Annotated

import typer

from megaseg.cli.console import MODEL_KEYWORDS, named_flags
from megaseg.engine.engine import Engine
from megaseg.engine.loading import compiled_for
from megaseg.engine.model.checkpoint import resolve_checkpoint

EvaluatedTypeOption = Annotated[
    str | None,
    typer.Option(
        "--compute-type",
        help="auto, float32, bfloat16, int8, int8_checked, int8_float32 or int8_bfloat16.",
        show_default="float32, or what a compiled model is in",
    ),
]


def evaluated(checkpoint: str, *, backend: str, compute_type: str | None, threads: int) -> Engine:
    """The engine of a checkpoint or compiled model; arguments and errors as of ``Engine.from_checkpoint``."""
    if compute_type is None:
        compute_type = "auto" if compiled_for(resolve_checkpoint(checkpoint)) else "float32"
    with named_flags(*MODEL_KEYWORDS):
        return Engine.from_checkpoint(checkpoint, backend=backend, compute_type=compute_type, num_threads=threads)
