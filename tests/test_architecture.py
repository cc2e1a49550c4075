"""Imports go one way: megaseg/* -> engine -> kernels -> _C, and errors is a leaf. torch stays where it belongs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "megaseg"
# Imported by the torch backends when they are made, and by the registry when a GPU's op first runs.
ON_TORCH = {
    *("engine/backends/torch/evaluation.py", "engine/backends/cuda/backend.py", "engine/backends/cuda/packed.py"),
    "kernels/torch_ops.py",
    *(f"kernels/triton/{path.name}" for path in (ROOT / "kernels" / "triton").glob("*.py")),
}
MENTION_TORCH = ON_TORCH | {
    *("engine/backends/torch/backend.py", "engine/backends/tensorrt/backend.py", "engine/backends/tensorrt/device.py"),
    *(f"kernels/{name}.py" for name in ("reference", "registry", "banded_estep", "cuda")),
}
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}

# What each layer may import of megaseg; everything else of the package is above it.
LAYERS = {
    "errors": set(),
    "_version": set(),
    "kernels": {"errors", "kernels", "_C"},
    "engine": {"errors", "kernels", "engine", "_C", "_version"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Path within the package and syntax tree of every module; engine/ and kernels/ through their links."""
    for folder in (PACKAGE, PACKAGE / "engine", PACKAGE / "kernels"):
        for path in sorted(folder.rglob("*.py")):
            yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Every imported module's full name, and whether the import runs when the module is imported."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            inner = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = True
            if isinstance(child, ast.Import):
                yield from ((alias.name, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "relative imports hide the layer"
                # `from megaseg import _C` imports a module of the package; `from megaseg.errors import X` does not.
                names = (
                    [f"{child.module}.{a.name}" for a in child.names] if child.module == "megaseg" else [child.module]
                )
                yield from ((str(name), lazy) for name in names)
            yield from walk(child, inner)

    yield from walk(tree, False)


def test_the_scan_sees_every_layer() -> None:
    seen = {path.split("/")[0].removesuffix(".py") for path, _ in modules()}
    assert {"errors", "engine", "kernels", "models", "cli"} <= seen


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    for path, tree in modules():
        if path.split("/")[0].removesuffix(".py") != layer:
            continue
        for name, _ in imports(tree):
            root, _, rest = name.partition(".")
            part = rest.split(".")[0]
            if root == "megaseg":
                assert part in LAYERS[layer], f"{path} imports {name}"


def test_engine_and_kernels_know_torch_only_where_it_runs() -> None:
    for path, tree in modules():
        for name, lazy in imports(tree):
            if name.split(".")[0] == "torch" and path.startswith(("engine/", "kernels/")):
                assert lazy or path in ON_TORCH, f"{path} imports torch when it is imported"
                assert path in MENTION_TORCH, f"{path} imports torch"


def test_nothing_unpickles_outside_convert() -> None:
    for path, tree in modules():
        for name, _ in imports(tree):
            assert name.split(".")[0] not in UNPICKLERS, f"{path} imports {name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert path == "deploy/convert.py", f"{path} calls torch.load"
                assert "weights_only=True" in ast.unparse(node), f"{path}: torch.load must not unpickle"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"np.load", "numpy.load"}:
                assert "allow_pickle=True" not in ast.unparse(node), path


def test_the_package_has_at_most_ten_names_and_loads_no_torch() -> None:
    code = "import sys, megaseg; print(len(megaseg.__all__), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, torch_loaded = done.stdout.split()
    assert int(count) <= 10
    assert torch_loaded == "False"


def test_native_code_knows_python_only_in_bind() -> None:
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.suffix in {".h", ".cpp"} and "bind" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert "pybind11" not in text, path
            assert "Python.h" not in text, path


def test_every_op_has_its_files() -> None:
    from megaseg.kernels.registry import OPS

    for op in OPS:
        assert (ROOT / "kernels" / f"{op}.py").is_file(), op
        assert (ROOT / "tests" / "kernels" / f"test_{op}.py").is_file(), op
        assert f"def test_{op}(" in (ROOT / "benchmarks" / "kernels" / "test_kernels.py").read_text(), op
        assert (
            any(f" {op}(" in path.read_text() for path in (ROOT / "csrc" / "cpu").glob("*_*.cpp"))
            or (ROOT / "csrc" / "cpu" / f"{op}.cpp").is_file()
        ), op


def test_the_tests_that_hold_our_promises_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    for path, test in named:
        assert f"def {test}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), (path, test)


def test_files_stay_readable() -> None:
    for folder, suffixes in (("csrc", {".h", ".cpp"}), ("engine", {".py"}), ("kernels", {".py"}), ("python", {".py"})):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in suffixes and path.is_file():
                assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
    assert len((ROOT / "setup.py").read_text().splitlines()) <= 60
