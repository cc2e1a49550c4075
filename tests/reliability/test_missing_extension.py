"""A build without its extension says so; nothing falls back to something slower."""

from __future__ import annotations

import subprocess
import sys

HIDE = """
import sys
sys.modules["megaseg._C"] = None  # what an import of a missing module finds
import megaseg
from megaseg.errors import UnsupportedError
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIDE + code], capture_output=True, text=True, check=False)


def test_the_engine_refuses_and_says_how_to_build() -> None:
    done = run("""
try:
    megaseg.Engine.from_checkpoint("screenplay-scenes")
except UnsupportedError as error:
    print(error)
""")
    assert done.returncode == 0, done.stderr
    assert "megaseg._C" in done.stdout
    assert "pip install" in done.stdout


def test_doctor_reports_it_and_fails() -> None:
    done = run('import sys; sys.argv = ["megaseg", "doctor"]; from megaseg.cli import main; main()')
    assert done.returncode == 1
    assert "megaseg._C" in done.stdout.replace("\n", "")


def test_models_without_torch_name_the_extra() -> None:
    done = run("""
sys.modules["torch"] = None
try:
    import megaseg.models.inspection
except UnsupportedError as error:
    print(error)
""")
    assert done.returncode == 0, done.stderr
    assert "megaseg.models needs the extra train: pip install 'megaseg[train]'" in done.stdout
