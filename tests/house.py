"""Figures of the house: units of ``engine/`` and their imports, words of MEGA's tasks, sizes, the price of a new part.

``python tests/house.py [ROOT] [--json]`` measures a checkout; ``test_architecture.py`` sets the limits.

- A *unit* of ``engine/`` is one of its modules or folders; ``engine/__init__.py`` is none. A *module* is a file.
- An *arrow* is a distinct import from one to another. Imports in functions and under ``TYPE_CHECKING`` count.
- *Floors* is the length of the longest chain of arrows, where a circle is one floor.
- A *circle* is a largest set of two or more that reach one another.
- *Task words* are lines of code with a string ``scene``, ``act`` or ``synopsis``, or with C++'s names of these tasks,
  outside ``engine/model/mega.py``, ``engine/tasks/``, training and evaluation.
- *Touched* is the number of code files that name an existing example: an estimate of what a new one of its kind needs.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NATIVE = {".h", ".hpp", ".cpp", ".cu", ".cuh"}
CODE = ("csrc", "engine", "kernels", "python")
MAY_NAME_TASKS = ("engine/model/mega.py", "engine/tasks/", "python/megaseg/training/", "python/megaseg/evaluation/")
TASKS = {"scene", "act", "synopsis"}
TASK_NAMES = re.compile(r'"(?:scene|act|synopsis)"|\bTask::\w+|\benum class Task\b|\bMEGASEG_(?:SCENE|ACT|SYNOPSIS)\b')
EXAMPLES = {
    "op": r"l2_normalise|L2Normalise",
    "task": r"[\"']act[\"']|\bTask::act\b|\bMEGASEG_ACT\b",
    "family": r"\b(?:Mega(?:Config)?|mega)\b(?!\.)",
}

Arrows = Mapping[str, set[str]]


def code(root: Path, folders: Iterable[str] = CODE, suffixes: Iterable[str] = (".py", *NATIVE)) -> Iterator[Path]:
    """Paths of source files in order; ``python/megaseg``'s links to ``engine/`` and ``kernels/`` are not followed."""
    wanted = set(suffixes)
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            inside = path.relative_to(root).parts[:3]
            linked = inside in {("python", "megaseg", "engine"), ("python", "megaseg", "kernels")}
            if path.suffix in wanted and path.is_file() and not linked:
                yield path


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def package_modules(root: Path) -> dict[str, ast.Module]:
    """Syntax tree by name (``engine.graph.graph``, ``cli``) of every module of ``megaseg`` but the package itself."""
    found = {}
    for path in code(root, ("engine", "kernels", "python/megaseg"), (".py",)):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts[2:] if parts[0] == "python" else parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = parsed(path)
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of what a module imports, wherever the import stands: ``a.b.c`` for ``from a.b import c``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_arrows(modules: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """By module, the other modules of ``modules`` that it imports."""
    arrows: dict[str, set[str]] = {}
    for name, tree in modules.items():
        targets = set()
        for full in imported(tree):
            parts = full.split(".")[1:] if full.startswith("megaseg.") else []
            known = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
            targets.add(next((module for module in known if module in modules), name))
        arrows[name] = targets - {name}
    return arrows


def engine_arrows(modules: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """``module_arrows`` within ``engine``; names without the prefix, ``engine/__init__.py`` left out."""
    inside = {name: tree for name, tree in modules.items() if name.startswith("engine.")}
    return {
        name.removeprefix("engine."): {target.removeprefix("engine.") for target in targets}
        for name, targets in module_arrows(inside).items()
    }


def unit_arrows(arrows: Arrows) -> dict[str, set[str]]:
    """Arrows between the first parts of the names."""
    units: dict[str, set[str]] = {name.split(".")[0]: set() for name in arrows}
    for name, targets in arrows.items():
        unit = name.split(".")[0]
        units[unit] |= {target.split(".")[0] for target in targets} - {unit}
    return units


def reachable(arrows: Arrows) -> dict[str, set[str]]:
    """By name, all that can be reached from it in one arrow or more."""
    reach = {name: set(targets) for name, targets in arrows.items()}
    for middle in reach:
        for targets in reach.values():
            if middle in targets:
                targets |= reach[middle]
    return reach


def circles(arrows: Arrows) -> list[list[str]]:
    reach = reachable(arrows)
    rings = {frozenset(b for b in reach[a] if a in reach[b]) for a in reach if a in reach[a]}
    return sorted(sorted(ring) for ring in rings)


def floors(arrows: Arrows) -> int:
    reach = reachable(arrows)

    @cache
    def floor(name: str) -> int:
        below = [target for target in reach[name] if name not in reach[target]]
        return 1 + max(map(floor, below), default=0)

    return max(map(floor, arrows), default=0)


def order(arrows: Arrows) -> dict[str, int]:
    count = sum(map(len, arrows.values()))
    return {"count": len(arrows), "floors": floors(arrows), "arrows": count, "circles": len(circles(arrows))}


def task_words(root: Path) -> dict[str, list[int]]:
    """Line numbers by file; see the module's docstring."""
    found = {}
    for path in code(root):
        name = path.relative_to(root).as_posix()
        if name.startswith(MAY_NAME_TASKS):
            continue
        if path.suffix == ".py":
            strings = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant))
            lines = sorted({node.lineno for node in strings if node.value in TASKS})
        else:
            text = path.read_text(encoding="utf-8").splitlines()
            lines = [number for number, line in enumerate(text, 1) if TASK_NAMES.search(line.split("//")[0])]
        if lines:
            found[name] = lines
    return found


