"""Models of others to checkpoints. The only module that opens a pickle, and only with ``weights_only=True``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megaseg.engine.model.checkpoint import Checkpoint, ModelConfig, save_checkpoint
from megaseg.errors import CheckpointError, UnsupportedError
from megaseg.features.text.pretrained import load_pretrained

# What DataParallel, torch.compile and the usual trainers put before every name.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
# Where the usual trainers keep the state dict in their file.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module")


class NamesError(CheckpointError):
    """Names or shapes that do not fit the config; ``rows`` are (tensor, expected, got)."""

    def __init__(self, path: Path, rows: list[tuple[str, str, str]]) -> None:
        missing = sum(got == "missing" for _, _, got in rows)
        unexpected = sum(expected == "unexpected" for _, expected, _ in rows)
        super().__init__(
            f"{path}: {missing} tensors missing, {unexpected} unexpected, {len(rows) - missing - unexpected} of "
            f"another shape or type; first: {rows[0][0]} (expected {rows[0][1]}, got {rows[0][2]})"
        )
        self.rows = rows


def convert_state_dict(
    source: Path, target: Path, config_path: Path, *, prefix: str = "", storage: str = "F32"
) -> None:
    """Read a torch file and a config, check every name and shape, and write the checkpoint.

    Raises:
        NamesError: tensors missing, unexpected or of another shape. CheckpointError: a config or file that cannot be
            read, or values that are not finite. UnsupportedError: torch is not installed.
    """
    config = _read_config(config_path)
    state = _strip(_read_state_dict(source), prefix)
    expected = config.tensor_shapes()
    rows = [(name, str(shape), "missing") for name, shape in expected.items() if name not in state]
    rows += [(name, "unexpected", _describe(value)) for name, value in state.items() if name not in expected]
    rows += [
        (name, str(shape), _describe(state[name]))
        for name, shape in expected.items()
        if name in state and (tuple(state[name].shape) != shape or not state[name].is_floating_point())
    ]
    if rows:
        raise NamesError(source, rows)
    tensors = {name: state[name].detach().float().contiguous().numpy() for name in expected}
    save_checkpoint(target, Checkpoint(config, tensors, {"source": source.name}), storage=storage)


def convert_encoder(source: str | Path, target: Path, *, storage: str = "F32") -> None:
    """Write the checkpoint of a text encoder that lies in a folder as sentence-transformers writes it.

    Raises:
        CheckpointError, UnsupportedError: as ``load_pretrained``.
    """
    checkpoint = load_pretrained(source)
    with checkpoint.unchanged():
        tensors = {name: checkpoint.tensors[name] for name in checkpoint.config.tensor_shapes()}
        metadata = {**checkpoint.metadata, "source": Path(source).name}
        save_checkpoint(target, Checkpoint(checkpoint.config, tensors, metadata), storage=storage)


def _read_config(path: Path) -> ModelConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected a JSON config, got: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    try:
        return ModelConfig.from_dict(values)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_state_dict(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise UnsupportedError("convert needs torch: pip install 'megaseg[train]'") from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: expected a state dict that loads with weights_only=True, got: {reason}"
        ) from error
    for key in _CONTAINERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise CheckpointError(f"{path}: expected a state dict (name -> tensor), got {type(loaded).__name__}")
    return {str(name): value for name, value in loaded.items()}


def _strip(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    if prefix:
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    for _ in range(len(_WRAPPERS)):
        for wrapper in _WRAPPERS:
            if state and all(name.startswith(wrapper) for name in state):
                state = {name.removeprefix(wrapper): value for name, value in state.items()}
    return state


def _describe(tensor: Any) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
