"""Inputs of a model: per-shot features and the files that hold them."""
