"""A feed-forward half of the scene preset over 64 windows: 768 to 3,072 with GELU. Packing the weight is included."""

from benchmarks.kernel import compare, normal
from benchmarks.rows import Row


def run() -> list[Row]:
    arrays = (normal(1216, 768), normal(3072, 768) / 28, normal(3072))
    return compare("linear", "1216 x 768 x 3072 with GELU", arrays, 2 * 1216 * 768 * 3072e-9, gelu=True)
