"""ONNX operators and constants as they are written, each under a name of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from megaseg.engine.graph.graph import Weight
from megaseg.errors import CheckpointError, ResourceLimitError

FLOAT32 = "float32"
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
_MOST_BYTES = (1 << 31) - (1 << 20)  # of weights: a file ends at 2 GiB


class Writer:
    """``nodes`` and ``initializers`` in the order in which they were written."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._scope = ""  # of names: the node being lowered
        self._names: Counter[str] = Counter()
        self._constants: dict[Any, str] = {}
        self._bytes = 0

    def _name(self, kind: str) -> str:
        name = f"{self._scope}/{kind}"
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"

    def _op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = self._name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [out or name], name, **attributes))
        return out or name

    def _split(self, x: str, width: int, parts: int) -> list[str]:
        """Equal parts of x's columns."""
        name = self._name("Split")
        outputs = [f"{name}.{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x, self._integers(*[width] * parts)], outputs, name, axis=2))
        return outputs

    def _cast(self, x: str, own: str, to: str) -> str:
        return x if own == to else self._op("Cast", x, to=TYPES[to])

    def _reshape(self, x: str, *sizes: int) -> str:
        """0 keeps a size, -1 is what remains."""
        return self._op("Reshape", x, self._integers(*sizes))

    def _transpose(self, x: str, *order: int) -> str:
        return self._op("Transpose", x, perm=order)

    def _initializer(self, values: NDArray[Any], kind: str) -> str:
        name = self._name(kind)
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def _integers(self, *values: int) -> str:
        if values not in self._constants:
            self._constants[values] = self._initializer(np.array(values, np.int64), "integers")
        return self._constants[values]

    def _scalar(self, value: float, dtype: type[np.generic] = np.float32) -> str:
        key = (value, dtype)
        if key not in self._constants:
            self._constants[key] = self._initializer(np.array(value, dtype), "scalar")
        return self._constants[key]

    def _weight(self, weight: Weight, kind: str = FLOAT32, order: tuple[int, ...] | None = None) -> str:
        """Values of a weight in a type, its axes in another order if given."""
        key = (weight, kind, order)
        if key not in self._constants:
            with np.errstate(over="ignore"):  # found below
                values = weight.read().astype(helper.tensor_dtype_to_np_dtype(TYPES[kind]))
                values = values if order is None else np.ascontiguousarray(values.transpose(order))
            name = self._constants[key] = self._initializer(values, "weight")
            if not np.isfinite(values.astype(np.float32)).all():
                raise CheckpointError(f"{name}: expected finite values in {kind}, got NaN, Inf or an overflow")
            self._bytes += values.nbytes
            if self._bytes > _MOST_BYTES:
                raise ResourceLimitError(f"ONNX: expected at most {_MOST_BYTES} bytes of weights in a file, got more")
        return self._constants[key]
