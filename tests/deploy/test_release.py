"""Files of a release (tools/release): same bytes from any checkout, one version, clear words where a Python is none."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.release.archives import settle_sdist
from tools.release.pythons import copy_headers
from tools.release.statements import write_statements


def sdist(folder: Path, names: list[str], mode: int) -> Path:
    """Files of ``names`` in their order, of the present and with ``mode``."""
    (folder / "package").mkdir(parents=True)
    for name in names:
        (folder / "package" / name).write_text(name)
        (folder / "package" / name).chmod(mode)
    with tarfile.open(folder / "package-1.tar.gz", "w:gz") as archive:
        for name in names:
            archive.add(folder / "package" / name, f"package-1/{name}")
    return folder / "package-1.tar.gz"


def test_a_settled_sdist_has_the_same_bytes_from_any_checkout(tmp_path: Path) -> None:
    one, other = sdist(tmp_path / "1", ["a.py", "b.py"], 0o600), sdist(tmp_path / "2", ["b.py", "a.py"], 0o644)
    assert one.read_bytes() != other.read_bytes()
    settle_sdist(one)
    settle_sdist(other)
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as archive:
        assert archive.getnames() == ["package-1/a.py", "package-1/b.py"]
        file = archive.extractfile("package-1/b.py")
        assert file is not None
        assert file.read() == b"b.py"


def test_files_of_another_version_are_not_released(tmp_path: Path) -> None:
    for name in ("megaseg-1.0.tar.gz", "megaseg_weights-1.0-py3-none-any.whl", "megaseg-1.0.1.tar.gz", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=r"expected files of 1\.0 alone, got megaseg-1\.0\.1\.tar\.gz, notes\.txt"):
        write_statements(tmp_path, "1.0", "")


@pytest.mark.parametrize("content", [None, "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho hello\n"])
def test_an_interpreter_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    interpreter = tmp_path / "python"
    if content:
        interpreter.write_text(content)
        interpreter.chmod(0o755)
    with pytest.raises(SystemExit, match=f"{interpreter}: expected a Python"):
        copy_headers("cp312", tmp_path / "headers", [str(interpreter)])
