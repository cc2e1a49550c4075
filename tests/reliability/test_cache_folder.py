"""The cache folder: where it cannot be used, a model is compiled in memory, and no other error comes of it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support import random_features, small_config

from megaseg import _C, Engine
from megaseg.engine.backends.native import artefact
from megaseg.engine.inputs.files import atomic_write, cache_folder, locked
from megaseg.errors import CheckpointError

FEATURES = random_features(small_config(), 30)
NOBODY = 65534

LOAD = """
import os, sys
import numpy as np
from megaseg import Engine
chosen = os.environ.pop("MEGASEG_CACHE", None)
os.environ["MEGASEG_CACHE"] = ""
Engine.from_checkpoint(sys.argv[1])  # modules are imported by a user who may read them
del os.environ["MEGASEG_CACHE"]
if chosen is not None:
    os.environ["MEGASEG_CACHE"] = chosen
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
engine = Engine.from_checkpoint(sys.argv[1])
features = {m.name: np.ones((9, m.feature_size), np.float32) for m in engine.config.modalities}
assert engine.logits(features).shape == (9, 2)
print(engine.describe()["artefact"])
"""


@pytest.fixture
def open_folder(scene_checkpoint: Path) -> Iterator[Path]:
    """A folder that every user may look into, with a checkpoint and a cache that holds its compiled model."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shutil.copyfile(scene_checkpoint, folder / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEGASEG_CACHE", str(folder / "cache"))
        Engine.from_checkpoint(folder / "model.safetensors")
    yield folder
    shutil.rmtree(folder)


def load_as(folder: Path, user: int = NOBODY, **environment: str) -> str:
    """Load the checkpoint as another user; where its compiled model is kept."""
    kept = {key: value for key, value in os.environ.items() if key not in ("HOME", "MEGASEG_CACHE", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", LOAD, str(folder / "model.safetensors"), str(user)]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("mode", [0o755, 0o1777], ids=["read-only", "sticky"])
@pytest.mark.parametrize(
    "spoil", [corrupt, lambda path: path.chmod(0o600), lambda path: os.truncate(path, 0)], ids=["c", "u", "e"]
)
def test_a_bad_kept_file_that_cannot_be_removed(open_folder: Path, mode: int, spoil: Callable[[Path], None]) -> None:
    cache = open_folder / "cache"
    (kept,) = cache.iterdir()
    cache.chmod(mode)
    assert load_as(open_folder, MEGASEG_CACHE=str(cache)) == str(kept)
    spoil(kept)
    before = kept.read_bytes()
    assert load_as(open_folder, MEGASEG_CACHE=str(cache)) == "None"
    assert kept.read_bytes() == before


def test_a_bad_kept_file_in_a_folder_of_all_is_made_again(open_folder: Path) -> None:
    cache = open_folder / "cache"
    (kept,) = cache.iterdir()
    cache.chmod(0o777)
    kept.chmod(0o600)
    assert load_as(open_folder, MEGASEG_CACHE=str(cache)) == str(kept)
    assert kept.stat().st_uid == NOBODY


def test_a_folder_of_another_user(open_folder: Path) -> None:
    home = open_folder / "home"
    (home / ".cache").mkdir(parents=True)
    home.chmod(0o700)
    assert load_as(open_folder, HOME=str(home)) == "None"
    assert load_as(open_folder, MEGASEG_CACHE=str(home / "cache")) == "None"
    home.chmod(0o300)  # may be entered, not listed
    os.chown(home, NOBODY, NOBODY)
    assert load_as(open_folder, MEGASEG_CACHE=str(home)) == "None"


def test_a_user_without_a_home(open_folder: Path) -> None:
    assert load_as(open_folder, user=54321) == "None"


def test_what_another_users_process_left_is_no_obstacle(open_folder: Path) -> None:
    cache = open_folder / "cache"
    (kept,) = cache.iterdir()
    kept.unlink()
    left = cache / ".left.abcd1234.mseg"
    left.touch()
    os.utime(left, (0, 0))
    cache.chmod(0o1777)
    assert load_as(open_folder, MEGASEG_CACHE=str(cache)) == str(kept)
    assert left.exists()


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 2100, "~nosuchuser/cache", "loop/cache", "file", "file/cache"])
def test_a_folder_that_cannot_be(
    scene_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEGASEG_CACHE", name if name[0] == "~" else f"{tmp_path}/{name}")
    engine = Engine.from_checkpoint(scene_checkpoint)
    assert engine.describe()["artefact"] is None
    assert np.isfinite(engine.logits(FEATURES)).all()


def test_a_folder_of_a_name_that_is_no_utf8(
    scene_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    for _ in range(2):
        assert Engine.from_checkpoint(scene_checkpoint).describe()["artefact"] is not None
    (kept,) = Path(os.environ["MEGASEG_CACHE"]).iterdir()
    corrupt(kept)
    with pytest.raises(CheckpointError, match=r"\\xff\\xfe/.*corrupt file"):
        Engine.from_checkpoint(kept)


def test_no_home_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEGASEG_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/megaseg")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # of a user that nobody knows
    assert cache_folder() is None


def test_a_folder_in_the_place_of_the_kept_file(
    scene_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "cache"))
    kept = Path(Engine.from_checkpoint(scene_checkpoint).describe()["artefact"])
    kept.unlink()
    (kept / "inside").mkdir(parents=True)
    assert Engine.from_checkpoint(scene_checkpoint).describe()["artefact"] is None


def test_a_file_system_without_maps(scene_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seal = _C.seal_artefact

    def only_in_memory(path: bytes) -> None:
        if not path.startswith(b"/proc/"):
            raise CheckpointError(f"{os.fsdecode(path)}: No such device")
        seal(path)

    monkeypatch.setattr(_C, "seal_artefact", only_in_memory)
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "cache"))
    assert Engine.from_checkpoint(scene_checkpoint).describe()["artefact"] is None
    assert list((tmp_path / "cache").iterdir()) == []


