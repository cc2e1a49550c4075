"""Layer normalisation of 64 windows of the scene preset."""

from benchmarks.kernel import compare, normal
from benchmarks.rows import Row


def run() -> list[Row]:
    arrays = (normal(1216, 768), normal(768), normal(768))
    return compare("layer_norm", "1216 x 768", arrays, 8 * 1216 * 768e-9)
