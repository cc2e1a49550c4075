"""The attention plugin: its kernel on Triton's interpreter, as compiled text, and before TensorRT's own plugin code.

Each in a process of its own: Triton's interpreter and compiler do not share one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorrt_api import compiler

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
TESTS = Path(__file__).parent

NUMBERS = """
import numpy as np, torch
from megaseg.kernels.triton import plugin
rng = np.random.default_rng(4)
CASES = [(3, 19, 19, 2, 16), (2, 5, 21, 3, 5), (1, 130, 151, 1, 24), (2, 1, 1, 2, 8)]
for sequences, rows, tokens, heads, size in CASES:
    for known in {tokens, 0}:
        width = heads * size
        q, k, v = (torch.from_numpy(rng.standard_normal((sequences, n, width))).float() for n in (rows, tokens, tokens))
        out = torch.full_like(q, 99)
        values, _ = plugin.constants("fp32", heads, size, known, 90)
        if known == 0:
            values |= {"QUERIES": 32, "KEYS": 16}  # several tiles of both
        grid = -(-rows // values["QUERIES"]) * sequences * heads
        plugin.dense_attention[(grid,)](q, k, v, rows, tokens, out, **values)
        a, b, c = (x.double().reshape(sequences, -1, heads, size).transpose(1, 2) for x in (q, k, v))
        want = ((a @ b.transpose(2, 3)).softmax(dim=3) @ c).transpose(1, 2).reshape(out.shape)
        error = (out - want).abs().max().item()
        assert error < 2e-5, (rows, tokens, heads, size, known, error)
        print("equal")
"""

COMPILED = """
import re, subprocess, tempfile
from megaseg.errors import UnsupportedError
from megaseg.kernels.triton import plugin
import triton
from triton.backends.nvidia.compiler import get_ptxas
for capability in (80, 90, 100):
    for dtype in ("fp16", "bf16"):
        for heads, size, tokens in ((12, 64, 19), (12, 64, 23), (4, 32, 0)):
            kernel = plugin.compiled(dtype, heads, size, tokens, capability)
            entry = re.search(r"[.]entry (\\w+)[(](.*?)[)]\\n", kernel.ptx, re.DOTALL)
            assert entry[1] == kernel.name
            kinds = re.findall(r"[.]param [.](\\w+)", entry[2])
            assert kinds == ["u64", "u64", "u64", "u32", "u32", "u64"], kinds
            assert kernel.shared <= 48 << 10
            architecture = re.search(r"[.]target (\\w+)", kernel.ptx)[1]
            with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
                file.write(kernel.ptx)
                file.flush()
                command = [get_ptxas(capability).path, "-v", f"-arch={architecture}", file.name, "-o", "/dev/null"]
                done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert "0 bytes spill stores, 0 bytes spill loads" in done.stderr, done.stderr
            print("assembled")
text = ".visible .entry f(\\n.param .u64 f_0,\\n.param .u64 f_1\\n)\\n{ ld.param.u64 a, [f_0]; }"
assert "f_1" not in plugin.own_parameters(text, 1)
for wrong, count in ((text.replace("[f_0]", "[f_1]"), 1), (text, 3), ("", 1)):
    try:
        plugin.own_parameters(wrong, count)
    except UnsupportedError as error:
        print("refused")
"""

REGISTERED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tensorrt_api import load
trt = load(Path({bindings!r}), Path({folder!r}))


class Registry:
    creators = []

    def get_creator(self, name, version, namespace):
        return None

    def register_creator(self, creator, namespace):
        self.creators.append((creator.name, namespace, [field.name for field in creator.field_names]))


trt.get_plugin_registry = Registry  # of a library that is not there
import tensorrt.plugin as trtp
from tensorrt.plugin._lib import QDP_REGISTRY
from tensorrt.plugin._tensor import SymIntExpr
from megaseg.kernels.triton import plugin

plugin.configurations.capability = lambda: 90
plugin.register()
assert Registry.creators == [("bottleneck_attention", "megaseg", ["heads", "size", "tokens"])], Registry.creators
defined = QDP_REGISTRY["megaseg::bottleneck_attention"]


class Expression(trt.IDimensionExpr):
    value = 0


def expression(value):
    made = Expression.__new__(Expression)
    made.value = value
    return made


class Expressions:
    constant = staticmethod(expression)

    @staticmethod
    def operation(op, a, b):
        a, b = a.value, b.value
        known = trt.DimensionOperation
        return expression({{known.CEIL_DIV: -(-a // b) if b else 0, known.PROD: a * b, known.SUM: a + b}}[op])


def tensor(*shape):
    made = trtp.TensorDesc(dtype=trt.float16)
    made.shape_expr = trtp.ShapeExprs.from_tuple(tuple(trtp.ShapeExpr(expression(n)) for n in shape))
    return made


SymIntExpr._exprBuilder = Expressions()
q, k, v = tensor(7, 300, 128), tensor(7, 900, 128), tensor(7, 900, 128)
out = defined.register_func(q, k, v, 4, 32, 0)
assert [size._expr.value for size in out.shape_expr] == [7, 300, 128]
assert out.dtype == trt.float16
name, ptx, launch, sizes = defined.aot_impl_func(q, k, v, 4, 32, 0, (out,), 0)
kernel = plugin.compiled("fp16", 4, 32, 0, 90)
assert (name, ptx) == (kernel.name, kernel.ptx)
found = [getattr(launch, name)._expr.value for name in ("grid_x", "block_x", "shared_mem")]
assert found == [-(-300 // kernel.queries) * 7 * 4, 32 * kernel.warps, kernel.shared], found
assert [type(size) for size in sizes] == [trtp.SymInt32] * 2
assert [size._expr.value for size in sizes] == [300, 900]
print("registered")
"""


def run(code: str, interpret: bool) -> str:
    environment = {**os.environ, "TRITON_INTERPRET": "1" if interpret else "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    if interpret and "only 0-dimensional arrays can be converted to Python scalars" in done.stderr:
        pytest.skip("this Triton's interpreter knows no NumPy 2.4")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_kernel_on_the_interpreter() -> None:
    assert run(NUMBERS, interpret=True).count("equal") == 8


def test_the_kernel_as_text_has_the_parameters_that_tensorrt_gives_it() -> None:
    out = run(COMPILED, interpret=False)
    assert out.count("assembled") == 18
    assert out.count("refused") == 3


def test_the_plugin_as_tensorrt_sees_it(tmp_path: Path) -> None:
    try:
        found = importlib.metadata.distribution("tensorrt-cu13-bindings")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tensorrt-cu13-bindings is not installed")
    if compiler() is None:
        pytest.skip("no C compiler here")
    bindings = str(found.locate_file("tensorrt_bindings"))
    code = REGISTERED.format(tests=str(TESTS), bindings=bindings, folder=str(tmp_path))
    assert "registered" in run(code, interpret=False)
