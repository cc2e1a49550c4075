"""The graph on ragged rows of a CUDA device."""
