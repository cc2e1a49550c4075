"""The only table from (op, device, dtype) to implementation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import UnsupportedError

Array = NDArray[np.float32]
Implementation = Callable[..., Array]

OPS = ("linear", "layer_norm", "embed", "bottleneck_attention", "window_attention", "query_attention")
# Implementations are named, not imported: a backend's libraries load when its first op runs.
_TABLE = {(op, "cpu", "float32"): ("megaseg._C", op) for op in OPS}


def implementation(op: str, x: NDArray[Any]) -> Implementation:
    """The implementation of ``op`` for the array it will work on.

    Raises:
        UnsupportedError: no implementation for the array's device and dtype; lists those there are.
    """
    key = (op, "cpu", str(x.dtype))
    if key not in _TABLE:
        offered = ", ".join(f"{device} {dtype}" for name, device, dtype in _TABLE if name == op)
        raise UnsupportedError(f"{op}: expected one of {offered or 'no op of this name'}, got {key[1]} {key[2]}")
    module, name = _TABLE[key]
    function: Implementation = getattr(importlib.import_module(module), name)
    return function
