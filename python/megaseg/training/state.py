"""Training state on disk: safetensors and JSON, nothing pickled; a file is written whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import CheckpointError

Groups = dict[str, dict[str, Tensor]]


def content_of(arrays: Iterable[NDArray[Any] | Tensor | None], notes: str = "") -> str:
    """SHA-256 over arrays in their order, and a text: what tells data of the same names apart."""
    digest = hashlib.sha256(notes.encode())
    for array in arrays:
        own = np.ascontiguousarray(np.zeros(0) if array is None else array)
        digest.update(f"{own.dtype} {own.shape}".encode())
        digest.update(own.view(np.uint8).data if own.size else b"")
    return digest.hexdigest()


def content_of_movies(movies: Mapping[str, Features]) -> str:
    """What tells movies of the same names apart: their features."""
    arrays = (own[name] for m in movies.values() for own in (m.modalities, m.token_shots) for name in sorted(own))
    return content_of(arrays, repr([sorted(movie.modalities) for movie in movies.values()]))


class StateFile:
    """The file of a run's state, which only a run of the same configuration and data reads back.

    ``movies`` are lists of texts that fix the data: names, and ``content_of`` where these may stand for others.
    """

    def __init__(self, path: Path, config: Any, movies: Sequence[Sequence[str]]) -> None:
        self._path = path
        self._identity = json.loads(json.dumps({"config": dataclasses.asdict(config), "movies": movies}))

    def save(self, groups: Groups, progress: dict[str, Any]) -> None:
        """Write named groups of tensors and a JSON object."""
        save_state(self._path, groups, {**self._identity, **progress})

    def load(self) -> tuple[Groups, dict[str, Any]] | None:
        """Groups and progress as they were saved; None without a file.

        Raises:
            CheckpointError: an unreadable file, or the state of another configuration or other movies.
        """
        if not self._path.exists():
            return None
        groups, progress = load_state(self._path)
        if any(progress.pop(key, None) != value for key, value in self._identity.items()):
            raise CheckpointError(
                f"{self._path}: expected the state of this configuration and these movies, got another run's; "
                "remove it to start afresh"
            )
        return groups, progress

    def remove(self) -> None:
        """Delete the file of a run that has finished."""
        self._path.unlink(missing_ok=True)


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
    return {
        f"{names[p]}:{key}": value
        for p, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None  # SGD without momentum
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: dict[Tensor, str], tensors: dict[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` took."""
    parameters = {name: parameter for parameter, name in names.items()}
    for key, value in tensors.items():
        name, _, part = key.rpartition(":")
        optimizer.state[parameters[name]][part] = value
