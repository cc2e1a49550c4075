"""Training state on disk: safetensors and JSON, nothing pickled, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import CheckpointError

Groups = dict[str, dict[str, Tensor]]


def save_state(path: Path, groups: Groups, progress: dict[str, Any]) -> None:
    """Write named groups of tensors and a JSON object."""
    flat = {f"{group}/{name}": tensor.contiguous() for group, named in groups.items() for name, tensor in named.items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(flat, {"progress": json.dumps(progress)}))


def load_state(path: Path) -> tuple[Groups, dict[str, Any]]:
    """Read back what ``save_state`` wrote.

    Raises:
        CheckpointError: an unreadable file.
    """
    groups: Groups = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            progress = json.loads((file.metadata() or {})["progress"])
            for key in file.keys():  # noqa: SIM118 (no iterator)
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: expected a training state of megaseg, got: {error}") from error
    return groups, progress


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> dict[str, Tensor]:
    """Moments and step counts by parameter name."""
    return {f"{names[p]}:{key}": value for p, state in optimizer.state.items() for key, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, names: dict[Tensor, str], tensors: dict[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` took."""
    parameters = {name: parameter for parameter, name in names.items()}
    for key, value in tensors.items():
        name, _, part = key.rpartition(":")
        optimizer.state[parameters[name]][part] = value
