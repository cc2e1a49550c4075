"""The graph as a TensorRT engine."""