def touched(root: Path, pattern: str) -> list[str]:
    """Code files with a match of ``pattern``, comments included."""
    wanted = re.compile(pattern)
    return [path.relative_to(root).as_posix() for path in code(root) if wanted.search(path.read_text(encoding="utf-8"))]


def file_sizes(root: Path) -> dict[str, int]:
    """Lines of every source file."""
    return {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in code(root)
    }


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with its name, inner ones as ``outer.inner``."""
    for child in ast.iter_child_nodes(tree):
        named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        inner = f"{prefix}{child.name}." if named else prefix
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield inner[:-1], child
        yield from functions(child, inner)


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body after the docstring: signature and docstring are the function's interface."""
    documented = ast.get_docstring(node) is not None
    end = node.end_lineno or node.lineno
    return end - (node.body[0].end_lineno or end) if documented else end - node.body[0].lineno + 1


def is_kernel(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether Triton compiles the function."""
    return any("jit" in ast.unparse(decorator) for decorator in node.decorator_list)


def function_sizes(root: Path) -> dict[str, int]:
    """Lines of every Python function's body (``file::Class.function``), those that Triton compiles left out."""
    sizes = {}
    for path in code(root, CODE[1:], (".py",)):
        name = path.relative_to(root).as_posix()
        for function, node in functions(parsed(path)):
            if not is_kernel(node):
                sizes[f"{name}::{function}"] = function_lines(node)
    return sizes


def largest(sizes: Mapping[str, int], count: int = 5) -> dict[str, int]:
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:count])


def figures(root: Path = ROOT) -> dict[str, object]:
    modules = package_modules(root)
    engine = engine_arrows(modules)
    words = task_words(root)
    return {
        "engine_units": order(unit_arrows(engine)),
        "engine_modules": order(engine),
        "engine_unit_circles": circles(unit_arrows(engine)),
        "package_module_circles": circles(module_arrows(modules)),
        "task_words": {"lines": sum(map(len, words.values())), "files": len(words)},
        "touched": {kind: len(touched(root, pattern)) for kind, pattern in EXAMPLES.items()},
        "largest_files": largest(file_sizes(root)),
        "largest_functions": largest(function_sizes(root)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the house.")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = figures(options.root.resolve())
    if options.json:
        print(json.dumps(measured, indent=1))
        return
    for name, value in measured.items():
        rows = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[call-overload]
        print(name, *(f"  {key}: {figure}" for key, figure in rows), sep="\n")


if __name__ == "__main__":
    main()
