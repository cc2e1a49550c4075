"""The only table from (op, device, dtype) to implementation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float32]
Matrix = NDArray[np.float32] | NDArray[np.uint16]  # NumPy has no bfloat16: its bits travel as uint16
Implementation = Callable[..., Any]

_ALL = ("float32", "bfloat16")
_TYPES = {
    "linear": (*_ALL, "int8", "int16"),  # what it multiplies
    "layer_norm": _ALL,
    "cast": _ALL,
    "embed": ("float32",),
    "bottleneck_attention": _ALL,
    "window_attention": ("float32",),
    "query_attention": _ALL,
    "banded_estep": _ALL,
    "scene_pairs": _ALL,
}
OPS = tuple(_TYPES)
# Implementations are named, not imported: a backend's libraries load when its first op runs. Which of the types a CPU
# target multiplies is the machine's matter: ``_C.product_types``.
_TABLE = {(op, "cpu", dtype): ("megaseg._C", op) for op, types in _TYPES.items() for dtype in types}
_STORED = {"uint16": "bfloat16"}


def implementation(op: str, x: NDArray[Any], compute_type: str = "") -> Implementation:
    """The implementation of ``op`` for the array it will work on, and for the type it will multiply if that differs.

    Raises:
        UnsupportedError: no implementation for the device and dtype; lists those there are.
    """
    dtype = _STORED.get(str(x.dtype), str(x.dtype))
    for key in ((op, "cpu", dtype), (op, "cpu", compute_type or dtype)):
        if key not in _TABLE:
            offered = ", ".join(f"{device} {name}" for known, device, name in _TABLE if known == op)
            raise UnsupportedError(f"{op}: expected one of {offered or 'no op of this name'}, got {key[1]} {key[2]}")
    module, name = _TABLE[key]
    function: Implementation = getattr(importlib.import_module(module), name)
    return function


_DEVICE_TYPES = ("float16", "bfloat16", "float32")
_DEVICE_OPS = {  # what may run each op on a GPU
    "bottleneck_attention": ("triton", "cuda"),
    "window_attention": ("triton",),
    "query_attention": ("triton",),
    "residual_layer_norm": ("triton",),
    "linear": ("torch", "triton"),
    "embed": ("triton",),
    "banded_estep": ("triton", "cuda"),
    "scene_pairs": ("triton",),
}
_MODULES = {"residual_layer_norm": "layer_norm"}


def device_implementation(op: str, x: Tensor, key: str, size: int) -> Implementation:
    """What runs ``op`` on torch tensors like ``x``: what was measured to be fastest on the GPU's architecture.

    ``key`` is the class of shapes in ``kernels/triton/configurations.json``, where the measurements are; an op without
    a row there has one implementation. ``size``: of a head or a row; where this build has no CUDA C++
    kernels for it, Triton's run.

    Raises:
        UnsupportedError: no implementation for the device and dtype, lists those there are; or no Triton.
    """
    try:
        from megaseg.kernels.triton.configurations import interpreted

        on_host = interpreted()
    except ImportError as error:
        raise UnsupportedError(f"{op} on a GPU needs the extra gpu: pip install 'megaseg[gpu]' ({error})") from error
    dtype = str(x.dtype).removeprefix("torch.")
    if x.device.type != "cuda" and not on_host:
        raise UnsupportedError(
            f"{op}: expected tensors of a CUDA device, got {x.device.type}; NumPy arrays run on the CPU"
        )
    if op not in _DEVICE_OPS or dtype not in _DEVICE_TYPES:
        raise UnsupportedError(
            f"{op}: expected one of cuda {', cuda '.join(_DEVICE_TYPES)}, got {x.device.type} {dtype}"
        )
    offered = _DEVICE_OPS[op]
    chosen = offered[0] if len(offered) == 1 else _fastest(op, key, dtype, size)
    module = f"megaseg.kernels.triton.{_MODULES.get(op, op)}"
    if chosen == "cuda":
        module = "megaseg.kernels.cuda"
    function: Implementation = getattr(importlib.import_module(module), f"torch_{op}" if chosen == "torch" else op)
    return function


def _fastest(op: str, key: str, dtype: str, size: int) -> str:
    from megaseg.kernels import cuda
    from megaseg.kernels.triton.configurations import capability, choice

    chosen = choice(op, capability(), key).implementation
    if chosen == "cuda" and not cuda.offers(op, dtype, size, divmod(capability(), 10)):
        return "triton"
    return chosen
