"""Fixtures of all tests: checkpoints on disk, and the optional reference material of ``../shared``."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Run, random_checkpoint, small_config

from megaseg.engine.model.checkpoint import save_checkpoint

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of torch only wait for each other on models this small
SHARED = Path(__file__).resolve().parents[2] / "shared"


@atexit.register
def _end_with_the_summary() -> None:
    """Silence the list of leaked instances that Triton's extension prints when the interpreter ends.

    Registered before all that tests import, this runs last at exit: only what the interpreter's own end prints is lost.
    """
    if "triton._C.libtriton" in sys.modules:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled models of tests are kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEGASEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the reference material ../shared is not here")
    return SHARED


@pytest.fixture
def scene_checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "scene.safetensors"
    save_checkpoint(path, random_checkpoint(small_config()))
    return path


@pytest.fixture
def act_checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "act.safetensors"
    save_checkpoint(path, random_checkpoint(small_config("act")))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process."""
    from megaseg import cli  # the sanitizers' build of the package has none

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["megaseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call
