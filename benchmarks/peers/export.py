"""ONNX files of the model as written, checked against torch in float64 before anything is measured with them."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import error, features_of
from megaseg.engine.model.checkpoint import Checkpoint

CHECKED = 3  # windows of the check
TOLERANCE = 1e-4  # of max(1, |logit|), float32 against float64


def export(checkpoint: Checkpoint, shots: int, path: Path, compute_type: str = "float32") -> Path:
    """Write ``path``: inputs (batch, shots, D_m) by modality name, output ``logits``; the batch of a scene is free."""
    import torch

    from megaseg import models

    model = _positional(models.from_checkpoint(checkpoint, getattr(torch, compute_type)))
    names = [modality.name for modality in checkpoint.config.modalities]
    batch = CHECKED if checkpoint.config.task == "scene" else 1
    arrays = [array.reshape(batch, shots, -1) for array in features_of(checkpoint.config, batch * shots)]
    inputs = tuple(torch.from_numpy(array).to(getattr(torch, compute_type)) for array in arrays)
    dynamic = (({0: torch.export.Dim("batch")},) * len(names),)
    free = {"dynamic_shapes": dynamic} if batch > 1 else {}
    torch.backends.mha.set_fastpath_enabled(False)  # its operators have no ONNX form
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, inputs, path, dynamo=True, verbose=False, input_names=names, output_names=["logits"], **free
        )
    if compute_type == "float32":  # ONNX Runtime, the checker, takes no other
        _check(checkpoint, path, dict(zip(names, arrays, strict=True)))
    return path


def quantised(path: Path) -> Path:
    """The int8 model of ONNX Runtime: per-channel weights, activations quantised per tensor while running."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = path.with_name(f"{path.stem}-int8.onnx")
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(path, target, per_channel=True, weight_type=QuantType.QInt8, use_external_data_format=True)
    return target


def _check(checkpoint: Checkpoint, path: Path, arrays: dict[str, np.ndarray]) -> None:
    import onnxruntime
    import torch

    from megaseg import models

    (got,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, arrays)
    exact = models.from_checkpoint(checkpoint, torch.float64)
    with torch.inference_mode():
        expected = exact({name: torch.from_numpy(array).double() for name, array in arrays.items()}).numpy()
    worst = error(got, expected)
    if not worst < TOLERANCE:
        raise AssertionError(f"{path.name}: expected logits within {TOLERANCE} of torch in float64, got {worst:.2e}")


def _positional(model: Any) -> Any:
    """A module that takes the modalities one by one; made here so that this file imports without torch."""
    import torch

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *features: Any) -> Any:
            return self.model(dict(zip(self.model.modalities, features, strict=True)))

    return Positional().eval()
