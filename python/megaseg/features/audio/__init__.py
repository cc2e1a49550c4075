"""Measures of a film's sound."""
