"""Latents of 64 windows of the scene preset from 80 projected shots."""

from benchmarks.kernel import compare, normal
from benchmarks.rows import Row


def run() -> list[Row]:
    arrays = (normal(80, 768), normal(17, 768), normal(2, 768), normal(768), normal(768, seed=1))
    return compare("embed", "64 windows x 17 x 768", arrays, 10 * 64 * 17 * 768e-9, windows=64, first=8)
