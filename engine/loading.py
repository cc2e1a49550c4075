"""From a checkpoint or a compiled model to the backend that runs it: a table of the backends."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from megaseg.engine.backends.native.artefact import is_artefact
from megaseg.engine.backends.onnx.file import is_onnx
from megaseg.engine.backends.protocol import Backend
from megaseg.engine.backends.tensorrt.plan import is_plan
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import UnsupportedError
from megaseg.kernels.options import memory, threads

DEVICES = ("auto", "cpu", "cuda")
COMPUTE_TYPES = (
    "auto",
    "float32",
    "float16",
    "bfloat16",
    "int8",
    "int8_checked",
    "int8_float32",
    "int8_bfloat16",
    "float64",
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a caller asked of a backend."""

    device: str
    compute_type: str
    num_threads: int
    memory_limit: int | None


@dataclass(frozen=True, slots=True)
class Loader:
    """How one backend is made of a checkpoint, and of its own compiled files where it has any.

    ``make`` and ``load`` are callables of ``module``, which is imported when one of them is asked for.
    """

    module: str
    devices: tuple[str, ...]
    make: str
    options: Callable[[Choice], dict[str, Any]]
    is_file: Callable[[Path], bool] | None = None
    load: str = ""
    file_options: Callable[[Choice], dict[str, Any]] = lambda _: {}

    def call(self, name: str) -> Any:
        """A callable of the backend's module."""
        return attrgetter(name)(import_module(self.module))


class Loaded(NamedTuple):
    """A model ready to run, and the metadata of its file."""

    config: ModelConfig
    backend: Backend
    metadata: Mapping[str, str]


def _sized(choice: Choice) -> dict[str, Any]:
    return {"num_threads": choice.num_threads, "memory_limit": choice.memory_limit}


def _placed(choice: Choice) -> dict[str, Any]:
    return {"device": choice.device, "num_threads": choice.num_threads}


BACKENDS: dict[str, Loader] = {
    "native": Loader(
        "megaseg.engine.backends.native.loading",
        ("auto", "cpu"),
        "native_backend",
        lambda choice: {"compute_type": choice.compute_type, **_sized(choice)},
        is_artefact,
        "NativeBackend",
        _sized,
    ),
    "torch": Loader(
        "megaseg.engine.backends.torch.devices",
        DEVICES,
        "torch_backend",
        lambda choice: {"compute_type": choice.compute_type, "device": choice.device},
    ),
    "onnx": Loader(
        "megaseg.engine.backends.onnx.backend",
        DEVICES,
        "OnnxBackend.from_checkpoint",
        lambda choice: {"compute_type": _or(choice.compute_type, "float32"), **_placed(choice)},
        is_onnx,
        "OnnxBackend.from_file",
        _placed,
    ),
    "tensorrt": Loader(
        "megaseg.engine.backends.tensorrt.backend",
        ("auto", "cuda"),
        "TensorRTBackend.from_checkpoint",
        lambda choice: {"compute_type": choice.compute_type},
        is_plan,
        "TensorRTBackend.load",
    ),
}


def _or(value: str, default: str) -> str:
    return default if value == "auto" else value


def load_backend(
    checkpoint: str | os.PathLike[str] | Checkpoint,
    *,
    device: str,
    compute_type: str,
    num_threads: int,
    backend: str,
    memory_limit: int | None,
    passes: bool,
) -> Loaded:
    """The backend of a model; arguments and errors as of ``Engine.from_checkpoint``."""
    require("device", device, DEVICES)
    require("compute_type", compute_type, COMPUTE_TYPES)
    require("backend", backend, ("auto", *BACKENDS))
    require("passes", passes, (True, False))
    names = tuple(PASSES) if passes else ()
    choice = Choice(device, compute_type, threads(num_threads), memory(memory_limit))
    source = None if isinstance(checkpoint, Checkpoint) else resolve_checkpoint(checkpoint)
    if source is not None and (own := compiled_for(source)):
        require(f"backend of {source}", backend, ("auto", own))
        return _compiled(source, BACKENDS[own], choice)
    model = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    chosen = backend if backend != "auto" else "torch" if device == "cuda" else "native"
    loader = BACKENDS[chosen]
    require(f"device of backend {chosen!r}", device, loader.devices)
    with model.unchanged(digest=False):
        made: Backend = loader.call(loader.make)(model, passes=names, **loader.options(choice))
    return Loaded(model.config, made, model.metadata)


def require(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raises UnsupportedError unless a value is one of those allowed."""
    if value not in allowed:
        raise UnsupportedError(f"{name}: expected one of {', '.join(map(str, allowed))}, got {value!r:.40}")


def compiled_for(source: Path) -> str:
    """The backend that a compiled model is for; empty for a checkpoint."""
    own = (name for name, loader in BACKENDS.items() if loader.is_file and loader.is_file(source))
    return next(own, "")


def _compiled(source: Path, loader: Loader, choice: Choice) -> Loaded:
    """Load a compiled model: its device and compute type are what they are."""
    require(f"device of {source}", choice.device, loader.devices)
    loaded = loader.call(loader.load)(source, **loader.file_options(choice))
    if choice.compute_type not in ("auto", loaded.info.compute_type):
        raise UnsupportedError(
            f"compute_type of {source}: expected one of auto, {loaded.info.compute_type}, got "
            f"{choice.compute_type!r}; for another load the checkpoint that it was compiled from"
        )
    return Loaded(loaded.info.config, loaded, loaded.info.metadata)
