"""Feature files: ``.npz`` or ``.safetensors``, read whole or refused by name, and written whole or not at all.

A file has one array per modality, and optionally the reserved keys ``times`` (shots, 2) in integer ticks with
``time_base`` (numerator, denominator), ``labels`` (shots,), ``words`` (shots, bins) and ``recipe``. A
modality whose rows are tokens, not shots, has the shot of each under ``NAME.shots`` (tokens,).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from megaseg.engine.inputs.arrays import read_members
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import RepeatedKey, atomic_write, resolve, shipped, unique_keys, what_is_there
from megaseg.engine.inputs.tokens import SUFFIX
from megaseg.errors import FeatureError, ResourceLimitError

_TEXTS = (".fountain", ".spmd", ".md", ".txt", ".fdx", ".pdf", ".jsonl", ".gz")  # files that hold screenplays
_TEXT_KEYS = ("recipe", "time_base")  # of the metadata of a safetensors file
_NUMPY_TYPES = {"BOOL", *(f"{kind}{bits}" for kind in "IU" for bits in (8, 16, 32, 64)), "F16", "F32", "F64"}
_MOST_HEADER = 100_000_000  # bytes, the format's own limit
FeatureSource = Features | Mapping[str, Any] | str | os.PathLike[str]


def as_features(source: FeatureSource) -> Features:
    """Features from themselves, a mapping or a file."""
    if isinstance(source, Features):
        return source
    if isinstance(source, Mapping):
        return Features.from_mapping(source)
    if isinstance(source, (str, os.PathLike)):
        return load_features(source)
    raise FeatureError(f"features: expected a mapping of modality to array, or a path, got {type(source).__name__}")


def resolve_features(name_or_path: str | os.PathLike[str]) -> Path:
    """A path, or the name of a sample that ships with megaseg.

    Raises:
        FeatureError: neither a file nor a shipped name; lists the shipped ones.
    """
    path = resolve(name_or_path, "samples")
    if path is None:
        names = ", ".join(shipped("samples"))
        raise FeatureError(
            f"{name_or_path}: expected a feature file or the name of a sample ({names}), "
            f"got {what_is_there(name_or_path)}"
        )
    return path


def load_features(path: str | os.PathLike[str]) -> Features:
    """Read a ``.npz`` or ``.safetensors`` feature file, or a shipped sample by its name.

    Raises:
        FeatureError: names the file, and the array in it that is not as expected.
    """
    path = resolve_features(path)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    suffix = path.suffix.lower()
    if suffix not in readers:
        hint = "; screenplays go through megaseg.pipelines.Pipeline" if suffix in _TEXTS else ""
        raise FeatureError(f"{path}: expected a .npz or .safetensors file, got {path.suffix or 'no suffix'!r}{hint}")
    with _named(str(path), f"a readable {suffix} file"):
        return Features.from_mapping(readers[suffix](path))


def read_features(data: bytes, name: str = "features", *, max_bytes: int | None = None) -> Features:
    """Read a feature file's bytes: ``.npz`` (a zip archive) or else ``.safetensors``; ``name`` is for messages.

    ``max_bytes`` bounds what an ``.npz`` unpacks to, and is checked before anything is unpacked.

    Raises:
        FeatureError: not a feature file, or an array in it that is not as expected.
        ResourceLimitError: it would unpack to more than ``max_bytes``.
    """
    with _named(name, "the bytes of a .npz or .safetensors file"):
        if data[:4] != b"PK\x03\x04":
            _check_header(data[8 : 8 + int.from_bytes(data[:8], "little")])
            return Features.from_mapping(dict(safetensors.numpy.load(data)) | _texts(data))
        _require_unpacked(data, name, max_bytes)
        return Features.from_mapping(read_members(io.BytesIO(data)))


def read_arrays(path: str | os.PathLike[str], expected: str) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npz``, none unpickled; ``expected`` says in errors what the file was to be.

    Raises:
        FeatureError: an unreadable file, or a name twice; names the file.
    """
    with _named(os.fspath(path), expected):
        return _read_npz(Path(path))


@contextmanager
def _named(where: str, expected: str) -> Iterator[None]:
    """Every error about a file is a FeatureError that names it."""
    try:
        yield
    except ResourceLimitError:
        raise
    except FeatureError as error:
        raise FeatureError(f"{where}: {error}") from error
    except Exception as error:
        raise FeatureError(f"{where}: expected {expected}, got: {error}") from error


def _require_unpacked(data: bytes, name: str, max_bytes: int | None) -> None:
    """An archive says how large its members are, and zipfile reads none beyond that."""
    import zipfile  # not in import megaseg: only a service reads bytes

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if max_bytes is not None and unpacked > max_bytes:
        raise ResourceLimitError(f"{name}: expected a file that unpacks to up to {max_bytes} bytes, got {unpacked}")


def _read_npz(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        if stream.read(2) != b"PK":  # NumPy would take it for a pickle, and say how to trust it
            raise ValueError("no zip archive, as every .npz is")
        stream.seek(0)
        return read_members(stream)


def _read_safetensors(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        _check_header(stream.read(min(length, _MOST_HEADER)))
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
        texts = file.metadata() or {}
    return arrays | {key: value for key, value in texts.items() if key in _TEXT_KEYS}


def _texts(data: bytes) -> dict[str, Any]:
    """Reserved keys in the metadata of a safetensors file that has been read."""
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    return {key: value for key, value in metadata.items() if key in _TEXT_KEYS}


def _check_header(text: bytes) -> None:
    """Check what safetensors does not say of a header: names that come twice, and types that NumPy does not have.

    Raises:
        FeatureError: names the array.
    """
    try:
        header = json.loads(text, object_pairs_hook=unique_keys)
    except RepeatedKey as error:
        raise FeatureError(f"{error}: expected one array of this name, got two in the header") from error
    except ValueError:
        return  # safetensors says what is wrong
    for name, entry in header.items() if isinstance(header, dict) else ():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if isinstance(kind, str) and kind not in _NUMPY_TYPES and name != "__metadata__":
            got = {"BF16": "bfloat16"}.get(kind, kind)
            raise FeatureError(f"{name}: expected float32 or float16, got {got}; save it as float32")


def save_features(path: str | os.PathLike[str], features: Features) -> None:
    """Write a compressed ``.npz`` that ``load_features`` reads back, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **_arrays(features))


def feature_bytes(features: Features) -> bytes:
    """The bytes of a compressed ``.npz`` that ``read_features`` reads back."""
    file = io.BytesIO()
    np.savez_compressed(file, **_arrays(features))
    return file.getvalue()


def _arrays(features: Features) -> dict[str, Any]:
    arrays: dict[str, Any] = dict(features.modalities)
    arrays |= {name + SUFFIX: shots for name, shots in features.token_shots.items()}
    if features.times is not None and features.time_base is not None:
        arrays["times"] = features.times
        arrays["time_base"] = np.array(features.time_base.as_integer_ratio(), dtype=np.int64)
    if features.labels is not None:
        arrays["labels"] = features.labels
    if features.words is not None:
        arrays["words"] = features.words
    if features.recipe is not None:
        arrays["recipe"] = np.array(features.recipe)
    return arrays
