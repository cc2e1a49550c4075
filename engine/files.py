"""Files: crash-safe writing, and those that ship inside the package."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGE = Path(__file__).absolute().parent.parent


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is fsynced and renamed onto it, on failure removed.

    A reader sees the old file or the whole new one, never a part.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp (and some writers) make private files; a result has the permissions of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256(path: str | os.PathLike[str]) -> hashlib._Hash:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest


@contextmanager
def locked(folder: str | os.PathLike[str], *, wait: bool) -> Iterator[None]:
    """Held by one process at a time, and let go when it ends however it ends; nothing where files have no locks.

    Raises:
        BlockingIOError: another process has it, and ``wait`` is false.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def shipped(folder: str) -> dict[str, Path]:
    """Files that ship inside the package, by name without suffix; ``folder`` is checkpoints or samples."""
    return {file.stem: file for file in sorted((_PACKAGE / folder).glob("[!_.]*.*")) if file.suffix != ".py"}


def resolve(name_or_path: str | os.PathLike[str], folder: str) -> Path | None:
    """An existing file, else the shipped file of that name, else None."""
    path = Path(name_or_path)
    return path if path.is_file() else shipped(folder).get(str(name_or_path))
