"""Benchmarks: ``python -m benchmarks`` runs all cases; every speed is checked against the reference in the same run."""
