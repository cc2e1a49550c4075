"""The act preset's fusion attention for one modality: 3,000 latents over 3,600 tokens, four heads of 32."""

from benchmarks.kernel import compare, normal
from benchmarks.rows import Row


def run() -> list[Row]:
    arrays = (normal(3000, 128), normal(3600, 128), normal(3600, 128, seed=1))
    gflop = 4 * 3000 * 3600 * 128e-9
    options = {"batch": 1, "heads": 4, "bottlenecks": 600, "latent_queries": True}
    return compare("bottleneck_attention", "3000 x 3600, 4 heads of 32", arrays, gflop, **options)
