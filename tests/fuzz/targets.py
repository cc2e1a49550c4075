"""The fuzz contract: any bytes end in a result or a ``MegasegError``. One function per kind of file.

Run one for longer with coverage guidance: ``python tests/fuzz/run.py checkpoint 300``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import toy_measures
from safetensors import SafetensorError
from safetensors.numpy import load, save
from support import random_checkpoint, random_features, small_config

from megaseg import Engine, Segmentation, load_checkpoint, load_features
from megaseg.engine.live.snapshot import checksum
from megaseg.errors import MegasegError
from megaseg.features import parse_screenplays
from megaseg.media.child import Limits
from megaseg.media.reading import read_video
from megaseg.media.video import Video

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
    """Resume a stream, and go on with it to its end; also one that damage cannot explain, its checksum being right."""
    for candidate in (data, _sealed(data)):
        with suppress(MegasegError):
            stream = _engine().resume(candidate)
            times = {"times": np.zeros((2, 2), np.int64), "time_base": "1/24"}
            stream.push({**random_features(_engine().config, 2), **times})
            stream.close()


def _sealed(data: bytes) -> bytes:
    with suppress(SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        tensors = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        return save(tensors, {**metadata, "sha256": checksum(metadata["stream"], tensors)})
    return data


def script(data: bytes) -> None:
    """Read a screenplay of any kind that is text, in any encoding."""
    _script(data, None if data[:5] != b"%PDF-" else "text")


def fdx(data: bytes) -> None:
    """Read a Final Draft script."""
    _script(data, "fdx")


def pdf(data: bytes) -> None:
    """Read a PDF screenplay."""
    _script(data, "pdf")


def video(data: bytes) -> None:
    """Read a film; what its decoder does is done in a child."""
    with _file(data, ".film") as path:
        read_video(Video("input", path), toy_measures.ALL, cache=None, limits=Limits(memory=1 << 30, patience=8))


def _script(data: bytes, kind: str | None) -> None:
    with suppress(MegasegError):
        list(parse_screenplays(data, "input", kind=kind))


TARGETS = {
    "checkpoint": checkpoint,
    "npz": npz,
    "safetensors": safetensors,
    "result": result,
    "snapshot": snapshot,
    "script": script,
    "fdx": fdx,
    "pdf": pdf,
    "video": video,
}


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
