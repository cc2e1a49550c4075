"""The scene preset's last attention over 64 windows: one folded query, 23 tokens, twelve heads."""

from benchmarks.kernel import compare, normal
from benchmarks.rows import Row


def run() -> list[Row]:
    arrays = (normal(64, 12, 768) / 28, normal(64, 6, 768), normal(64, 17, 768))
    return compare("query_attention", "64 windows x 12 x 23 x 768", arrays, 4 * 64 * 12 * 23 * 768e-9, scale=0.125)
