"""Backends: one folder each, behind one protocol."""
