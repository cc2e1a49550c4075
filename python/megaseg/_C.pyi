"""The compiled extension. Arrays are C-contiguous; a wrong shape is a ValueError, a wrong dtype a TypeError."""

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float32]
_Matrix = NDArray[np.float32] | NDArray[np.uint16]  # uint16: bfloat16's bits
_Ints = NDArray[np.int32]

def ops() -> list[str]: ...
def available_targets() -> list[str]: ...
def target() -> str: ...
def compute_types(target: str = "") -> list[str]: ...
def product_types(target: str = "") -> list[str]: ...
def all_finite(x: NDArray[np.float32] | NDArray[np.float16]) -> bool: ...

class RowCache:
    @property
    def shots(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

_Excerpt = tuple[list[_Array | _Ints], int, int, RowCache | None]  # features, first, last, cache

class Plan:
    def __init__(self, path: str | bytes, *, num_threads: int = 0, memory_limit: int = 0) -> None: ...
    def run(self, excerpts: list[_Excerpt], outputs: list[str]) -> list[tuple[_Array, ...]]: ...
    # Seconds of a run, and of every step op, product, in_type, in_width, out_type, out_width, calls, seconds, rows,
    # operations, and bytes: read, written, weights. In processor time: of all threads together.
    def profile(
        self, excerpts: list[_Excerpt], outputs: list[str], *, cpu_time: bool = False
    ) -> tuple[float, list[dict[str, str | int | float]]]: ...
    # Of all threads: operations a second by type of products; of areas of (bytes) a thread bytes a second read, copied.
    def ceilings(self) -> tuple[dict[str, float], list[tuple[int, float, float]]]: ...
    def new_cache(self) -> RowCache | None: ...
    @property
    def metadata(self) -> bytes: ...
    # Sequences (kind, length, step), inputs (name, size, type, of the second stream), outputs (name, width, parts),
    # properties, target.
    @property
    def signature(
        self,
    ) -> tuple[
        tuple[str, int, int], list[tuple[str, int, str, bool]], list[tuple[str, int, int]], dict[str, str], str
    ]: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...

class Linear:
    def __init__(
        self,
        weight: _Array,
        bias: _Array | None = None,
        *,
        compute_type: str = "float32",
        target: str = "",
        num_threads: int = 1,
    ) -> None: ...
    def __call__(
        self, x: _Matrix, residual: _Matrix | None = None, *, gelu: bool = False, out: _Matrix | None = None
    ) -> _Matrix: ...
    def to_int8(
        self, x: _Matrix, residual: _Matrix | None = None, *, gelu: bool = False
    ) -> tuple[NDArray[np.uint8], _Array]: ...

def linear(
    x: _Matrix,
    weight: _Array,
    bias: _Array | None = None,
    residual: _Matrix | None = None,
    *,
    gelu: bool = False,
    compute_type: str = "float32",
    out: _Matrix | None = None,
    target: str = "",
    num_threads: int = 1,
) -> _Matrix: ...
def cast(x: _Matrix, dtype: str, *, target: str = "") -> _Matrix | tuple[NDArray[np.uint8], _Array]: ...
def layer_norm(
    x: _Matrix, gamma: _Array, beta: _Array, *, eps: float = 1e-5, out: _Matrix | None = None, target: str = ""
) -> _Matrix: ...
def embed(
    x: _Array,
    row: _Ints,
    place: _Ints,
    slot: _Ints,
    position: _Array,
    align: _Array,
    gamma: _Array,
    beta: _Array,
    *,
    eps: float = 1e-5,
    out: _Matrix | None = None,
    inverse_std: _Array | None = None,
    target: str = "",
) -> _Matrix: ...
def bottleneck_attention(
    q: _Matrix,
    k: _Matrix,
    v: _Matrix,
    begin: _Ints,
    *,
    heads: int,
    bottlenecks: int,
    query_begin: _Ints | None = None,
    latent_queries: bool = False,
    compute_type: str = "",
    out: _Matrix | None = None,
    target: str = "",
    num_threads: int = 1,
) -> _Matrix: ...
def window_attention(
    shot: _Array,
    row: _Ints,
    position: _Array,
    shift: _Array,
    bottleneck: _Array,
    inverse_std: _Array,
    *,
    heads: int,
    out: _Matrix | None = None,
    target: str = "",
    num_threads: int = 1,
) -> _Matrix: ...
def query_attention(
    query: _Array,
    bottleneck_rows: _Matrix,
    latent_rows: _Matrix,
    *,
    scale: float,
    out: _Matrix | None = None,
    target: str = "",
) -> _Matrix: ...
def banded_estep(
    shots: list[_Matrix],
    sentences: list[_Matrix],
    out: list[NDArray[np.uint8]],
    *,
    reach: list[int],
    threshold: float,
    as_bits: bool = False,
    target: str = "",
    num_threads: int = 1,
) -> list[int]: ...
def scene_pairs(
    us: list[_Matrix],
    vs: list[_Matrix],
    *,
    candidates: list[int],
    window: int,
    target: str = "",
    num_threads: int = 1,
) -> list[tuple[NDArray[np.int32], NDArray[np.float32], str]]: ...

# The kernels of a GPU, on addresses of its memory: rows are the address of the first, at a multiple of 16 bytes, and
# the elements from one to the next, a multiple of 8. They are there when cuda_architectures() is not empty.
_Rows = tuple[int, int]

def cuda_architectures() -> list[str]: ...
def cuda_bottleneck_attention(
    *,
    dtype: str,
    q: _Rows,
    k: _Rows,
    v: _Rows,
    out: _Rows,
    begin: int,
    batch: int,
    heads: int,
    head_size: int,
    bottlenecks: int,
    longest: int,
    latent_queries: bool,
    stream: int,
) -> None: ...
def cuda_banded_estep(
    *,
    dtype: str,
    shots: _Rows,
    sentences: _Rows,
    shot_begin: int,
    sentence_begin: int,
    reach: int,
    out_begin: int,
    bits: int,
    bad: int,
    batch: int,
    size: int,
    longest: int,
    total: int,
    threshold: float,
    stream: int,
) -> None: ...
