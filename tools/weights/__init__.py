"""Weights that the package ships, made from those that others have published."""
