"""Datatypes of tensors in requests and answers, by their names in the protocol, and their values as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "BOOL": np.dtype("?"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# Types of which the values of an input may come as bytes: both halves are widened to FP32, which is exact.
RAW = {**DTYPES, "FP16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def from_bytes(datatype: str, data: bytes | memoryview) -> NDArray[Any]:
    """Values (size,) of a datatype in ``RAW``, little-endian; where it is one of ``DTYPES`` they may be a view."""
    values: NDArray[Any] = np.frombuffer(data, RAW[datatype])
    if datatype == "BOOL":
        return np.not_equal(values.view(np.uint8), 0)  # any other byte would be a bool that is neither
    if datatype == "FP16":
        return values.astype(np.float32)
    if datatype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values
