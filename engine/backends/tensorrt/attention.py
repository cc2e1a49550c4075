"""The ONNX form with attention as a TensorRT plugin: our Triton kernel in the engine in the place of five operators."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import helper

from megaseg.engine.backends.onnx.file import IR_VERSION, OPSET
from megaseg.engine.backends.onnx.lowering import OnnxLowering
from megaseg.engine.backends.onnx.signature import signature
from megaseg.engine.graph.graph import Graph, Node
from megaseg.kernels.triton import plugin


def plugin_model(graph: Graph, compute_type: str) -> bytes:
    """A graph as ``megaseg.engine.backends.onnx.file.export`` writes it, with each attention a node of the plugin.

    Only TensorRT reads it, in a process where the plugin is registered: it is from here on.

    Raises:
        UnsupportedError: TensorRT is older than 10.9.
    """
    plugin.register()
    lowered = _PluginLowering(graph, compute_type)
    proto = helper.make_graph(lowered.nodes, "megaseg", *signature(graph), lowered.initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(plugin.NAMESPACE, 1)]
    model = helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="megaseg")
    return bytes(model.SerializeToString())


class _PluginLowering(OnnxLowering):
    _keys = 0  # of the node being lowered, in every sequence; 0 where sequences differ

    def _lower(self, node: Node, kinds: Sequence[str]) -> None:
        if self._length and node.op in ("attention", "window_attention"):
            own = node.inputs[1].prefix if node.op == "attention" else node.weights["prefix"].shape[0]
            self._keys = own + self._length
        super()._lower(node, kinds)

    def _attention(self, node: Node, q: str, k: str, v: str) -> str:
        heads = node.attributes["heads"]
        size = node.width // heads
        # TensorRT's parser looks for a plugin of the node's type, namespace and version; aot: its compiled kernel.
        return self._op(
            plugin.NAME,
            self._scaled(q, size),
            k,
            v,
            domain=plugin.NAMESPACE,
            plugin_namespace=plugin.NAMESPACE,
            plugin_version="1",
            aot=1,
            heads=heads,
            size=size,
            tokens=self._keys,
        )
