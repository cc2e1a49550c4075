"""Files of the model as written for those who load one: ONNX, checked in float64; OpenVINO's int8; ExecuTorch's."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np

from benchmarks.inputs import error, features_of
from benchmarks.peers.torch_subjects import converted, positional
from megaseg.engine.model.checkpoint import Checkpoint

CHECKED = 3  # windows of the check
TOLERANCE = 1e-4  # of max(1, |logit|), float32 against float64


def onnx(checkpoint: Checkpoint, shots: int, path: Path, compute_type: str = "float32") -> Path:
    """Write ``path``: inputs (batch, shots, D_m) by modality name, output ``logits``; the batch of a scene is free."""
    import torch

    from megaseg import models

    model = positional(models.from_checkpoint(checkpoint, getattr(torch, compute_type)))
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


def calibrated(path: Path, target: Path, inputs: list[dict[str, np.ndarray]]) -> None:
    """OpenVINO's own int8 model: NNCF's post-training quantisation for transformers, calibrated on ``inputs``."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(path)
    kind, data = nncf.ModelType.TRANSFORMER, nncf.Dataset(inputs)
    openvino.save_model(nncf.quantize(model, data, model_type=kind, subset_size=len(inputs)), target)


def compressed(path: Path, target: Path) -> None:
    """OpenVINO's model with weights alone in int8 (NNCF)."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    openvino.save_model(nncf.compress_weights(openvino.Core().read_model(path)), target)


def lowered(checkpoint: Checkpoint, shots: int, path: Path, compute_type: str) -> None:
    """ExecuTorch's program of one window for XNNPACK; int8 quantises activations while it runs."""
    import torch
    from executorch.backends.xnnpack.partition import xnnpack_partitioner as partitioner
    from executorch.exir import to_edge_transform_and_lower

    from megaseg import models

    arrays = [array.reshape(1, shots, -1) for array in features_of(checkpoint.config, shots)]
    inputs = tuple(torch.from_numpy(array) for array in arrays)
    torch.backends.mha.set_fastpath_enabled(False)
    parts = [partitioner.XnnpackPartitioner()]
    with torch.no_grad():
        program = torch.export.export(positional(models.from_checkpoint(checkpoint, torch.float32)), inputs)
        if compute_type == "int8":
            from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as own

            quantizer = own.XNNPACKQuantizer()
            quantizer.set_global(own.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
            program = torch.export.export(converted(program, quantizer, [inputs]), inputs)
            parts = [partitioner.XnnpackDynamicallyQuantizedPartitioner(), *parts]
        path.write_bytes(to_edge_transform_and_lower(program, partitioner=parts).to_executorch().buffer)


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
