"""Files: crash-safe writing, and those that ship inside the package."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).absolute().parents[2]
_POLL = 0.02  # seconds between two tries for a lock


class RepeatedKey(ValueError):
    """A key that comes twice in a JSON object: its text."""


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object (``object_pairs_hook``): Python would take the last of two values in silence.

    Raises:
        RepeatedKey: a key twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKey(next(key for key in values if keys.count(key) > 1))
    return values


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is fsynced and renamed onto it, on failure removed.

    A reader sees the old file or the whole new one, never a part.
    """
    target = Path(path)
    name = os.fsencode(target.name)[:100].decode(errors="ignore")  # never longer than the longest that files may have
    temporary = target.parent / f".{name}.{secrets.token_urlsafe(6)}{target.suffix}"
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        error.filename = str(target)  # which the user knows
        raise
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    os.close(handle)
    try:
        yield temporary
        temporary.chmod(mode)  # that of any other new file: some writers make private ones
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # of a write, such as on a full disk
            error.filename = str(target)
        raise


def sha256(path: str | os.PathLike[str]) -> hashlib._Hash:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest


def cache_folder() -> Path | None:
    """Where compiled models and measures of films are kept: ``MEGASEG_CACHE``, else the user's cache folder.

    None when ``MEGASEG_CACHE`` is set empty, or where there is no such user or no home.
    """
    chosen = os.environ.get("MEGASEG_CACHE")
    try:
        if chosen is not None:
            return Path(chosen).expanduser() if chosen else None
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "megaseg"
    except RuntimeError:
        return None


@contextmanager
def locked(folder: str | os.PathLike[str], *, wait: float) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process at the latest. No-op on file systems without locks.

    Raises:
        BlockingIOError: another process has it, still after ``wait`` seconds.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(handle, time.monotonic() + wait)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        except OSError:
            return
        time.sleep(_POLL)


def shipped(folder: str) -> dict[str, Path]:
    """Files that ship inside the package, by name without suffix; ``folder`` is checkpoints or samples."""
    return {file.stem: file for file in sorted((_PACKAGE / folder).glob("[!_.]*.*")) if file.suffix != ".py"}


def what_is_there(path: str | os.PathLike[str]) -> str:
    """What a message says came where ``resolve`` found no file."""
    return "a folder" if Path(path).is_dir() else "no such file"


def resolve(name_or_path: str | os.PathLike[str], folder: str) -> Path | None:
    """An existing file, or one that only opening it can tell about, else the shipped file of that name, else None."""
    path = Path(name_or_path)
    try:
        there = path.is_file()
    except OSError:  # a folder that may not be looked into, a name too long
        return path
    return path if there else shipped(folder).get(str(name_or_path))
