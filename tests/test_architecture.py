"""Guards of the architecture: imports go one way (megaseg/* -> engine -> kernels -> _C), torch stays where it belongs.

No model and no task is named where any model runs, and files and functions stay small; ``house.py`` measures.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import house
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "megaseg"
# Imported by the torch backends when they are made, and by the registry when a GPU's op first runs.
ON_TORCH = {
    "engine/backends/torch/evaluation.py",
    *(f"engine/backends/cuda/{name}.py" for name in ("backend", "ragged", "lanes")),
    "kernels/torch_ops.py",
    *(f"kernels/triton/{path.name}" for path in (ROOT / "kernels" / "triton").glob("*.py")),
}
MENTION_TORCH = ON_TORCH | {
    *("engine/backends/torch/backend.py", "engine/backends/tensorrt/backend.py", "engine/backends/tensorrt/device.py"),
    *(
        f"kernels/{name}.py"
        for name in ("reference", "registry", "banded_estep", "scene_pairs", "device_pairs", "cuda")
    ),
}
# What other systems lack, or have in another sense.
LINUX_ALONE = {
    "os.copy_file_range",
    "os.eventfd",
    "os.fdatasync",
    "os.getrandom",
    "os.getxattr",
    "os.listxattr",
    "os.memfd_create",
    "os.pidfd_open",
    "os.pipe2",
    "os.posix_fadvise",
    "os.posix_fallocate",
    "os.sched_getaffinity",
    "os.sched_setaffinity",
    "os.setpriority",
    "os.setxattr",
    "os.splice",
    "ctypes.CDLL(None).prctl",
}
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}

# What each layer may import of megaseg; everything else of the package is above it.
LAYERS = {
    "errors": set(),
    "_version": set(),
    "kernels": {"errors", "kernels", "_C"},
    "engine": {"errors", "kernels", "engine", "_C", "_version"},
}

# What each unit of engine/ (a module or a folder) may import of the others, from the lowest to the highest.
UNITS: dict[str, set[str]] = {
    "inputs": set(),
    "graph": {"inputs"},
    "model": {"inputs", "graph"},
    "tasks": {"inputs", "model"},
    "results": {"inputs", "model", "tasks"},
    "backends": {"inputs", "graph", "model"},
    "live": {"inputs", "graph", "model", "tasks", "results", "backends"},
    "loading": {"inputs", "graph", "model", "backends"},
    "engine": {"inputs", "graph", "model", "tasks", "results", "backends", "live", "loading"},
}
MODEL_WORDS = {"scene", "scenes", "act", "acts", "synopsis", "synopses", "mega", "bottleneck", "bottlenecks"}
PROGRAMS = {"kernels/triton/ahead_of_time.py"}  # command lines of their own
FOREIGN_FLAGS = {"--inplace", "--no-deps", "--dump-resource-usage"}


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


def circle_names(arrows: house.Arrows) -> set[str]:
    return {", ".join(circle) for circle in house.circles(arrows)}


def wrong_arrows(units: house.Arrows) -> set[str]:
    """Arrows of units of the engine that ``UNITS`` does not have."""
    return {f"{unit} -> {target}" for unit, targets in units.items() for target in targets - UNITS[unit]}


def needed(tree: ast.AST) -> set[str]:
    """Imported modules outside Python's own library."""
    return {name for name, _ in imports(tree) if name.split(".")[0] not in sys.stdlib_module_names}


