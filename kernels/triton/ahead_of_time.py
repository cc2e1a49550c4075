"""Every Triton kernel compiled without a GPU, and what its compiler reports: ``python -m`` this module prints a table.

Each op is called as the presets call it, on tensors without storage; in place of a launch the kernel is compiled with
the very specialisation, so that nothing here repeats a kernel's signature.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

try:
    import torch
    import triton
except ImportError as error:
    if __name__ == "__main__":
        sys.exit(f"compiling kernels needs {error.name}: pip install 'megaseg[gpu]'")
    raise
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from megaseg.kernels.triton.banded_estep import banded_estep
from megaseg.kernels.triton.bottleneck_attention import bottleneck_attention
from megaseg.kernels.triton.embed import embed
from megaseg.kernels.triton.layer_norm import residual_layer_norm
from megaseg.kernels.triton.linear import bias_gelu, linear
from megaseg.kernels.triton.query_attention import query_attention
from megaseg.kernels.triton.scene_pairs import scene_pairs
from megaseg.kernels.triton.window_attention import window_attention

ARCHITECTURES = (80, 90, 100)
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
KIB = 1024
SHARED = {80: 163 * KIB, 90: 227 * KIB, 100: 227 * KIB}  # the most that one block may have
REGISTERS = 65536  # of a multiprocessor
THREADS, BLOCKS = 2048, 32  # on a multiprocessor
TENSOR_CORES = {"tcgen05.mma": "tcgen05", "wgmma.mma_async": "wgmma", "mma.sync": "mma"}

Call = Callable[[], object]


@dataclass(frozen=True)
class Compiled:
    """One kernel on one architecture, and its resources."""

    kernel: str
    preset: str
    dtype: str
    architecture: int
    warps: int
    registers: int  # of a thread
    shared: int  # bytes of a block
    local: int  # bytes of a thread's stack and local memory: what spilled
    tensor_cores: str  # instructions of the products: mma, wgmma, tcgen05; empty without

    @property
    def blocks(self) -> int:
        """On a multiprocessor at once, by registers (given out in eights), shared memory and threads."""
        threads = 32 * self.warps
        by_registers = REGISTERS // (-(-self.registers // 8) * 8 * threads)
        by_shared = (SHARED[self.architecture] + KIB) // (self.shared + KIB)
        return min(by_registers, by_shared, THREADS // threads, BLOCKS)

    @property
    def fits(self) -> bool:
        return self.local == 0 and self.blocks > 0


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def indices(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
    return empty(*shape, dtype=dtype)


def layer_calls(dtype: torch.dtype, rows: int, size: int, hidden: int) -> Iterator[Call]:
    """Everything of an encoder layer but its attention."""
    x, wide, bias, own = empty(rows, size, dtype=dtype), empty(rows, hidden, dtype=dtype), empty(hidden), empty(size)
    up, down = empty(hidden, size, dtype=dtype), empty(size, hidden, dtype=dtype)
    yield lambda: linear(x, up, bias, None, True)
    yield lambda: linear(wide, down, own, x, False)
    yield lambda: bias_gelu(wide, bias)
    yield lambda: residual_layer_norm(x, own, x, own, own, 1e-5)


def embed_call(dtype: torch.dtype, shots: int, rows: int, length: int, each: int, batch: int, size: int) -> Call:
    x, own, place = empty(shots, size, dtype=dtype), empty(size), indices(rows)
    position, align = empty(length, size), empty(each, size)
    return lambda: embed(x, place, place, place, position, align, own, own, align, batch, 1e-5)


def scene_calls(dtype: torch.dtype, windows: int = 512) -> Iterator[Call]:
    """Supplementary, Table 1b: L = 17, L_n = 2, C = 768, C_k = 3072; twelve heads, three modalities."""
    length, each, size, heads, shots = 17, 2, 768, 12, 3000
    rows = windows * (each + length)
    shot, row = empty(shots, 3 * size, dtype=dtype), indices(windows, length)
    tables = empty(length, 3 * size), empty(3 * size), empty(each, 3 * size), empty(windows, length)
    yield lambda: window_attention(shot, row, *tables, heads)
    q, k, v = empty(rows, 3 * size, dtype=dtype).chunk(3, dim=1)
    yield lambda: bottleneck_attention(q, k, v, indices(windows + 1), heads, each, length)
    query, own = empty(windows, heads, size, dtype=dtype), empty(windows, 3 * each, size, dtype=dtype)
    latents = empty(windows, length, size, dtype=dtype)
    yield lambda: query_attention(query, own, latents, 0.125)
    yield embed_call(dtype, shots, windows * length, length, each, windows, size)
    yield from layer_calls(dtype, rows, size, 3072)


def act_calls(dtype: torch.dtype, movies: int = 16) -> Iterator[Call]:
    """Table 1b: L = 3000, L_n = 100, C = C_k = 128; four heads, six modalities. And training's E-step and pairs."""
    length, each, size, heads = 3000, 100, 128, 4
    own, latents = 6 * movies * each, movies * length
    q = empty(latents, size, dtype=dtype)
    k, v = empty(own + latents, 2 * size, dtype=dtype).chunk(2, dim=1)
    yield lambda: bottleneck_attention(q, k, v, indices(movies + 1), heads, 6 * each, length, True)
    shots, sentences = (empty(movies * n, 6 * size, dtype=dtype) for n in (length, 60))
    begin, wide = indices(movies + 1), indices(movies + 1, dtype=torch.int64)
    yield lambda: banded_estep(shots, sentences, begin, begin, wide, wide, length, 60, movies * length * 8, 0.5)
    films = empty(1492, 512, dtype=dtype)
    yield lambda: scene_pairs(films, films, indices(96), indices(1492, dtype=torch.uint8), 0.5)
    yield embed_call(dtype, latents, latents, length, each, movies, size)
    yield from layer_calls(dtype, movies * (each + length), size, size)


