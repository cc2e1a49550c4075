"""What the workers read, each written once: checkpoints, features, the files of peers; and the float64 logits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import features_of
from benchmarks.peers import export
from benchmarks.peers.client import THREADS
from benchmarks.peers.models import Model
from megaseg.engine.backends.protocol import logits_of
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.model.checkpoint import save_checkpoint

CHECKED = 128  # windows that the float64 reference is asked about
WEIGHTS_ONLY = "int8_bfloat16"  # weights int8, products bfloat16
CALIBRATION = 64  # windows, or shots of a movie's beginning, after those that are measured


class Files:
    """A folder of what the workers read; what peers compiled stays for later runs, what we compiled does not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.mseg"):
            stale.unlink()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")

    def once(self, name: str, write: Callable[[Path], object]) -> Path:
        path = self.folder / name
        if not path.exists():
            write(path)
        return path

    def model(self, model: Model) -> Path:
        def write(path: Path) -> None:
            import torch
            from safetensors.torch import save_file

            save_checkpoint(path, model.checkpoint)
            half = {name: torch.from_numpy(tensor).bfloat16() for name, tensor in model.checkpoint.tensors.items()}
            save_file(half, path.with_suffix(".bfloat16.safetensors"))

        return self.once(f"{model.name}.safetensors", write)

    def features(self, model: Model, shots: int) -> Path:
        def write(path: Path) -> None:
            names = [modality.name for modality in model.config.modalities]
            np.savez(path, **dict(zip(names, features_of(model.config, shots), strict=True)))

        return self.once(f"{model.name}-{shots}.npz", write)

    def exported(self, subject: str, model: Model, shots: int, compute_type: str) -> Path | None:
        """The file that a peer loads, if it loads one.

        Raises:
            Exception: what the package that writes it says of this model.
        """
        if subject not in ("ONNX Runtime", "OpenVINO", "ExecuTorch"):
            return None
        length = getattr(model.config, "max_length", shots) if model.config.task == "scene" else shots
        name = f"{model.name}-{length}"
        if subject == "ExecuTorch":
            return self.once(
                f"{name}-{compute_type}.pte", lambda path: export.lowered(model.checkpoint, length, path, compute_type)
            )
        kind = "bfloat16" if compute_type == "bfloat16" and subject == "ONNX Runtime" else "float32"
        path = self.once(f"{name}-{kind}.onnx", lambda path: export.onnx(model.checkpoint, length, path, kind))
        if subject == "OpenVINO" and compute_type == "int8":
            return self.once(
                f"{name}-int8.xml", lambda to: export.calibrated(path, to, self._calibration(model, length))
            )
        if subject == "OpenVINO" and compute_type == WEIGHTS_ONLY:
            return self.once(f"{name}-int8-weights.xml", lambda to: export.compressed(path, to))
        if compute_type == "int8":
            return self.once(f"{path.stem}-int8.onnx", lambda _: export.quantised(path))
        return path

    def _calibration(self, model: Model, length: int) -> list[dict[str, np.ndarray]]:
        """Inputs of the same kind as those that are measured, from another seed: windows, or one movie."""
        count = CALIBRATION if model.config.task == "scene" else 1
        names = [modality.name for modality in model.config.modalities]
        arrays = [array.reshape(count, length, -1) for array in features_of(model.config, count * length, seed=1)]
        return [dict(zip(names, (array[at : at + 1] for array in arrays), strict=True)) for at in range(count)]

    def exact(self, model: Model, shots: int) -> np.ndarray:
        """Logits of the first shots in float64."""

        def write(path: Path) -> None:
            with np.load(self.features(model, shots)) as features:
                kept = [features[m.name] for m in model.config.modalities]
            cut = model.preset is not None and model.config.task == "scene"
            if cut:
                kept = [array[: CHECKED + getattr(model.config, "max_length", 0)] for array in kept]
            logits = logits_of(TorchBackend(model.checkpoint, compute_type="float64", passes=()), [kept])[0]
            np.save(path, logits[:CHECKED] if cut else logits)

        return np.load(self.once(f"{model.name}-{shots}-exact.npy", write))

    def job(self, subject: str, model: Model, shots: int, compute_type: str) -> dict[str, Any]:
        """What a worker is told; ``problem`` where a peer's file cannot be written."""
        job: dict[str, Any] = {
            **{"type": compute_type, "model": str(self.model(model)), "features": str(self.features(model, shots))},
            **{"threads": THREADS, "checked": min(shots, CHECKED), "folder": str(self.folder)},
        }
        try:
            job["exported"] = str(self.exported(subject, model, shots, compute_type) or "")
        except ImportError as problem:
            job["problem"] = f"not installed ({problem.name}): pip install 'megaseg[bench]'"
        except Exception as problem:  # noqa: BLE001 - converters raise what they like
            job["problem"] = f"{type(problem).__name__}: {' '.join(str(problem).split())[:160]}"
        return job
