"""A small writer of ONNX graphs: float16 weights, float32 arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET = 17
EPSILON = 1e-3  # of the batch normalisations of both networks


class GraphWriter:
    """Nodes in the order in which they are added; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights[name] = np.asarray(values, dtype)
        return name

    def weight(self, values: np.ndarray) -> str:
        """A float32 value that the file holds as float16; the session casts it once, when it is loaded."""
        return self.node("Cast", self.constant(values, np.float16), to=TensorProto.FLOAT)

    def conv(self, x: str, weight: np.ndarray, bias: np.ndarray, **attributes: Any) -> str:
        return self.node("Conv", x, self.weight(weight), self.weight(bias), **attributes)

    def save(self, path: Path, input_type: tuple[str, int, list[Any]], outputs: Mapping[str, list[Any]]) -> None:
        """Write the graph of one input (name, type, shape) and outputs (name of the value: shape)."""
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info(*input_type)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            [numpy_helper.from_array(values, name) for name, values in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="megaseg")
        model.ir_version = 8
        checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())


def batch_norm(state: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift (channels,) of a batch normalisation with its trained statistics."""
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + EPSILON)
    return scale, state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a torch state dict as float64."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.double().numpy() for name, tensor in state.items()}
