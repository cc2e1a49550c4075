"""The native backend of a checkpoint by compute type: one compiled model, or the two of checked int8."""

from __future__ import annotations

from typing import Any

from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.checked import CheckedBackend
from megaseg.engine.backends.native.extension import CHECKED
from megaseg.engine.backends.protocol import Backend
from megaseg.engine.model.checkpoint import Checkpoint

__all__ = ["NativeBackend", "native_backend"]


def native_backend(checkpoint: Checkpoint, *, compute_type: str, **options: Any) -> Backend:
    """A backend; ``options`` and errors as of ``NativeBackend.from_checkpoint``."""
    if compute_type == CHECKED:
        return CheckedBackend.from_checkpoint(checkpoint, **options)
    return NativeBackend.from_checkpoint(checkpoint, compute_type=compute_type, **options)
