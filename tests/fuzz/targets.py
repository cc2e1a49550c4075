"""The fuzz contract: any bytes end in a result or a ``MegasegError``. One function per kind of file.

Run one for longer with coverage guidance: ``python tests/fuzz/run.py checkpoint 300``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, Segmentation, load_checkpoint, load_features
from megaseg.errors import MegasegError

TINY = small_config(modalities=small_config().modalities[:1], hidden_size=2, ffn_size=1, num_heads=1)
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


def snapshot(data: bytes) -> None:
    """Resume a stream, and go on with it to its end."""
    with suppress(MegasegError):
        stream = _engine().resume(data)
        times = {"times": np.zeros((2, 2), np.int64), "time_base": "1/24"}
        stream.push({**random_features(_engine().config, 2), **times})
        stream.close()


TARGETS = {"checkpoint": checkpoint, "npz": npz, "safetensors": safetensors, "result": result, "snapshot": snapshot}


@cache
def _engine() -> Engine:
    return Engine.from_checkpoint(random_checkpoint(TINY), num_threads=1)


def _features(data: bytes, suffix: str) -> None:
    with _file(data, suffix) as path:
        load_features(path)


@contextmanager
def _file(data: bytes, suffix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, suppress(MegasegError):
        path = Path(folder) / f"input{suffix}"
        path.write_bytes(data)
        yield path
