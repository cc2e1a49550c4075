"""The C++ engine: lowering, compiled models, and the backend that runs them."""
