"""A model repository for NVIDIA's inference server, as docs/triton.md describes it."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaseg.engine.backends.native.artefact import ArtefactInfo, is_artefact, read_info
from megaseg.engine.backends.onnx.file import export_checkpoint, is_onnx, load
from megaseg.engine.backends.protocol import EMBEDDING
from megaseg.engine.backends.tensorrt.batches import WINDOWS, input_shapes, output_shapes
from megaseg.engine.backends.tensorrt.plan import PlanInfo, is_plan, read_plan
from megaseg.engine.graph.sequences import Strided
from megaseg.engine.loading import require
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.engine.tasks.task import DecidingTask, deciding_tasks, task_of
from megaseg.errors import UnsupportedError

KINDS = ("onnx", "python", "tensorrt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "int32": "TYPE_INT32", "bool": "TYPE_BOOL"}
Tensors = list[tuple[str, str, tuple[int, ...]]]  # name, type of an element, sizes (-1: free)
Settings = dict[str, Any]  # of config.pbtxt


@dataclass(frozen=True, slots=True)
class Exported:
    """One version of a model in a repository: its folder, and the tensors that config.pbtxt declares."""

    folder: Path
    inputs: Tensors
    outputs: Tensors


def export_inference_server(
    model: str | os.PathLike[str],
    repository: str | os.PathLike[str],
    *,
    name: str | None = None,
    kind: str = "onnx",
    compute_type: str = "auto",
    max_batch_size: int = 0,
) -> Exported:
    """Write a model into a repository, whole or not at all: a new model, or the next version of one.

    Args:
        model: kind ``onnx``: a checkpoint, or a compiled ``.onnx``; kind ``python``: a checkpoint, ``.mseg`` or
            ``.onnx``; kind ``tensorrt``: a ``.plan``, whose engine is taken out of its file.
        name: of the model in the server; None takes the file's, without its suffix.
        compute_type: of the products; ``auto`` is float32 in an ONNX model, the machine's fastest in kind ``python``,
            and a compiled model's own.
        max_batch_size: kind ``python``: most movies of one call, which gives every tensor a first axis of movies; 0
            takes one movie a request, without that axis.

    Raises:
        UnsupportedError: a kind, name, model or batch size that cannot be, or a model of the name with other tensors.
        CheckpointError: a file that cannot be trusted.
    """
    require("kind", kind, KINDS)
    source = resolve_checkpoint(model)
    name = source.stem if name is None else name
    if not _NAME.fullmatch(name):
        raise UnsupportedError(f"name: expected letters, digits, '_', '.' and '-' after the first, got {name!r}")
    if max_batch_size < 0 or (max_batch_size and kind != "python"):
        raise UnsupportedError(f"max_batch_size: expected 0, or more with kind python, got {max_batch_size}")
    repository = Path(repository)
    repository.mkdir(parents=True, exist_ok=True)
    with _beside(repository) as folder:
        (folder / "1").mkdir()
        write = {"onnx": _onnx, "python": _python, "tensorrt": _tensorrt}[kind]
        settings, inputs, outputs = write(source, folder / "1", compute_type)
        config = _config(name, {**settings, "max_batch_size": max_batch_size}, inputs, outputs)
        (folder / "config.pbtxt").write_text(config, encoding="utf-8")
        return Exported(_placed(folder, repository / name, config), inputs, outputs)


def _onnx(source: Path, target: Path, compute_type: str) -> tuple[Settings, Tensors, Tensors]:
    """The graph of docs/onnx.md."""
    if is_onnx(source):
        config = _compiled(source, load(source)[1], compute_type)
        _require_own_rows(source, config)
        shutil.copyfile(source, target / "model.onnx")
    else:
        checkpoint = _checkpoint(source, "onnx", "a checkpoint or an .onnx file")
        config = checkpoint.config
        _require_own_rows(source, config)
        export_checkpoint(checkpoint, "float32" if compute_type == "auto" else compute_type, target / "model.onnx")
    return {"platform": "onnxruntime_onnx"}, *_graph_tensors(config, "int64")


def _tensorrt(source: Path, target: Path, compute_type: str) -> tuple[Settings, Tensors, Tensors]:
    """The engine of a plan file, which is all that TensorRT reads."""
    if not is_plan(source):
        raise UnsupportedError(f"{source}: expected a .plan of megaseg compile, got another file")
    info, engine = read_plan(source)
    config = _compiled(source, info, compute_type)
    _require_own_rows(source, config)
    (target / "model.plan").write_bytes(engine)
    oldest = int(info.tensorrt.split(".")[0]) < 10  # has no int64
    return {"platform": "tensorrt_plan"}, *_graph_tensors(config, "int32" if oldest else "int64")


def _python(source: Path, target: Path, compute_type: str) -> tuple[Settings, Tensors, Tensors]:
    """The model file as it is, and the module that runs it."""
    if is_plan(source):
        raise UnsupportedError(f"{source}: expected a checkpoint, an .mseg or an .onnx file, got a .plan")
    if is_artefact(source) or is_onnx(source):
        info = read_info(source) if is_artefact(source) else load(source)[1]
        config = _compiled(source, info, compute_type)
    else:
        config = _checkpoint(source, "python", "a model file").config
    task = task_of(config.task)
    if not isinstance(task, DecidingTask):
        expected = " or ".join(own.name for own in deciding_tasks())
        others = "megaseg serve gives its outputs" if task.name == EMBEDDING else "take kind onnx"
        raise UnsupportedError(f"{source}: expected a {expected} model, got one of task {task.name}; {others}")
    shutil.copyfile(source, target / f"model{source.suffix}")
    shutil.copyfile(Path(__file__).with_name("inference_server_model.py"), target / "model.py")
    inputs: Tensors = [(m.name, "float32", (-1, m.feature_size)) for m in config.modalities]
    outputs: Tensors = list(task.tensor_specs(config))
    parameters = {"device": "auto", "compute_type": compute_type, "num_threads": "0", "overflow": "error"}
    return {"backend": "python", "parameters": parameters}, inputs, outputs


def _require_own_rows(source: Path, config: ModelConfig) -> None:
    """Raises UnsupportedError for a graph that sees a window at a time, which a server's client would have to cut."""
    if isinstance(config.sequences, Strided):
        cutter = "kind python" if isinstance(task_of(config.task), DecidingTask) else "megaseg serve"
        raise UnsupportedError(
            f"{source}: expected a graph of whole movies, got family {config.family}, whose graph sees one of the "
            f"movie's overlapping windows; {cutter} cuts them"
        )


