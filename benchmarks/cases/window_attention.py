"""The scene preset's first attention over 64 windows, from tables."""

import numpy as np

from benchmarks.kernel import compare, normal
from benchmarks.rows import Row


def run() -> list[Row]:
    inverse_sigma = np.random.default_rng(0).uniform(0.5, 1, (64, 17)).astype(np.float32)
    arrays = (normal(80, 2304), normal(17, 2304), normal(2304), normal(2, 2304), inverse_sigma)
    gflop = 64 * (4 * 19 * 19 * 768 + 3 * 17 * 2304) * 1e-9
    return compare("window_attention", "64 windows x 19 tokens, 12 heads of 64", arrays, gflop, heads=12, first=8)
