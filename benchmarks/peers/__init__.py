"""The peers of the CPU engine, each in a process of its own: torch, torch.compile, ONNX Runtime, OpenVINO, and ours."""