def _graph_tensors(config: ModelConfig, index: str) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of the rewritten graph; window indices are of type ``index``."""
    graph = structure_of(config)
    types = {modality.name: modality.type for modality in graph.inputs} | {WINDOWS: index}
    inputs = [(name, types[name], shape) for name, shape in input_shapes(graph, -1, -1).items()]
    outputs = [(name, "float32", shape) for name, shape in output_shapes(graph, -1, -1).items()]
    return inputs, outputs


def _checkpoint(source: Path, kind: str, expected: str) -> Checkpoint:
    if is_plan(source) or is_artefact(source) or is_onnx(source):
        raise UnsupportedError(f"{source}: kind {kind} expected {expected}, got another compiled model")
    return load_checkpoint(source)


def _compiled(source: Path, info: ArtefactInfo | PlanInfo, compute_type: str) -> ModelConfig:
    require(f"compute_type of {source}", compute_type, ("auto", info.compute_type))
    return info.config


def _config(name: str, settings: Settings, inputs: Tensors, outputs: Tensors) -> str:
    """``config.pbtxt``: inputs, outputs and all else in protobuf's text format."""
    own = {key: value for key, value in settings.items() if key != "parameters"}
    lines = [f"{key}: {json.dumps(value)}" for key, value in {"name": name, **own}.items()]
    ragged = " allow_ragged_batch: true" if settings["max_batch_size"] else ""
    if ragged:
        lines.append("dynamic_batching { }")
    for kind, tensors, more in (("input", inputs, ragged), ("output", outputs, "")):
        for tensor, dtype, shape in tensors:
            sizes = ", ".join(map(str, shape))
            lines.append(f'{kind} {{ name: "{tensor}" data_type: {_TYPES[dtype]} dims: [ {sizes} ]{more} }}')
    for key, value in settings.get("parameters", {}).items():
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
    return "\n".join(lines) + "\n"


def _signature(config: str) -> set[str]:
    """The lines of a config that every version of a model must share; the others are the user's to change."""
    return {line for line in config.splitlines() if re.match(r"(platform|backend|input|output|max_batch_size)\b", line)}


@contextmanager
def _beside(repository: Path) -> Iterator[Path]:
    """A new folder beside a repository, where no server polls; removed at the end unless it was moved."""
    folder = Path(tempfile.mkdtemp(prefix=f".{repository.name}.", dir=repository.absolute().parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _placed(folder: Path, target: Path, config: str) -> Path:
    """Move a new model, or a new version of one, into the repository. Returns the version's folder."""
    _settle(folder)
    if not target.exists():
        try:
            folder.rename(target)
            return target / "1"
        except OSError:  # another process was first
            if not target.exists():
                raise
    there = target / "config.pbtxt"
    if not there.is_file() or _signature(there.read_text(encoding="utf-8")) != _signature(config):
        raise UnsupportedError(
            f"{there}: expected the inputs and outputs of this model, got others; export it by another name"
        )
    while True:
        versions = [int(entry.name) for entry in target.iterdir() if entry.name.isdecimal()]
        version = target / str(max(versions, default=0) + 1)
        try:
            (folder / "1").rename(version)
            return version
        except OSError:
            if not version.exists():
                raise


def _settle(folder: Path) -> None:
    """Files on disk, and the folder with the permissions of any other new one: mkdtemp makes a private one."""
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    for path in folder.rglob("*.*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
