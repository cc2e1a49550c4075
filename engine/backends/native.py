"""The C++ engine behind the engine's protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.checkpoint import Checkpoint
from megaseg.errors import UnsupportedError

COMPUTE_TYPES = ("float32",)


class NativeBackend:
    """Packs a checkpoint's weights for this CPU and runs it on its own threads, without torch."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        num_threads: int = 0,
        compute_type: str = "float32",
        memory_limit: int | None = None,
        passes: bool = True,
    ) -> None:
        if compute_type not in COMPUTE_TYPES:
            raise UnsupportedError(
                f"compute_type {compute_type!r}: backend 'native' supports {', '.join(COMPUTE_TYPES)}"
            )
        if num_threads < 0:
            raise UnsupportedError(f"num_threads: expected 0 (every usable core) or more, got {num_threads}")
        if memory_limit is not None and memory_limit <= 0:
            raise UnsupportedError(f"memory_limit: expected a positive number of bytes or None, got {memory_limit}")
        extension = _extension()
        self._compute_type = compute_type
        self._plan = extension.Plan(
            checkpoint.config,
            checkpoint.tensors,
            num_threads=num_threads,
            memory_limit=memory_limit or 0,
            passes=sum(extension.PASSES.values()) if passes else 0,
        )

    def run(self, features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Checked features in the config's order, each (shots, D_m), to logits (shots, N_c).

        Raises:
            UnsupportedError: in a process forked after the checkpoint was loaded.
        """
        logits: NDArray[np.float32] = self._plan.run(list(features))
        return logits

    def describe(self) -> dict[str, Any]:
        """Backend, device, target, compute_type, num_threads, weight_bytes and the most workspace that a run takes."""
        return {
            "backend": "native",
            "device": "cpu",
            "target": self._plan.target,
            "compute_type": self._compute_type,
            "num_threads": self._plan.num_threads,
            "weight_bytes": self._plan.weight_bytes,
            "workspace_bytes": self._plan.workspace_bytes,
        }


def capabilities() -> dict[str, Any]:
    """What the extension offers on this machine: the target that runs, all targets, and compute types.

    Raises:
        UnsupportedError: no extension, or a ``MEGASEG_ISA`` that this machine or build does not have.
    """
    extension = _extension()
    return {
        "target": extension.target(),
        "targets": extension.available_targets(),
        "compute_types": list(COMPUTE_TYPES),
        "forced": os.environ.get("MEGASEG_ISA"),
    }


def _extension() -> ModuleType:
    try:
        from megaseg import _C
    except ImportError as error:
        raise UnsupportedError(
            f"backend 'native' needs the compiled extension megaseg._C ({error}); build it with "
            "`pip install .`, or in a checkout `python setup.py build_ext --inplace`"
        ) from error
    return _C
