"""Tensors of an open safetensors file: header, digest and values come from one descriptor.

A file that is replaced by rename or deleted meanwhile is read on as it was when it was opened; one that is overwritten
in place is noticed by ``expect_unchanged``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import struct
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.files import RepeatedKey, unique_keys
from megaseg.errors import CheckpointError

Array = NDArray[Any]
# bfloat16 is read as its 16 bits; NumPy has no such type.
STORAGE: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_MOST_HEADER = 100_000_000  # bytes, the format's own limit
_MOST_DIMENSIONS = 8
_BLOCK = 1 << 22


class FileTensors(Mapping[str, Array]):
    """Tensors of a file by name, each read afresh on access.

    No map, as the safetensors library makes one: a file that is cut short meanwhile would end the process (SIGBUS).

    A copy, in another process too, holds the values themselves.
    """

    def __init__(self, path: Path) -> None:
        """Open a file and check its header, the offsets in it and the file's length; no value is read.

        Raises:
            OSError: no such file, or one that may not be read.
            ValueError: no regular file, or not a whole safetensors file.
        """
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not block
        weakref.finalize(self, os.close, self._file)
        self._opened = self._size_and_time()
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise ValueError("no regular file")
        size = self._opened[0]
        prefix = self._read(0, 8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        self._head = prefix + self._read(8, length)
        header = _header(self._head[8:].decode())
        if not isinstance(header, dict):
            raise ValueError("a header that is no JSON object")
        self.metadata = _metadata(header.pop("__metadata__", {}))
        self.entries = _entries(header, size - 8 - length)
        self._digest: str | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> Array:
        entry = self.entries[name]
        values: Array = np.empty(math.prod(entry["shape"]), STORAGE[entry["dtype"]])
        got = self._fill(values.view(np.uint8).data, len(self._head) + entry["data_offsets"][0])
        if got < values.nbytes:
            got //= values.itemsize
            raise CheckpointError(f"{self.path}: {name}: expected {values.size} values, the file ends after {got}")
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F16":
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise CheckpointError(f"{self.path}: {name}: expected finite values, got NaN or Inf")
        return values.reshape(entry["shape"])

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def sha256(self) -> str:
        """SHA-256 of the file with the header that was read when it was opened; computed once."""
        if self._digest is None:
            self._digest = self._hash(self._head)
        return self._digest

    def expect_unchanged(self, *, digest: bool) -> None:
        """Compare the file's size and time with those when it was opened, and its bytes with ``sha256`` if asked for.

        Raises:
            CheckpointError: it was overwritten in place.
        """
        same = self._size_and_time() == self._opened
        if same and digest:
            same = self._hash(self._read(0, len(self._head))) == self.sha256()
        if not same:
            raise CheckpointError(f"{self.path}: changed while it was read; load it again")

    def _size_and_time(self) -> tuple[int, int]:
        status = os.fstat(self._file)
        return status.st_size, status.st_mtime_ns

    def _hash(self, head: bytes) -> str:
        """SHA-256 of ``head`` and of all values."""
        digest, block, at = hashlib.sha256(head), memoryview(bytearray(_BLOCK)), len(self._head)
        while count := self._fill(block, at):
            digest.update(block[:count])
            at += count
        return digest.hexdigest()

    def _read(self, offset: int, size: int) -> bytes:
        block = bytearray(size)
        return bytes(block[: self._fill(memoryview(block), offset)])

    def _fill(self, block: memoryview, offset: int) -> int:
        """Read bytes from ``offset`` on; fewer than ``block`` holds where the file ends."""
        done = 0
        try:
            while done < len(block) and (count := os.preadv(self._file, [block[done:]], offset + done)):
                done += count
        except OSError as error:
            raise CheckpointError(f"{self.path}: expected a readable file, got: {error}") from error
        return done


def _header(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except RepeatedKey as error:
        raise ValueError(f"a header that has {str(error)!r:.80} twice") from error


def _metadata(values: Any) -> dict[str, str]:
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("metadata that is no object of texts")
    return values


def _entries(header: dict[str, Any], size: int) -> dict[str, dict[str, Any]]:
    """Type, shape and place of every tensor; together they cover the ``size`` bytes of values, each byte once."""
    for name, entry in header.items():
        fits = isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
        fits = fits and isinstance(entry["dtype"], str) and entry["dtype"].isidentifier()
        if not (fits and _sizes(entry["shape"]) and _sizes(entry["data_offsets"])):
            raise ValueError(f"a tensor {name!r:.80} that is no dtype, shape and data_offsets")
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, *rest = entry["data_offsets"] or [-1]
        width = STORAGE[entry["dtype"]].itemsize if entry["dtype"] in STORAGE else None
        if begin != end or len(rest) != 1 or rest[0] < begin:
            raise ValueError(f"offsets {entry['data_offsets']} of {name!r:.80}, expected a begin at {end} and an end")
        end = rest[0]
        if width and end - begin != width * math.prod(entry["shape"]):
            raise ValueError(f"{end - begin} bytes of {name!r:.80}, which do not fit its shape {entry['shape']}")
    if end != size:
        raise ValueError(f"{size} bytes of values, expected {end}: the file is not whole")
    return header


def _sizes(values: Any) -> bool:
    """Whether a value is a short list of sizes."""
    return (
        isinstance(values, list)
        and len(values) <= _MOST_DIMENSIONS
        and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
    )
