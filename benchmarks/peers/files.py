"""What the workers read, each written once a run: checkpoints, features, ONNX files; and the float64 logits."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import ModelConfig, features_of, random_checkpoint
from benchmarks.peers.client import THREADS
from benchmarks.peers.export import export, quantised
from megaseg.engine.backends.protocol import logits_of
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.model.checkpoint import save_checkpoint

CHECKED = 128  # windows that the float64 reference is asked about


class Files:
    """What the workers read, written once each: checkpoints, features, ONNX files, float64 logits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def once(self, name: str, write: Callable[[Path], object]) -> Path:
        path = self.folder / name
        if not path.exists():
            write(path)
        return path

    def model(self, config: ModelConfig) -> Path:
        def write(path: Path) -> None:
            import torch
            from safetensors.torch import save_file

            checkpoint = random_checkpoint(config)
            save_checkpoint(path, checkpoint)
            half = {name: torch.from_numpy(tensor).bfloat16() for name, tensor in checkpoint.tensors.items()}
            save_file(half, path.with_suffix(".bfloat16.safetensors"))

        return self.once(f"{config.task}.safetensors", write)

    def features(self, config: ModelConfig, shots: int) -> Path:
        def write(path: Path) -> None:
            names = [modality.name for modality in config.modalities]
            np.savez(path, **dict(zip(names, features_of(config, shots), strict=True)))

        return self.once(f"{config.task}-{shots}.npz", write)

    def onnx(self, config: ModelConfig, shots: int, compute_type: str) -> str:
        """Path of the ONNX file; empty without the packages that write it."""
        length = config.max_length if config.task == "scene" else shots
        checkpoint, kind = random_checkpoint(config), "bfloat16" if compute_type == "bfloat16" else "float32"
        if importlib.util.find_spec("onnxscript") is None or importlib.util.find_spec("onnxruntime") is None:
            return ""
        name = f"{config.task}-{length}"
        path = self.once(f"{name}-{kind}.onnx", lambda path: export(checkpoint, length, path, kind))
        if compute_type == "int8":
            return str(self.once(f"{path.stem}-int8.onnx", lambda _: quantised(path)))
        return str(path)

    def exact(self, config: ModelConfig, shots: int) -> np.ndarray:
        """Logits of the first shots in float64."""

        def write(path: Path) -> None:
            with np.load(self.features(config, shots)) as features:
                kept = [features[m.name] for m in config.modalities]
            if config.task == "scene":
                kept = [array[: CHECKED + config.max_length] for array in kept]
            logits = logits_of(TorchBackend(random_checkpoint(config), compute_type="float64", passes=()), [kept])[0]
            np.save(path, logits[:CHECKED] if config.task == "scene" else logits)

        return np.load(self.once(f"{config.task}-{shots}-exact.npy", write))

    def job(self, subject: str, config: ModelConfig, shots: int, compute_type: str) -> dict[str, Any]:
        kind = compute_type
        if subject == "OpenVINO" and kind == "bfloat16":
            kind = "float32"  # it converts by its precision hint
        onnx = self.onnx(config, shots, kind) if subject in ("ONNX Runtime", "OpenVINO") else ""
        model, features = str(self.model(config)), str(self.features(config, shots))
        checked = min(shots, CHECKED)
        return {
            **{"type": compute_type, "model": model, "features": features, "onnx": onnx},
            **{"threads": THREADS, "checked": checked},
        }
