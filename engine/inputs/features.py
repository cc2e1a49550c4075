"""Per-shot features: the container, its files, and the one place where input is checked.

A file is ``.npz`` or ``.safetensors`` with one array per modality, and optionally the reserved keys ``times``
(shots, 2) in integer ticks with ``time_base`` (numerator, denominator), ``labels`` (shots,), ``words`` (shots, bins)
and ``recipe``.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from megaseg.engine.graph.sequences import Whole
from megaseg.engine.inputs.files import atomic_write, resolve, shipped
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import FeatureError, ResourceLimitError

RESERVED = ("times", "time_base", "labels", "words", "recipe")


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one movie.

    ``modalities`` maps a name to a float32 or float16 array (shots, feature_size); ``times`` are int64 (shots, 2),
    start and end tick of each shot in units of ``time_base`` seconds; ``labels`` are uint8 (shots,), 1 = the last
    shot of its scene; ``recipe`` names the extraction that made the arrays. ``words`` are uint8 (shots, bins), 1 where
    the shot's text has a word of that hash: act training matches them with a synopsis, models never see them. Checked
    when made.

    Raises:
        FeatureError: names the array, what was expected and what came.
    """

    modalities: Mapping[str, NDArray[Any]]
    times: NDArray[np.int64] | None = None
    time_base: Fraction | None = None
    labels: NDArray[np.uint8] | None = None
    recipe: str | None = None
    words: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if not self.modalities:
            raise FeatureError("features: expected at least one modality, got none")
        own = {"times": self.times, "labels": self.labels, "words": self.words}
        for name, array in {**self.modalities, **own}.items():
            _expect_no_mask(name, array)
        for name, array in self.modalities.items():
            _check_modality(name, array)
        lengths = {name: len(array) for name, array in self.modalities.items()}
        if len(set(lengths.values())) > 1:
            raise FeatureError(f"features: expected the same number of shots in every modality, got {lengths}")
        if self.times is not None:
            check_times(self.times, self.time_base, self.num_shots)
        if self.labels is not None and (
            self.labels.shape != (self.num_shots,) or self.labels.dtype != np.uint8 or self.labels.max() > 1
        ):
            raise FeatureError(
                f"labels: expected {self.num_shots} values 0 or 1, got {self.labels.dtype} {self.labels.shape}"
            )
        words = self.words
        if words is not None and (words.ndim != 2 or len(words) != self.num_shots or words.dtype != np.uint8):
            raise FeatureError(f"words: expected uint8 ({self.num_shots}, bins), got {words.dtype} {words.shape}")

    @property
    def num_shots(self) -> int:
        """Number of shots n."""
        return len(next(iter(self.modalities.values())))

    def ordered_for(self, config: ModelConfig, *, part: bool = False) -> list[NDArray[np.float32]]:
        """The arrays in the order of ``config.modalities``, float32 and C-contiguous, checked against the config.

        ``part``: these are some of a movie's shots, so that no length is too long.

        Raises:
            FeatureError: a missing or unknown modality, a wrong width, another recipe, or more shots than an act
                model's ``max_length``.
        """
        names = [modality.name for modality in config.modalities]
        missing = [name for name in names if name not in self.modalities]
        unknown = [name for name in self.modalities if name not in names]
        if missing or unknown:
            raise FeatureError(f"features: expected the modalities {names}, got {list(self.modalities)}")
        if config.recipe and self.recipe and config.recipe != self.recipe:
            raise FeatureError(f"recipe: the checkpoint expects {config.recipe!r}, the features are {self.recipe!r}")
        for modality in config.modalities:
            width = self.modalities[modality.name].shape[1]
            if width != modality.feature_size:
                raise FeatureError(f"{modality.name}: expected {modality.feature_size} features a shot, got {width}")
        own = config.sequences
        if isinstance(own, Whole) and not part and self.num_shots > own.most:
            raise FeatureError(
                f"features: the model takes up to {own.most} shots, got {self.num_shots}; "
                "overflow='pool' averages neighbouring shots"
            )
        # float16 to float32 is exact; nothing else is cast.
        return [np.ascontiguousarray(self.modalities[name], dtype=np.float32) for name in names]

    def pooled(self, size: int) -> Features:
        """Every ``size`` neighbouring shots averaged into one, without times and labels; 1 changes nothing."""
        if size == 1:
            return self
        begins = np.arange(0, self.num_shots, size)
        counts = np.diff(np.append(begins, self.num_shots))[:, None]
        modalities = {
            name: (np.add.reduceat(array, begins, axis=0, dtype=np.float64) / counts).astype(np.float32)
            for name, array in self.modalities.items()
        }
        return Features(modalities, recipe=self.recipe)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Features:
        """Split a mapping of modality arrays and reserved keys; ``time_base`` may be a Fraction, "1/24" or a pair.

        Raises:
            FeatureError: as the class does.
        """
        modalities = {str(name): value for name, value in mapping.items() if name not in RESERVED}
        times, labels, recipe = mapping.get("times"), mapping.get("labels"), mapping.get("recipe")
        words = mapping.get("words")
        return cls(
            modalities,
            None if times is None else _integers("times", times).astype(np.int64),
            read_time_base(mapping.get("time_base")),
            None if labels is None else _labels(labels),
            None if recipe is None else str(recipe),
            None if words is None else np.asanyarray(words),
        )


