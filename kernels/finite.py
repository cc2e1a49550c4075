"""Whether values are finite: features are asked it whenever they come."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {np.dtype(np.float32), np.dtype(np.float16)}


def all_finite(x: NDArray[Any]) -> bool:
    """Whether no value of x, of any shape, is NaN or Inf; in C++ where the extension is built and x is contiguous."""
    native = _native() if x.dtype in _DTYPES and x.flags.c_contiguous else None
    return bool(np.isfinite(x).all()) if native is None else native(x)


@cache
def _native() -> Callable[[NDArray[Any]], bool] | None:
    try:
        from megaseg import _C
    except ImportError:
        return None
    return _C.all_finite
