"""The ops by themselves: one module per op, the table of implementations, and the oracle they are tested against.

Matrices are float32, or bfloat16 as uint16 bits (``cast`` makes them). A result is stored as ``out`` is, where given.
"""

from megaseg.kernels.banded_estep import banded_estep
from megaseg.kernels.bottleneck_attention import bottleneck_attention
from megaseg.kernels.cast import cast
from megaseg.kernels.embed import embed
from megaseg.kernels.layer_norm import layer_norm
from megaseg.kernels.linear import linear
from megaseg.kernels.query_attention import query_attention
from megaseg.kernels.scene_pairs import ScenePairs, scene_pairs
from megaseg.kernels.window_attention import window_attention

__all__ = [
    "ScenePairs",
    "banded_estep",
    "bottleneck_attention",
    "cast",
    "embed",
    "layer_norm",
    "linear",
    "query_attention",
    "scene_pairs",
    "window_attention",
]
