"""One kernel against plain torch on the same arrays, every target, one thread: the oracle's error beside the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.inputs import error
from benchmarks.rows import Row, alternate, row_of
from megaseg import _C, kernels
from megaseg.kernels import reference

REPEATS = 15


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def compare(op: str, size: str, arrays: tuple[np.ndarray, ...], gflop: float, **options: Any) -> list[Row]:
    """Rows of every CPU target and of torch; ``options`` are passed to the op and to its reference alike."""
    import torch

    torch.set_num_threads(1)
    tensors = [torch.from_numpy(array) for array in arrays]
    exact = getattr(reference, op)(*(t.double() for t in tensors), **options).numpy()
    outputs: dict[str, np.ndarray] = {}

    def native(target: str) -> Callable[[], None]:
        def run() -> None:
            outputs[target] = getattr(kernels, op)(*arrays, **options, target=target)

        return run

    def plain_torch() -> None:
        with torch.inference_mode():
            outputs["torch"] = getattr(reference, op)(*tensors, **options).numpy()

    subjects: Mapping[str, Callable[[], None]] = {
        **{target: native(target) for target in _C.available_targets()},
        "torch": plain_torch,
    }
    alternate(subjects, 1)  # warm up
    return [
        row_of(
            f"{op}, {size}",
            name,
            "s",
            values,
            error=error(outputs[name], exact),
            gflop_per_s=round(gflop / float(np.median(values)), 1),
        )
        for name, values in alternate(subjects, REPEATS).items()
    ]