HOLD = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(handle, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_stopped_process_that_holds_the_lock(
    scene_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(artefact, "_LEAST_WAIT", 0.2)
    (tmp_path / "cache").mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "cache")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        holder.send_signal(signal.SIGSTOP)
        assert Engine.from_checkpoint(scene_checkpoint).describe()["artefact"] is None
        holder.kill()
    assert Engine.from_checkpoint(scene_checkpoint).describe()["artefact"] is not None


def test_a_lock_is_waited_for_until_it_is_free(tmp_path: Path) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path, wait=0):
            held.set()
            free.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with pytest.raises(BlockingIOError), locked(tmp_path, wait=0):
        pass
    threading.Timer(0.2, free.set).start()
    with locked(tmp_path, wait=600):
        assert free.is_set()
    thread.join()


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path, wait=0), locked(tmp_path, wait=0):
        pass


@pytest.mark.parametrize(
    "name", ["\N{CJK UNIFIED IDEOGRAPH-6620}" * 83 + ".json", "\udcff\udcfe.json"], ids=["254", "bytes"]
)
def test_any_name_that_a_file_may_have_can_be_written(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_write_that_fails_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device: '.*film.json'"), atomic_write(tmp_path / "film.json"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a full disk does
    assert list(tmp_path.iterdir()) == []
    missing = tmp_path / "none" / "film.json"
    with pytest.raises(FileNotFoundError) as caught, atomic_write(missing):
        pass
    assert caught.value.filename == str(missing)


def test_a_new_file_has_the_permissions_of_any_other_and_no_umask_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mask in (0o022, 0o027, 0o000):
        before = os.umask(mask)
        try:
            (tmp_path / "plain").unlink(missing_ok=True)
            (tmp_path / "plain").touch()
            with monkeypatch.context() as patch:
                patch.setattr(os, "umask", None)
                with atomic_write(tmp_path / "result") as temporary:
                    temporary.unlink()  # some writers make their own, private file
                    os.close(os.open(temporary, os.O_CREAT, 0o600))
        finally:
            os.umask(before)
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "result")]
        assert modes == [0o666 & ~mask] * 2
