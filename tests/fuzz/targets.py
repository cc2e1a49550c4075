"""The fuzz contract: any bytes end in a result or a ``MegasegError``. One function per kind of file.

Run one for longer with coverage guidance: ``python tests/fuzz/run.py checkpoint 300``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from megaseg import Segmentation, load_checkpoint, load_features
from megaseg.errors import MegasegError

CORPUS = Path(__file__).parent / "corpus"


def checkpoint(data: bytes) -> None:
    """Open a checkpoint and read every tensor, as loading does."""
    with _file(data, ".safetensors") as path:
        loaded = load_checkpoint(path)
        for name in loaded.tensors:
            loaded.tensors[name]


def npz(data: bytes) -> None:
    """Read a ``.npz`` feature file."""
    _features(data, ".npz")


def safetensors(data: bytes) -> None:
    """Read a ``.safetensors`` feature file."""
    _features(data, ".safetensors")


def result(data: bytes) -> None:
    """Read a result's JSON."""
    with suppress(MegasegError):
        Segmentation.from_json(data.decode("utf-8", "surrogateescape"))


TARGETS = {"checkpoint": checkpoint, "npz": npz, "safetensors": safetensors, "result": result}


def _features(data: bytes, suffix: str) -> None:
    with _file(data, suffix) as path:
        load_features(path)


@contextmanager
def _file(data: bytes, suffix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, suppress(MegasegError):
        path = Path(folder) / f"input{suffix}"
        path.write_bytes(data)
        yield path