def check_times(times: NDArray[np.int64], time_base: Fraction | None, shots: int) -> None:
    """Times are int64 (shots, 2): start <= end, starts never fall, and a time base says what a tick is.

    Raises:
        FeatureError: they are not.
    """
    if time_base is None or time_base <= 0:
        raise FeatureError(f"time_base: expected a positive fraction of a second with times, got {time_base}")
    if times.dtype != np.int64 or times.shape != (shots, 2):
        raise FeatureError(f"times: expected int64 ({shots}, 2), got {times.dtype} {times.shape}")
    late = np.flatnonzero((times[:, 1] < times[:, 0]) | (times[:, 0] < np.r_[times[0, 0], times[:-1, 0]]))
    if late.size:
        raise FeatureError(f"times: expected start <= end and rising starts, got {times[late[0]]} at shot {late[0]}")


def _check_modality(name: str, array: Any) -> None:
    if not isinstance(array, np.ndarray):
        raise FeatureError(f"{name}: expected a NumPy array (shots, feature_size), got {type(array).__name__}")
    if array.dtype not in (np.float32, np.float16):
        raise FeatureError(f"{name}: expected float32 or float16, got {array.dtype}; cast with .astype('float32')")
    if array.ndim != 2 or 0 in array.shape:
        raise FeatureError(f"{name}: expected (shots, feature_size) with at least one of each, got {array.shape}")
    if not np.isfinite(array).all():
        shot = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise FeatureError(f"{name}: expected finite values, got NaN or Inf at shot {shot}")


def _expect_no_mask(name: str, array: Any) -> None:
    if isinstance(array, np.ma.MaskedArray):  # its mask would be lost, and what it hides is often not finite
        raise FeatureError(f"{name}: expected a plain array, got a MaskedArray; give its values with .filled(value)")


def _integers(name: str, value: Any) -> NDArray[Any]:
    _expect_no_mask(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "iub" or (array.dtype == np.uint64 and array.size and array.max() >= 2**63):
        raise FeatureError(f"{name}: expected integers, got {array.dtype}")
    return array


def _labels(value: Any) -> NDArray[np.uint8]:
    labels = _integers("labels", value)
    if labels.size and (labels.min() < 0 or labels.max() > 1):
        raise FeatureError(f"labels: expected 0 or 1, got values from {labels.min()} to {labels.max()}")
    return labels.astype(np.uint8)


def read_time_base(value: Any) -> Fraction | None:
    """Seconds a tick: a Fraction, "1/24", a pair of integers, or None.

    Raises:
        FeatureError: anything else.
    """
    if value is None or isinstance(value, Fraction):
        return value
    try:
        if isinstance(value, str):
            return Fraction(value)
        numerator, denominator = _integers("time_base", value).reshape(-1)
        return Fraction(int(numerator), int(denominator))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise FeatureError(f"time_base: expected (numerator, denominator) in seconds, got {value!r:.60}") from error


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
        raise FeatureError(f"{name_or_path}: expected a feature file or the name of a sample ({names}), got none")
    return path


def load_features(path: str | os.PathLike[str]) -> Features:
    """Read a ``.npz`` or ``.safetensors`` feature file, or a shipped sample by its name.

    Raises:
        FeatureError: names the file, and the array in it that is not as expected.
    """
    path = resolve_features(path)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise FeatureError(f"{path}: expected a .npz or .safetensors file, got {path.suffix or 'no suffix'!r}")
    try:
        mapping = readers[path.suffix](path)
    except Exception as error:
        raise FeatureError(f"{path}: expected a readable {path.suffix} file, got: {error}") from error
    try:
        return Features.from_mapping(mapping)
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from error


def read_features(data: bytes, name: str = "features", *, max_bytes: int | None = None) -> Features:
    """Read a feature file's bytes: ``.npz`` (a zip archive) or else ``.safetensors``; ``name`` is for messages.

    ``max_bytes`` bounds what an ``.npz`` unpacks to, and is checked before anything is unpacked.

    Raises:
        FeatureError: not a feature file, or an array in it that is not as expected.
        ResourceLimitError: it would unpack to more than ``max_bytes``.
    """
    try:
        if data[:4] == b"PK\x03\x04":
            _expect_unpacked(data, name, max_bytes)
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                mapping = dict(file)
        else:
            mapping = dict(safetensors.numpy.load(data))
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            mapping |= {key: value for key, value in header.get("__metadata__", {}).items() if key == "recipe"}
    except ResourceLimitError:
        raise
    except Exception as error:
        raise FeatureError(f"{name}: expected the bytes of a .npz or .safetensors file, got: {error}") from error
    try:
        return Features.from_mapping(mapping)
    except FeatureError as error:
        raise FeatureError(f"{name}: {error}") from error


def _expect_unpacked(data: bytes, name: str, max_bytes: int | None) -> None:
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
        with np.load(stream, allow_pickle=False) as file:
            return dict(file)


def _read_safetensors(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
        recipe = (file.metadata() or {}).get("recipe")
    return arrays if recipe is None else {**arrays, "recipe": recipe}


def save_features(path: str | os.PathLike[str], features: Features) -> None:
    """Write a compressed ``.npz`` that ``load_features`` reads back, whole or not at all."""
    arrays: dict[str, Any] = dict(features.modalities)
    if features.times is not None and features.time_base is not None:
        arrays["times"] = features.times
        arrays["time_base"] = np.array(features.time_base.as_integer_ratio(), dtype=np.int64)
    if features.labels is not None:
        arrays["labels"] = features.labels
    if features.words is not None:
        arrays["words"] = features.words
    if features.recipe is not None:
        arrays["recipe"] = np.array(features.recipe)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
