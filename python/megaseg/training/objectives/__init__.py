"""Losses and the targets that they compare with: one module each, functions of tensors and numbers alone."""
