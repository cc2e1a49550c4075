"""Whether values are finite: features are asked it whenever they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def all_finite(x: NDArray[Any]) -> bool:
    """Whether no value of x, of any shape, is NaN or Inf; in C++ where the extension is built and x is contiguous."""
    if x.dtype in (np.float32, np.float16) and x.flags.c_contiguous and x.dtype.isnative:
        try:
            from megaseg import _C
        except ImportError:
            pass
        else:
            return bool(_C.all_finite(x))
    return bool(np.isfinite(x).all())
