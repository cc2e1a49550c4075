"""The graph on packed rows of a CUDA device."""