def linux_alone(tree: ast.AST) -> set[str]:
    """Functions that only Linux has."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & LINUX_ALONE


def model_words(text: str) -> set[str]:
    """Words and parts of identifiers (``kScene``, ``scene_rows``) that name MEGA, its tasks or its parts."""
    text = re.sub(r"bottleneck_?attention", "", text, flags=re.IGNORECASE)  # an op's name
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)} & MODEL_WORDS


def words_of_models(root: Path) -> Iterator[tuple[str, set[str]]]:
    for path in house.code(root, ("csrc/core", "engine/graph", "engine/backends")):
        name = path.relative_to(root).as_posix()
        if not (name.startswith("engine/graph/passes/") and "mega" in path.stem):
            yield name, model_words(path.read_text(encoding="utf-8"))


def flags(tree: ast.AST) -> set[str]:
    """Command-line flags in strings, those of other programs left out."""
    strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {flag for text in strings for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)} - FOREIGN_FLAGS


def assert_none(found: Mapping[str, object]) -> None:
    assert not found, "\n".join(f"{name}: {what}" for name, what in sorted(found.items()))


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


def test_what_linux_alone_has_is_asked_for_in_one_module() -> None:
    found = {path for path, tree in modules() if linux_alone(tree)}
    assert found == {"engine/inputs/system.py"}
    assert linux_alone(ast.parse("len(os.sched_getaffinity(0)), os.getpid()")) == {"os.sched_getaffinity"}


def test_nothing_unpickles_outside_convert() -> None:
    for path, tree in modules():
        for name, _ in imports(tree):
            assert name.split(".")[0] not in UNPICKLERS, f"{path} imports {name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert path == "deploy/convert.py", f"{path} calls torch.load"
                assert "weights_only=True" in ast.unparse(node), f"{path}: torch.load must not unpickle"
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"np.load", "numpy.load"}:
                assert path == "engine/inputs/arrays.py", f"{path} uses np.load: arrays.py reads what threads disturb"
            assert not (isinstance(node, ast.keyword) and ast.unparse(node) == "allow_pickle=True"), path


def test_the_package_has_at_most_twelve_names_and_loads_no_torch() -> None:
    code = "import sys, megaseg; print(len(megaseg.__all__), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, torch_loaded = done.stdout.split()
    assert int(count) <= 12
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


def test_no_module_imports_itself_through_others() -> None:
    assert_none(dict.fromkeys(circle_names(house.module_arrows(house.package_modules(ROOT)))))
    assert circle_names({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {"a, b, c"}
    typed = "if TYPE_CHECKING:\n    from megaseg.b import B"
    lazy = "def f():\n    import megaseg.a"
    assert circle_names(house.module_arrows({"a": ast.parse(typed), "b": ast.parse(lazy)})) == {"a, b"}


def test_units_of_the_engine_import_downwards() -> None:
    units = house.unit_arrows(house.engine_arrows(house.package_modules(ROOT)))
    assert set(units) == set(UNITS)
    assert_none(dict.fromkeys(wrong_arrows(units)))
    assert circle_names(UNITS) == set(), "the table itself goes one way"
    assert wrong_arrows({"graph": {"model"}, "model": {"graph"}, "backends": {"results"}}) == {
        "graph -> model",
        "backends -> results",
    }


def test_the_protocol_of_backends_needs_errors_and_numpy_only() -> None:
    tree = house.parsed(ROOT / "engine" / "backends" / "protocol.py")
    assert needed(tree) <= {"numpy", "numpy.typing", "megaseg.errors"}
    assert needed(ast.parse("import typing\nfrom megaseg.engine.model.config import X")) == {
        "megaseg.engine.model.config"
    }


def test_no_model_or_task_is_named_where_any_model_runs() -> None:
    assert_none({name: words for name, words in words_of_models(ROOT) if words})
    assert model_words("kScene // two acts of MEGA's") == {"scene", "acts", "mega"}
    assert model_words("megaseg: exact bottleneck_attention, BottleneckAttention, activation, scenery") == set()


def test_nothing_below_the_command_line_names_a_flag() -> None:
    named = {path: flags(tree) for path, tree in modules() if not path.startswith("cli/") and path not in PROGRAMS}
    assert_none({path: found for path, found in named.items() if found})
    assert flags(ast.parse('raise E(f"--host {host}: not a name; give --port")')) == {"--host", "--port"}
    assert flags(ast.parse('f("a - b -- c, build_ext --inplace")  # --host')) == set()


def test_files_stay_readable() -> None:
    sizes = house.file_sizes(ROOT)
    assert {name.split("/")[0] for name in sizes} == set(house.CODE)
    assert_none({name: lines for name, lines in sizes.items() if lines > 400})
    assert len((ROOT / "setup.py").read_text().splitlines()) <= 60


def test_functions_stay_readable() -> None:
    sizes = house.function_sizes(ROOT)
    assert_none({name: lines for name, lines in sizes.items() if lines > 40})
    tree = ast.parse("class A:\n  def f(\n    self,\n  ):\n    'Doc.'\n    def g(): ...\n    return g")
    long, short = (dict(house.functions(tree))[name] for name in ("A.f", "A.f.g"))
    assert (house.function_lines(long), house.function_lines(short)) == (2, 1)
    assert house.is_kernel(dict(house.functions(ast.parse("@triton.jit\ndef k(): ...")))["k"])


def test_figures_are_of_this_house() -> None:
    figures = house.figures(ROOT)
    assert set(figures) >= {"engine_units", "engine_modules", "task_words", "touched"}
    ring, chain = {"a": {"b", "c"}, "b": {"c"}, "c": {"b"}, "d": set()}, {"x": {"y"}, "y": {"z"}, "z": set()}
    assert (house.floors(ring), house.circles(ring), house.floors(chain)) == (2, [["b", "c"]], 3)
    assert house.unit_arrows({"x.a": {"x.b", "y"}, "x.b": set(), "y": set()}) == {"x": {"y"}, "y": set()}
