"""The compiled extension. Arrays are C-contiguous; a wrong shape is a ValueError, a wrong dtype a TypeError."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.config import ModelConfig

_Array = NDArray[np.float32]

PASSES: dict[str, int]

def available_targets() -> list[str]: ...
def target() -> str: ...

class Plan:
    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, NDArray[Any]],
        *,
        num_threads: int = 0,
        memory_limit: int = 0,
        passes: int = ...,
        target: str = "",
    ) -> None: ...
    def run(self, features: Sequence[_Array]) -> _Array: ...
    @property
    def target(self) -> str: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...

def linear(
    x: _Array,
    weight: _Array,
    bias: _Array | None = None,
    residual: _Array | None = None,
    *,
    gelu: bool = False,
    target: str = "",
    num_threads: int = 1,
) -> _Array: ...
def layer_norm(x: _Array, gamma: _Array, beta: _Array, *, eps: float = 1e-5, target: str = "") -> _Array: ...
def embed(
    x: _Array,
    position: _Array,
    align: _Array,
    gamma: _Array,
    beta: _Array,
    *,
    eps: float = 1e-5,
    first: int = 0,
    windows: int,
    target: str = "",
) -> _Array: ...
def bottleneck_attention(
    q: _Array,
    k: _Array,
    v: _Array,
    *,
    batch: int,
    heads: int,
    bottlenecks: int,
    latent_queries: bool = False,
    target: str = "",
    num_threads: int = 1,
) -> _Array: ...
def window_attention(
    shot: _Array,
    position: _Array,
    shift: _Array,
    bottleneck: _Array,
    inverse_sigma: _Array,
    *,
    heads: int,
    first: int = 0,
    target: str = "",
    num_threads: int = 1,
) -> _Array: ...
def query_attention(
    query: _Array, bottleneck_rows: _Array, latent_rows: _Array, *, scale: float, target: str = ""
) -> _Array: ...
