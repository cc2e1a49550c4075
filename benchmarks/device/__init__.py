"""What is measured on a GPU: clocks and ceilings, the kernels' candidates, and peers that hold the model as written."""
