"""Per-shot features: the arrays of one movie, and the one place where input is checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.modality import Modality
from megaseg.engine.inputs.tokens import SUFFIX, check_token_shots, tokens_of_rows
from megaseg.errors import FeatureError
from megaseg.kernels.finite import all_finite

RESERVED = ("times", "time_base", "labels", "words", "recipe")


class OtherRecipe(FeatureError):
    """Features of another recipe than the one that a model was trained on."""


class TooManyShots(FeatureError):
    """Features of more shots than a model takes at once."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one movie.

    ``modalities`` maps a name to an array (shots, feature_size) of float32, float16, or int32 where a model reads ids;
    ``times`` are int64 (shots, 2), start and end tick of each shot in units of ``time_base`` seconds; ``labels`` are
    uint8 (shots,), 1 = the last shot of its scene; ``recipe`` names the extraction that made the arrays. ``words`` are
    uint8 (shots, bins), 1 where the shot's text has a word of that hash: act training matches them with a synopsis,
    models never see them. ``token_shots`` maps a modality whose rows are tokens, such as sentences, to the shot that
    each falls into, int32 (tokens,) that never fall; the rows of all others are shots. Checked when made.

    Raises:
        FeatureError: names the array, what was expected and what came.
    """

    modalities: Mapping[str, NDArray[Any]]
    times: NDArray[np.int64] | None = None
    time_base: Fraction | None = None
    labels: NDArray[np.uint8] | None = None
    recipe: str | None = None
    words: NDArray[np.uint8] | None = None
    token_shots: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.modalities:
            raise FeatureError("features: expected at least one modality, got none")
        own = {"times": self.times, "labels": self.labels, "words": self.words}
        for name, array in {**self.modalities, **own}.items():
            _require_no_mask(name, array)
            if name in own and array is not None and not isinstance(array, np.ndarray):
                raise FeatureError(f"{name}: expected a NumPy array, got {type(array).__name__}")
        for name, array in self.modalities.items():
            _check_modality(name, array, 0 if name in self.token_shots else 1)
        lengths = {name: len(array) for name, array in self.modalities.items() if name not in self.token_shots}
        if not lengths:
            raise FeatureError(
                f"features: expected a modality with a row a shot, got tokens of {list(self.modalities)}"
            )
        if len(set(lengths.values())) > 1:
            raise FeatureError(f"features: expected the same number of shots in every modality, got {lengths}")
        if self.times is not None:
            check_times(self.times, self.time_base, self.num_shots)
        if self.labels is not None and (
            self.labels.shape != (self.num_shots,) or self.labels.dtype != np.uint8 or self.labels.max() > 1
        ):
            raise FeatureError(
                f"labels: expected {self.num_shots} uint8 values 0 or 1, got {self.labels.dtype} {self.labels.shape}"
            )
        words = self.words
        if words is not None and (words.ndim != 2 or len(words) != self.num_shots or words.dtype != np.uint8):
            raise FeatureError(f"words: expected uint8 ({self.num_shots}, bins), got {words.dtype} {words.shape}")
        for name, shots in self.token_shots.items():
            _require_no_mask(name + SUFFIX, shots)
            check_token_shots(name, shots, self.modalities, self.num_shots)

    @property
    def num_shots(self) -> int:
        """Number of shots n."""
        return next(len(array) for name, array in self.modalities.items() if name not in self.token_shots)

    def require_shots(self, tokens: str | None = None) -> None:
        """Refuse modalities whose rows are not shots, but for ``tokens``.

        Raises:
            FeatureError: there is one; names it.
        """
        for name in self.token_shots:
            if name != tokens:
                raise FeatureError(f"{name}: expected a row a shot, got tokens ({name}{SUFFIX} says their shots)")

    def ordered_for(
        self,
        modalities: Sequence[Modality],
        recipe: str | None = None,
        most: int | None = None,
        tokens: str | None = None,
    ) -> list[NDArray[Any]]:
        """The arrays of a model's modalities in their order, C-contiguous and of their types, checked.

        Args:
            modalities: those of the model.
            recipe: the feature extraction that the model was trained on, if it says.
            most: most shots that the model takes at once; None is no limit.
            tokens: the modality whose rows may be tokens.

        Raises:
            FeatureError: a missing or unknown modality, tokens where rows are to be shots, a wrong width or type.
            OtherRecipe: another recipe. TooManyShots: more than ``most``.
        """
        names = [modality.name for modality in modalities]
        if set(names) != set(self.modalities):
            maker = "pipelines.embedding" if recipe and recipe.startswith("embedding/") else "Pipeline.segment"
            hint = f"; {maker} makes those of recipe {recipe} of its sources" if recipe else ""
            raise FeatureError(f"features: expected the modalities {names}, got {list(self.modalities)}{hint}")
        self.require_shots(tokens)
        if recipe and self.recipe and recipe != self.recipe:
            raise OtherRecipe(f"recipe: the checkpoint expects {recipe!r}, the features are {self.recipe!r}")
        for modality in modalities:
            width = self.modalities[modality.name].shape[1]
            if width != modality.feature_size:
                raise FeatureError(f"{modality.name}: expected {modality.feature_size} features a shot, got {width}")
        if most is not None and self.num_shots > most:
            raise TooManyShots(
                f"features: the model takes up to {most} shots, got {self.num_shots}; "
                "overflow='pool' averages neighbouring shots"
            )
        return [_of_type(modality, self.modalities[modality.name]) for modality in modalities]

    def completed(self, modalities: Sequence[Modality], tokens: str | None = None) -> Features:
        """The movie with these modalities alone: one that it does not have is zeros, and no tokens.

        Args:
            modalities: those of a model that takes zeros for what is not there.
            tokens: the modality whose rows are to be tokens. Given as rows of shots, those that are not all zeros are.

        Raises:
            FeatureError: none of the modalities is there.
        """
        names = [modality.name for modality in modalities]
        if not set(names) & set(self.modalities):
            raise FeatureError(
                f"features: expected at least one of the modalities {names}, got {list(self.modalities)}"
            )
        shots, own = self.num_shots, self.modalities
        arrays = {
            m.name: own[m.name] if m.name in own else np.zeros((shots, m.feature_size), np.float32) for m in modalities
        }
        token_shots = {name: shots for name, shots in self.token_shots.items() if name in arrays}
        if tokens is not None and tokens not in token_shots:
            arrays[tokens], token_shots[tokens] = tokens_of_rows(arrays[tokens])
        return dataclasses.replace(self, modalities=arrays, token_shots=token_shots)

    def pooled(self, size: int) -> Features:
        """Every ``size`` neighbouring shots averaged into one, without times and labels; 1 changes nothing.

        Raises:
            FeatureError: ids or tokens, which have no average.
        """
        if size == 1:
            return self
        self.require_shots()
        for name, array in self.modalities.items():
            if array.dtype == np.int32:
                raise FeatureError(f"{name}: expected float32 or float16 to average neighbouring shots, got int32 ids")
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
        arrays = {str(name): value for name, value in mapping.items() if name not in RESERVED}
        token_shots = {
            name.removesuffix(SUFFIX): _int32(name, arrays.pop(name)) for name in list(arrays) if name.endswith(SUFFIX)
        }
        times, labels, recipe = mapping.get("times"), mapping.get("labels"), mapping.get("recipe")
        words = mapping.get("words")
        return cls(
            arrays,
            None if times is None else _integers("times", times).astype(np.int64),
            read_time_base(mapping.get("time_base")),
            None if labels is None else _labels(labels),
            None if recipe is None else _text(recipe),
            None if words is None else np.asanyarray(words),
            token_shots,
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


def _check_modality(name: str, array: Any, least: int) -> None:
    if not isinstance(array, np.ndarray):
        raise FeatureError(f"{name}: expected a NumPy array (shots, feature_size), got {type(array).__name__}")
    if array.dtype not in (np.float32, np.float16, np.int32):
        raise FeatureError(
            f"{name}: expected float32, float16, or int32 ids, got {array.dtype}; "
            "cast with .astype('float32'), ids with .astype('int32')"
        )
    if array.ndim != 2 or array.shape[0] < least or not array.shape[1]:
        raise FeatureError(f"{name}: expected (shots, feature_size) with at least one of each, got {array.shape}")
    if not all_finite(array):
        shot = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise FeatureError(f"{name}: expected finite values, got NaN or Inf at shot {shot}")


def _of_type(modality: Modality, array: NDArray[Any]) -> NDArray[Any]:
    """The array for the model: float16 to float32 is exact, nothing else is cast."""
    if (array.dtype == np.int32) != (modality.type == "int32"):
        expected = "int32 ids" if modality.type == "int32" else "float32 or float16"
        raise FeatureError(
            f"{modality.name}: expected {expected}, got {array.dtype}; cast with .astype({modality.type!r})"
        )
    return np.ascontiguousarray(array, dtype=modality.type)


def _require_no_mask(name: str, array: Any) -> None:
    if isinstance(array, np.ma.MaskedArray):  # its mask would be lost, and what it hides is often not finite
        raise FeatureError(f"{name}: expected a plain array, got a MaskedArray; give its values with .filled(value)")


def _integers(name: str, value: Any) -> NDArray[Any]:
    _require_no_mask(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "iub" or (array.dtype == np.uint64 and array.size and array.max() >= 2**63):
        raise FeatureError(f"{name}: expected integers, got {array.dtype}")
    return array


def _int32(name: str, value: Any) -> NDArray[np.int32]:
    array = _integers(name, value)
    found: NDArray[np.int32] = array.astype(np.int32)
    if (wrapped := found != array).any():
        raise FeatureError(f"{name}: expected values of int32, got {array[wrapped].flat[0]}")
    return found


def _labels(value: Any) -> NDArray[np.uint8]:
    labels = _integers("labels", value)
    if labels.size and (labels.min() < 0 or labels.max() > 1):
        raise FeatureError(f"labels: expected 0 or 1, got values from {labels.min()} to {labels.max()}")
    return labels.astype(np.uint8)


def _text(value: Any) -> str:
    """A text, also of an array of one, as a feature file has it."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_time_base(value: Any) -> Fraction | None:
    """Seconds a tick: a Fraction, "1/24" (in an array too), a pair of integers, or None.

    Raises:
        FeatureError: anything else.
    """
    if value is None or isinstance(value, Fraction):
        return value
    value = _text(value) if getattr(value, "dtype", np.dtype(int)).kind in "US" else value
    try:
        if isinstance(value, str):
            return Fraction(value)
        numerator, denominator = _integers("time_base", value).reshape(-1)
        return Fraction(int(numerator), int(denominator))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise FeatureError(f"time_base: expected (numerator, denominator) in seconds, got {value!r:.60}") from error
