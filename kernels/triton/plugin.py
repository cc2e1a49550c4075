"""Attention as a TensorRT plugin whose compiled Triton kernel goes into the engine: no Python when it runs.

Quickly deployable plugins (``tensorrt.plugin``) can be compiled ahead of time since TensorRT 10.9, which launches them
with the inputs' addresses, int32 sizes and the output's address, in this order and with nothing after them.
"""

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from megaseg.errors import UnsupportedError
from megaseg.kernels.triton import configurations
from megaseg.kernels.triton.bottleneck_attention import SHORT, _fold, _rows

NAMESPACE, NAME = "megaseg", "bottleneck_attention"
TYPES = {"HALF": "fp16", "BF16": "bf16", "FLOAT": "fp32"}  # TensorRT's names and Triton's
_MOST_SHARED = 48 << 10  # bytes that a launch may ask for without an attribute of the function
_LOG2E = tl.constexpr(math.log2(math.e))


@triton.jit
def dense_attention(
    q,  # [sequences, rows, HEADS * SIZE], scaled
    k,  # [sequences, tokens, HEADS * SIZE]
    v,  # as k
    rows,
    tokens,
    out,  # as q
    HEADS: tl.constexpr,
    SIZE: tl.constexpr,
    COLUMNS: tl.constexpr,  # the power of two above SIZE
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    ONE_TILE: tl.constexpr,  # of keys
):
    """softmax(q k^T) v of each sequence and head; one program a tile of queries of one head."""
    WIDTH: tl.constexpr = HEADS * SIZE
    program, tiles = tl.program_id(0), tl.cdiv(rows, QUERIES)
    tile, head, sequence = program % tiles, program // tiles % HEADS, program // tiles // HEADS
    column = tl.arange(0, COLUMNS)
    token = tile * QUERIES + tl.arange(0, QUERIES)
    row = (sequence * rows + token).to(tl.int64)
    asked = token < rows
    queries = _rows(q + head * SIZE, row, asked, column, WIDTH, SIZE, COLUMNS, True)

    peak = tl.full((QUERIES,), float("-inf"), tl.float32)  # highest score so far, scaled
    total = tl.zeros((QUERIES,), tl.float32)
    sums = tl.zeros((QUERIES, COLUMNS), tl.float32)
    k += head * SIZE
    v += head * SIZE
    first = sequence * tokens
    key = tl.arange(0, KEYS)
    whole = 0 if ONE_TILE else tokens // KEYS * KEYS
    if not ONE_TILE:
        for start in range(0, whole, KEYS):
            peak, total, sums = _fold(
                queries, k, v, start + key, tokens, 0, 0, first, column, WIDTH, WIDTH,
                _LOG2E, peak, total, sums, SIZE, COLUMNS, False
            )  # fmt: skip
    if whole < tokens:
        peak, total, sums = _fold(
            queries, k, v, whole + key, tokens, 0, 0, first, column, WIDTH, WIDTH,
            _LOG2E, peak, total, sums, SIZE, COLUMNS, True
        )  # fmt: skip
    at = out + head * SIZE + row[:, None] * WIDTH + column[None, :]
    result = (sums / total[:, None]).to(out.dtype.element_ty)
    tl.store(at, result, mask=asked[:, None] & (column < SIZE)[None, :])


@dataclass(frozen=True)
class Kernel:
    """``dense_attention`` as machine text, and what its launch needs besides the grid."""

    name: str
    ptx: str
    warps: int
    shared: int  # bytes of a block
    queries: int  # of a program


