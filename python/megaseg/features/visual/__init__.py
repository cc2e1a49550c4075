"""Measures of a film's pictures and frames."""
