"""The file of a head: safetensors whose metadata names the head, its classes and its encoder.

Metadata: ``format`` = ``megaseg-head/1``, and as JSON ``head`` (kind and fields), ``config`` (of the run) and
``encoder`` (``sha256`` of its weights; ``path`` from the file's folder where the encoder was frozen, ``config`` and
``metadata`` where its trained weights are inside). Tensors: ``head.*``, and ``encoder.*`` if it was trained.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from megaseg.engine.inputs.files import atomic_write, what_is_there
from megaseg.engine.model.checkpoint import Checkpoint, check_tensors, load_checkpoint
from megaseg.engine.model.config import FORMAT as MODEL
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import CheckpointError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.encoder import without_classes
from megaseg.training.recipes.head.registry import head_of
from megaseg.training.recipes.head.run import TrainedHead

FORMAT = "megaseg-head/1"


def save_head(path: Path, trained: TrainedHead, encoder: Path, notes: Mapping[str, Any]) -> None:
    """Write a head; ``encoder`` is the file of a frozen encoder, ``notes`` are kept as metadata ``training``.

    Raises:
        CheckpointError: weights that are not finite.
    """
    own = {f"head.{name}": tensor for name, tensor in trained.model.state_dict().items()}
    about: dict[str, Any] = {"sha256": trained.encoder.weights_sha256()}
    if trained.fine_tuned:
        own |= {f"encoder.{name}": torch.from_numpy(array) for name, array in trained.encoder.tensors.items()}
        about["config"] = trained.encoder.config.to_dict()
    else:
        about["path"] = os.path.relpath(encoder, path.resolve().parent)
    for name, tensor in own.items():
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{name}: expected finite weights, got NaN or Inf")
    metadata = {
        "format": FORMAT,
        "head": json.dumps({"kind": trained.head.kind, **trained.head.to_dict()}),
        "config": json.dumps(dataclasses.asdict(trained.config)),
        "encoder": json.dumps(about),
        "training": json.dumps(dict(notes)),
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(safetensors.torch.save({k: t.contiguous() for k, t in own.items()}, metadata))


def load_head(path: Path, encoder: Path | None = None) -> TrainedHead:
    """Read a head and its encoder, which may be elsewhere than it was.

    Raises:
        CheckpointError: another file, tensors that do not fit, or an encoder of other weights.
    """
    metadata, tensors = _opened(path)
    try:
        values = json.loads(metadata["head"])
        kind = head_of(values.pop("kind"))
        head, config = kind.from_dict(values), HeadConfig(**json.loads(metadata["config"]))
        about = json.loads(metadata["encoder"])
        inside = {n.removeprefix("encoder."): t for n, t in tensors.items() if n.startswith("encoder.")}
        network = _inside(about, inside) if inside else _beside(path, about, encoder)
        model = head.model(network.config.embedding_size, config)  # type: ignore[attr-defined]
        model.load_state_dict({n.removeprefix("head."): t for n, t in tensors.items() if n.startswith("head.")})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: expected a head of megaseg, got: {error}") from error
    return TrainedHead(head, config, model.eval(), network, bool(inside))


def _opened(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a file that megaseg train head wrote, got {what_is_there(path)}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            found = metadata.get("format")
            if found != FORMAT:
                hint = "; models of scenes are scored by megaseg eval scene" if found == MODEL else ""
                raise CheckpointError(f"{path}: metadata format must be {FORMAT!r}, got {found!r}{hint}")
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, got: {error}") from error


def _inside(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    config = ModelConfig.from_dict(about["config"])
    check_tensors(config, {name: {"shape": tensor.shape, "dtype": "F32"} for name, tensor in tensors.items()})
    return Checkpoint(config, {name: tensor.numpy() for name, tensor in tensors.items()})


def _beside(path: Path, about: Mapping[str, Any], encoder: Path | None) -> Checkpoint:
    place = path.resolve().parent / about["path"] if encoder is None else encoder
    found = without_classes(load_checkpoint(place))
    if found.weights_sha256() != about["sha256"]:
        raise CheckpointError(f"{place}: expected the encoder of {path.name}, {about['sha256']:.12}, got other weights")
    return found
