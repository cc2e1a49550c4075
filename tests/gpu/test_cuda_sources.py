"""The CUDA C++ kernels where no GPU is: what nvcc makes of them, and what their front refuses.

What they compute is tested on emulated threads (tests/cuda, CTest ``cuda_emulated``) and on a GPU (tests/gpu).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from megaseg import _C
from megaseg.errors import UnsupportedError
from megaseg.kernels import cuda

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = ("80", "90a")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
built = pytest.mark.skipif(not _C.cuda_architectures(), reason="a build without CUDA")


def disassembler() -> str | None:
    """cuobjdump of the toolkit, or the one that Triton's package has."""
    triton = importlib.util.find_spec("triton")
    bundled = Path(str(triton.origin)).parent / "backends" / "nvidia" / "bin" / "cuobjdump" if triton else None
    return shutil.which("cuobjdump") or (str(bundled) if bundled and bundled.is_file() else None)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(source, architecture) -> path of the code, and what ptxas says of it."""
    folder = tmp_path_factory.mktemp("cuda")

    def compile_one(source, architecture):
        code = folder / f"{source.stem}.{architecture}.cubin"
        target = f"arch=compute_{architecture},code=sm_{architecture}"
        command = [
            "nvcc",
            "-std=c++20",
            "-I",
            ROOT / "csrc",
            "-gencode",
            target,
            "-Xptxas",
            "-v",
            "-Werror",
            "all-warnings",
        ]
        done = subprocess.run([*command, "-cubin", "-o", code, source], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return code, done.stderr

    places = [(source, architecture) for source in SOURCES for architecture in ARCHITECTURES]
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda place: compile_one(*place), places)
    return {(source.stem, architecture): result for (source, architecture), result in zip(places, results, strict=True)}


def short(name: str) -> str:
    """attend_long<bfloat16, 64> of a mangled name."""
    kernel = re.search(r"\d+([a-z]+_[a-z]+)I", name)
    parts = [("float16", "bfloat16")[int(i)] for i in re.findall(r"TypeE(\d)", name)]
    parts += re.findall(r"Li(\d+)E", name)
    assert kernel, name
    return f"{kernel[1]}<{', '.join(parts)}>"


@needs_nvcc
def test_nothing_spills_and_registers_fit(compiled):
    pattern = (
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers(?:.*?(\d+) bytes smem)?[^\n]*"
    )
    threads = {"attend_long": 128, "attend_short": 128, "decide_band": 256}
    for (source, architecture), (_, log) in compiled.items():
        kernels = re.findall(pattern, log, re.S)
        assert len(kernels) == {"bottleneck_attention": 12, "banded_estep": 2}[source]
        for name, stack, stores, loads, registers, shared in kernels:
            print(f"sm_{architecture} {short(name)}: {registers} registers, {shared or 0} bytes static shared memory")
            assert (stack, stores, loads) == ("0", "0", "0"), f"sm_{architecture} {short(name)} spills"
            assert int(registers) <= 255
            # Blocks at once on a multiprocessor, whose 65,536 registers are given out to a warp in groups of 8 a lane.
            blocks = 65536 // (-(-int(registers) // 8) * 8 * threads[short(name).partition("<")[0]])
            assert blocks >= 2, f"sm_{architecture} {short(name)}: {registers} registers"


@needs_nvcc
@pytest.mark.skipif(disassembler() is None, reason="no cuobjdump")
def test_tensor_cores_and_asynchronous_copies_are_in_the_code(compiled):
    for (source, architecture), (code, _) in compiled.items():
        command = [str(disassembler()), "-sass", str(code)]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        functions = re.split(r"Function : ", listing)[1:]
        assert functions, source
        for text in functions:
            name = short(text.split("\n", 1)[0])
            opcodes = set(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+ )?([A-Z0-9]+)", text, re.M))
            assert {"HMMA", "LDSM", "LDGSTS"} <= opcodes, f"sm_{architecture} {name}: {sorted(opcodes)}"


@built
@pytest.mark.parametrize(
    ("op", "dtype", "size", "capability", "offered"),
    [
        ("bottleneck_attention", "float16", 32, (8, 0), True),
        ("bottleneck_attention", "bfloat16", 128, (10, 0), True),
        ("bottleneck_attention", "float16", 48, (9, 0), False),
        ("bottleneck_attention", "float32", 64, (9, 0), False),
        ("bottleneck_attention", "float16", 64, (7, 5), False),
        ("banded_estep", "float16", 768, (8, 6), True),
        ("banded_estep", "float16", 100, (9, 0), False),
        ("window_attention", "float16", 64, (9, 0), False),
    ],
)
def test_what_is_offered(op, dtype, size, capability, offered):
    assert cuda.offers(op, dtype, size, capability) is offered


@built
def test_tensors_of_another_device_are_refused():
    torch = pytest.importorskip("torch")
    q, begin = torch.zeros(3, 32, dtype=torch.float16), torch.tensor([0, 3], dtype=torch.int32)
    with pytest.raises(UnsupportedError, match="expected tensors of a CUDA device, got cpu"):
        cuda.bottleneck_attention(q, q, q, begin, 1, 0, 3)


def test_a_build_without_cuda_says_what_to_build(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(_C, "cuda_architectures", list)
    assert not cuda.offers("banded_estep", "float16", 64, (9, 0))
    x, begin = torch.zeros(3, 64, dtype=torch.float16), torch.tensor([0, 3], dtype=torch.int32)
    with pytest.raises(UnsupportedError, match="build where nvcc is, with CMAKE_ARGS=-DMEGASEG_CUDA=ON"):
        cuda.banded_estep(x, x, begin, begin, begin, begin, 3, 3, 3, 0.5)


@built
def test_what_cuda_says_is_raised():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("the launch would succeed")
    sizes = {"batch": 1, "heads": 1, "head_size": 32, "bottlenecks": 0, "longest": 1, "latent_queries": False}
    rows = dict.fromkeys(("q", "k", "v", "out"), (0, 32))
    with pytest.raises(RuntimeError, match="bottleneck_attention: .*(CUDA|driver|device)"):
        _C.cuda_bottleneck_attention(dtype="float16", **rows, begin=0, **sizes, stream=0)
    with pytest.raises(ValueError, match="dtype: expected float16 or bfloat16, got float32"):
        _C.cuda_bottleneck_attention(dtype="float32", **rows, begin=0, **sizes, stream=0)


def test_rows_that_are_not_aligned_are_copied():
    torch = pytest.importorskip("torch")
    wide = torch.arange(5 * 64).reshape(5, 64).to(torch.float16)
    kept = wide[:, 8:40]
    assert cuda._rows(cuda._aligned(kept)) == (wide.data_ptr() + 16, 64)
    for moved in (wide[:, 4:36], wide[:, :60].contiguous()[:, :32], wide.T.contiguous().T[:, :32]):
        address, stride = cuda._rows(copy := cuda._aligned(moved))
        assert (address % 16, stride) == (0, 32)
        assert torch.equal(copy, moved)
