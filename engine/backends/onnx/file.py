"""Models as ONNX files: ``export`` writes one, ``load`` reads and checks it. docs/onnx.md describes what is in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from megaseg.engine.backends.native.artefact import ArtefactInfo
from megaseg.engine.graph.graph import Graph
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import graph_of, structure_of
from megaseg.errors import CheckpointError, UnsupportedError

if TYPE_CHECKING:
    import onnx

COMPUTE_TYPES = ("float32", "float16", "bfloat16")
OPSET, IR_VERSION = 17, 8
FORMAT = "megaseg-onnx/2"


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX model by its name: its first bytes could be any protobuf message's."""
    return path.suffix.lower() == ".onnx"


def needs_extra(what: str, error: ImportError) -> UnsupportedError:
    """What to say where a package of the extra ``onnx`` is missing."""
    return UnsupportedError(f"{what} needs the extra onnx: pip install 'megaseg[onnx]' ({error})")


def export(
    graph: Graph,
    config: ModelConfig,
    compute_type: str = "float32",
    path: str | os.PathLike[str] | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A graph, whichever passes it went through, as an ONNX model; checked and written to ``path`` if given.

    The file is written whole or not at all.

    Args:
        compute_type: ``float32``, ``float16`` or ``bfloat16``.
        metadata: more properties of the file, by their names without ``megaseg.``.

    Raises:
        UnsupportedError: another compute type, a modality that has a name of the model's own, or no package onnx.
        CheckpointError: weights with NaN or Inf, or beyond the compute type.
        ResourceLimitError: weights beyond the 2 GiB of a file.
    """
    _require_onnx()
    from onnx import helper

    from megaseg.engine.backends.onnx.lowering import OnnxLowering
    from megaseg.engine.backends.onnx.signature import signature

    if compute_type not in COMPUTE_TYPES:
        raise UnsupportedError(f"compute_type {compute_type!r}: ONNX supports {', '.join(COMPUTE_TYPES)}")
    inputs, outputs = signature(graph)
    names = [value.name for value in (*inputs, *outputs)]
    if len(set(names)) < len(names):
        raise UnsupportedError(f"modalities: expected none with the name of another input or output, got {names}")
    lowered = OnnxLowering(graph, compute_type)
    proto = helper.make_graph(lowered.nodes, "megaseg", inputs, outputs, lowered.initializers)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(proto, opset_imports=[opset], ir_version=IR_VERSION, producer_name="megaseg")
    described = {"format": FORMAT, "config": config.to_json(), "compute_type": compute_type, **(metadata or {})}
    helper.set_model_props(model, {f"megaseg.{key}": value for key, value in described.items()})
    model.metadata_props.add(key="megaseg.sha256", value=_digest(model))
    if path is not None:
        _save(model, path)
    return model


def _save(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    from onnx import checker

    checker.check_model(model, full_check=True)  # every shape and type inferred
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def export_checkpoint(
    checkpoint: Checkpoint,
    compute_type: str = "float32",
    path: str | os.PathLike[str] | None = None,
    *,
    passes: Iterable[str] = tuple(PASSES),
) -> onnx.ModelProto:
    """``export`` of a checkpoint after the named passes. The model says which, whose weights it has, and who wrote it.

    Raises:
        UnsupportedError, CheckpointError, ResourceLimitError: as ``export``.
        CheckpointError: a checkpoint file that was overwritten meanwhile.
    """
    from megaseg._version import __version__

    chosen = set(passes)
    with checkpoint.unchanged(digest=path is not None):
        metadata = {
            "version": __version__,
            "passes": json.dumps([name for name in PASSES if name in chosen]),
            "weights_sha256": checkpoint.weights_sha256(),
            "metadata": json.dumps(checkpoint.compiled_metadata()),
        }
        model = export(rewrite(graph_of(checkpoint), chosen), checkpoint.config, compute_type, metadata=metadata)
    if path is not None:
        _save(model, path)
    return model


def load(path: str | os.PathLike[str]) -> tuple[onnx.ModelProto, ArtefactInfo]:
    """Read a file that ``export`` wrote, all of it checked, and what it says about itself.

    Raises:
        CheckpointError: another ONNX model, or a file that is not whole.
        UnsupportedError: no package onnx.
    """
    _require_onnx()
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(Path(path).read_bytes())
        info = read_info(model)
        onnx.checker.check_model(model)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise CheckpointError(f"{path}: expected a whole ONNX model, got: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model, info


def read_info(model: onnx.ModelProto) -> ArtefactInfo:
    """What a model of ``export`` says about itself; its graph must be the one that was written.

    Raises:
        CheckpointError: another ONNX model, or one that was changed since.
    """
    from megaseg.engine.backends.onnx.signature import signature

    own = {key.removeprefix("megaseg."): value for key, value in _properties(model).items()}
    if own.get("format") != FORMAT:
        raise CheckpointError(
            f"expected an ONNX model by megaseg compile (metadata megaseg.format {FORMAT!r}), got {own.get('format')!r}"
        )
    if own.get("sha256") != (digest := _digest(model)):
        raise CheckpointError(f"expected contents of SHA-256 {own.get('sha256')}, got {digest}")
    try:
        config = ModelConfig.from_dict(json.loads(own["config"]))
        passes, metadata = (json.loads(own.get(key, empty)) for key, empty in (("passes", "[]"), ("metadata", "{}")))
        info = ArtefactInfo(config, "onnx", own["compute_type"], tuple(passes), dict(metadata))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"expected the metadata of {FORMAT}, got: {error!r}") from error
    if (list(model.graph.input), list(model.graph.output)) != signature(structure_of(config)):
        raise CheckpointError("expected the inputs and outputs of its config, got others")
    return info


def _properties(model: onnx.ModelProto) -> dict[str, str]:
    # What is no UTF-8, in a damaged file, comes as bytes.
    return {str(entry.key): str(entry.value) for entry in model.metadata_props}


def _digest(model: onnx.ModelProto) -> str:
    """SHA-256 over all of a model that has a meaning, but for the property that holds it."""
    properties = {key: value for key, value in _properties(model).items() if key != "megaseg.sha256"}
    versions = [model.ir_version, *((str(opset.domain), opset.version) for opset in model.opset_import)]
    digest = hashlib.sha256(json.dumps([versions, properties], sort_keys=True).encode())
    digest.update(model.graph.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise needs_extra("ONNX", error) from error
