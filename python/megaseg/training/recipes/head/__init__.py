"""Heads on encoders of shots: one file a head, one row of ``registry.py`` each."""