def ones_calls(dtype: torch.dtype) -> Iterator[Call]:
    """Every size one: Triton makes constants of such arguments, and a kernel must stand it."""
    x, one = empty(1, 1, dtype=dtype), empty(1, 1)
    begin, wide = indices(2), indices(2, dtype=torch.int64)
    yield lambda: bottleneck_attention(x, x, x, begin, 1, 1, 1, True)
    yield lambda: bottleneck_attention(x, x, x, begin, 1, 1, 100)
    yield lambda: window_attention(empty(1, 3, dtype=dtype), indices(1, 1), one, one, one, one, 1)
    yield lambda: query_attention(x[None], x[None], x[None], 1.0)
    yield lambda: banded_estep(x, x, begin, begin, wide, wide, 1, 1, 1, 0.5)
    yield lambda: scene_pairs(x, x, indices(1), indices(1, dtype=torch.uint8), 0.5)
    yield embed_call(dtype, 1, 1, 1, 1, 1, 1)
    yield from layer_calls(dtype, 1, 1, 1)


PRESETS: dict[str, Callable[[torch.dtype], Iterator[Call]]] = {
    "scene": scene_calls,
    "act": act_calls,
    "ones": ones_calls,
}


class _Target:
    """In the place of Triton's driver: a GPU of an architecture, which compiles what it is asked to launch."""

    def __init__(self, architecture: int) -> None:
        self._target = GPUTarget("cuda", architecture, 32)
        self.compiled: list[Any] = []

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return int(self._target.arch)  # Triton keeps what it has made by device: each architecture is one

    def get_current_stream(self, device: int) -> int:
        return 0

    def __call__(self, *, fn: Any, compile: dict[str, Any], **_: Any) -> bool:
        """Triton's hook before it compiles for a launch; True says that there will be no launch."""
        source = ASTSource(fn.jit_function, compile["signature"], compile["constants"], compile["configs"][0])
        options = {name: compile[name] for name in ("num_warps", "num_ctas", "num_stages", "enable_fp_fusion")}
        self.compiled.append(triton.compile(source, target=self._target, options=options))
        return True


def compile_calls(architecture: int, calls: Iterator[Call]) -> list[Any]:
    """The kernels that the calls would launch, as Triton's compiled kernels; those compiled before are left out."""
    target = _Target(architecture)
    triton.runtime.driver.set_active(target)
    triton.knobs.runtime.jit_cache_hook = target
    for call in calls:
        call()
    return target.compiled


def resources(kernel: Any, preset: str, dtype: str) -> Compiled:
    """What cuobjdump says of the machine code, and Triton of the launch."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(kernel.asm["cubin"])
        cubin.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", cubin.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    number = {name: int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", usage)}
    cores = next((name for instruction, name in TENSOR_CORES.items() if instruction in kernel.asm["ptx"]), "")
    return Compiled(
        kernel=kernel.metadata.name.lstrip("_"),
        preset=preset,
        dtype=dtype,
        architecture=kernel.metadata.target.arch,
        warps=kernel.metadata.num_warps,
        registers=number["REG"],
        shared=kernel.metadata.shared,
        local=number["STACK"] + number["LOCAL"],
        tensor_cores=cores,
    )


def compile_all() -> Iterator[Compiled]:
    """Both presets in both half types everywhere; sizes of one are the front end's matter: once, in float32."""
    for architecture, (dtype, torch_type), (preset, calls) in itertools.product(
        ARCHITECTURES, TYPES.items(), PRESETS.items()
    ):
        if (preset, dtype, architecture) == ("ones", "fp32", 90) or (preset != "ones" and dtype != "fp32"):
            for kernel in compile_calls(architecture, calls(torch_type)):
                yield resources(kernel, preset, dtype)


def table(rows: list[Compiled]) -> Table:
    result = Table("kernel", "preset", "type", "sm", title=f"Triton {triton.__version__}, ahead of time")
    for name in ("warps", "registers", "shared", "spilled", "blocks/SM"):
        result.add_column(name, justify="right")
    result.add_column("tensor cores")
    for row in rows:
        numbers = (row.architecture, row.warps, row.registers, row.shared, row.local, row.blocks)
        style = None if row.fits else "bold red"
        result.add_row(row.kernel, row.preset, row.dtype, *map(str, numbers), row.tensor_cores, style=style)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Compile every Triton kernel for sm_80, sm_90 and sm_100, without a GPU."
    )
    parser.add_argument("--json", action="store_true", help="rows of JSON instead of a table")
    as_json = parser.parse_args().json
    if triton.knobs.runtime.interpret:
        parser.error("TRITON_INTERPRET: expected it unset, got 1: interpreted kernels are not compiled")
    rows = list(compile_all())
    if as_json:
        print(json.dumps([asdict(row) | {"blocks": row.blocks, "fits": row.fits} for row in rows], indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(table(rows))
    return 0 if all(row.fits for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
