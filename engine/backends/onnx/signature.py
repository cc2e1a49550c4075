"""What goes into an ONNX model and what comes out of it."""

from __future__ import annotations

from onnx import TensorProto, ValueInfoProto, helper

from megaseg.engine.backends.protocol import PARTS
from megaseg.engine.graph.graph import Graph
from megaseg.engine.graph.sequences import Windows

INPUT_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
WINDOWS = "windows"


def signature(graph: Graph) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Inputs and outputs of a model, with their sizes by name where they are free."""
    windowed = isinstance(graph.sequences, Windows)
    rows = ["windows"] if windowed else ["movies", "shots"]
    shots = ["shots"] if windowed else rows
    source = graph.source_inputs
    inputs = [
        helper.make_tensor_value_info(
            own.name, INPUT_TYPES[own.type], [*(["movies", "tokens"] if index in source else shots), own.feature_size]
        )
        for index, own in enumerate(graph.inputs)
    ]
    if isinstance(graph.sequences, Windows):
        inputs.append(helper.make_tensor_value_info(WINDOWS, TensorProto.INT64, [*rows, graph.sequences.length]))
    outputs = []
    for output in graph.outputs:
        free = rows if output.node.space == "latents" else rows[:1]
        sizes = {output.name: [output.node.width]}
        if output.parts:
            sizes[output.name + PARTS] = [len(output.parts), output.node.width]
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [*free, *own]) for name, own in sizes.items()
        ]
    return inputs, outputs
