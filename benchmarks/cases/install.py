"""Megabytes that ``pip install '.[EXTRA]'`` puts into an empty environment, its compiled bytecode among them.

``--only EXTRA`` takes other extras than ``video``. Needs a package index.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.rows import ROOT, Row, row_of

EXTRAS = ("video",)


def run(only: tuple[str, ...] = ()) -> list[Row]:
    return [_row(extra) for extra in only or EXTRAS]


def _row(extra: str) -> Row:
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(Path(name, "bin", "python"))]
        subprocess.run([*pip, "install", f"{ROOT}[{extra}]"], check=True)
        packages = next(Path(name).glob("lib/python*/site-packages"))
        sizes = {entry.name: _bytes(entry) for entry in packages.iterdir()}
    largest = sorted(sizes, key=lambda entry: -sizes[entry])[:5]
    facts: dict[str, object] = {entry: round(sizes[entry] / 1e6) for entry in largest}
    facts["torch"] = "torch" in sizes
    return row_of("pip install", f"extra {extra}", "MB", [sum(sizes.values()) / 1e6], **facts)


def _bytes(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(map(_bytes, path.iterdir()))
    return path.lstat().st_size
