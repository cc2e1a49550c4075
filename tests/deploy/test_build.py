"""What a build asks pip for: cmake where the machine has none that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What setup.py looks at before it builds."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("engine", "kernels"):
        (tmp_path / "python" / "megaseg" / name).mkdir(parents=True)
        (tmp_path / "python" / "megaseg" / name / "__init__.py").touch()
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("cmake", "asked"),
    [
        (None, ["cmake>=3.18", "ninja"]),
        ("#!/bin/sh\nexit 1\n", ["cmake>=3.18", "ninja"]),  # as an environment's own in pip's isolated builds
        ("#!/bin/sh\nexit 0\n", []),
    ],
)
def test_cmake_is_asked_for_where_none_runs(cmake: str | None, asked: list[str], source: Path) -> None:
    if cmake:
        program(source / "bin" / "cmake", cmake)
    code = "from setuptools import build_meta; print(*build_meta.get_requires_for_build_wheel(), sep='\\n')"
    environment = os.environ | {"PATH": str(source / "bin")}
    done = subprocess.run([sys.executable, "-c", code], cwd=source, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "cmake" in line or "ninja" in line] == asked