def constants(dtype: str, heads: int, size: int, tokens: int, capability: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Compile-time arguments of the kernel, and the compiler's options, as ``configurations.json`` has them.

    ``tokens`` are the keys of every sequence, 0 if that is not known.
    """
    columns = max(16, triton.next_power_of_2(size))
    side = max(16, triton.next_power_of_2(tokens)) if 0 < tokens <= SHORT else 0
    key = "float32" if dtype == "fp32" else f"{'short' if side else 'long'}.{columns}"
    chosen = configurations.configuration(NAME, capability, key)
    queries, keys = chosen.pop("QUERIES", side), chosen.pop("KEYS", side)
    sizes = {"HEADS": heads, "SIZE": size, "COLUMNS": columns, "QUERIES": queries, "KEYS": keys}
    return {**sizes, "ONE_TILE": 0 < tokens <= keys}, chosen


@functools.cache
def compiled(dtype: str, heads: int, size: int, tokens: int, capability: int) -> Kernel:
    """Compile the kernel for a GPU, which need not be there (``capability`` 90 for sm_90).

    Raises:
        UnsupportedError: it needs more shared memory than a plugin's launch can ask for.
    """
    values, chosen = constants(dtype, heads, size, tokens, capability)
    options: dict[str, Any] = {**chosen, "enable_fp_fusion": True}
    signature = {"q": f"*{dtype}", "k": f"*{dtype}", "v": f"*{dtype}", "rows": "i32", "tokens": "i32"}
    signature |= {"out": f"*{dtype}"} | dict.fromkeys(values, "constexpr")
    # TensorRT's tensors begin at multiples of 256 bytes.
    aligned = {(index,): [["tt.divisibility", 16]] for index, kind in enumerate(signature.values()) if kind[0] == "*"}
    source = ASTSource(dense_attention, signature, values, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    while made.metadata.shared > _MOST_SHARED and options.get("num_stages", 1) > 1:
        options["num_stages"] -= 1
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    if made.metadata.shared > _MOST_SHARED:
        raise UnsupportedError(
            f"attention plugin: expected at most {_MOST_SHARED} bytes of shared memory, got {made.metadata.shared} "
            f"for {dtype}, heads {size} wide"
        )
    ptx = own_parameters(made.asm["ptx"], sum(kind != "constexpr" for kind in signature.values()))
    return Kernel(made.metadata.name, ptx, made.metadata.num_warps, made.metadata.shared, values["QUERIES"])


def own_parameters(ptx: str, count: int) -> str:
    """PTX whose kernel has only its first ``count`` parameters.

    Triton adds addresses of scratch memory at the end, which its own launcher fills in and this kernel never reads;
    TensorRT would launch it with too few arguments.

    Raises:
        UnsupportedError: the kernel reads one of them.
    """
    entry = re.search(r"\.visible \.entry \w+\(\s*(.*?)\s*\)\n", ptx, re.DOTALL)
    parameters = entry[1].split(",") if entry else []
    if entry is None or len(parameters) < count:
        raise UnsupportedError(f"attention plugin: expected {count} parameters in Triton's PTX, got {len(parameters)}")
    for parameter in parameters[count:]:
        name = parameter.split()[-1]
        if len(re.findall(rf"\b{re.escape(name)}\b", ptx)) > 1:
            raise UnsupportedError(f"attention plugin: expected no use of Triton's parameter {name}, got one")
    return ptx[: entry.start(1)] + ",".join(parameters[:count]) + ptx[entry.end(1) :]


@functools.cache
def register() -> None:
    """Make ``megaseg::bottleneck_attention`` known to TensorRT, for engines built in this process.

    Inputs q (sequences, rows, C), scaled, k and v (sequences, tokens, C), of one type; attributes ``heads``, ``size``
    = C / heads, and ``tokens``, or 0 where sequences differ. Output as q.

    Raises:
        UnsupportedError: TensorRT is older than 10.9.
    """
    try:
        import tensorrt as trt
        import tensorrt.plugin as trtp

        aot_impl = trtp.aot_impl
    except (ImportError, AttributeError) as error:
        raise UnsupportedError(f"attention 'plugin': expected TensorRT 10.9 or later ({error})") from error

    @trtp.register(f"{NAMESPACE}::{NAME}")
    def describe(
        q: trtp.TensorDesc, k: trtp.TensorDesc, v: trtp.TensorDesc, heads: int, size: int, tokens: int
    ) -> trtp.TensorDesc:
        return q.like()

    @aot_impl(f"{NAMESPACE}::{NAME}")
    def implement(
        q: trtp.TensorDesc,
        k: trtp.TensorDesc,
        v: trtp.TensorDesc,
        heads: int,
        size: int,
        tokens: int,
        outputs: tuple[trtp.TensorDesc],
        tactic: int,
    ) -> tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]:
        dtype = TYPES[trt.DataType(q.dtype).name]
        kernel = compiled(dtype, heads, size, tokens, configurations.capability())
        sequences, rows = q.shape_expr[0], q.shape_expr[1]
        launch = trtp.KernelLaunchParams()
        launch.grid_x = trtp.cdiv(rows, kernel.queries) * sequences * heads
        launch.block_x = 32 * kernel.warps
        launch.shared_mem = kernel.shared
        sizes = trtp.SymIntExprs(2)
        sizes[0], sizes[1] = trtp.SymInt32(rows), trtp.SymInt32(k.shape_expr[1])
        return kernel.name, kernel.ptx, launch, sizes
