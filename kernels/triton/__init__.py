"""Kernels in Triton, one file per op: CUDA tensors in, CUDA tensor out; CPU tensors under TRITON_INTERPRET=1."""
