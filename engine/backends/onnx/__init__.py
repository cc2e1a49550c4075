"""The graph as an ONNX model, and ONNX Runtime to run it."""
