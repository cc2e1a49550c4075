"""Model configuration: what the configs of all families share, and how they are read."""

from __future__ import annotations

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from megaseg.engine.graph.graph import Graph, Weight
from megaseg.engine.graph.sequences import Sequences
from megaseg.engine.inputs.modality import TYPES, Modality
from megaseg.errors import CheckpointError

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = "megaseg/1"
_FIRST = "mega"  # the family of a config that names none
_MAX_DIMENSION, _MAX_MODALITIES = (
    1 << 20,
    64,
)  # far beyond any real model: a hostile config must not cost time or memory
_FAMILIES: dict[str, type[ModelConfig]] = {}


class ModelConfig(ABC):
    """A model's config: a frozen dataclass of its family's numbers, checked when it is made.

    A family is a subclass, ``class MyConfig(ModelConfig, family="mine")``: its fields, the names and shapes of its
    tensors, and how they become a graph. Fields are int, float, str, or one of these or None, besides ``modalities``.

    ``task`` names the task that the model's outputs serve (``megaseg.engine.tasks``), ``threshold`` a decision
    threshold that was chosen on validation, in (0, 1), and ``recipe`` the feature extraction that the model was trained
    on, such as ``screenplay-blocks/1``.
    """

    __slots__ = ()
    family: ClassVar[str]
    absent_as_zeros: ClassVar[bool] = False  # rows of zeros take the place of a modality that a movie does not have
    task: str
    modalities: tuple[Modality, ...]
    threshold: float | None
    recipe: str | None

    def __init_subclass__(cls, family: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        family = family or cls.__dict__.get("family", "")  # dataclasses make a class with slots again, without keywords
        if family:
            cls.family = family
            _FAMILIES[family] = cls

    @property
    @abstractmethod
    def sequences(self) -> Sequences:
        """How a movie's rows become sequences."""

    @property
    def token_modality(self) -> str | None:
        """The modality whose rows are tokens of shots, not shots, if the model has one."""
        return None

    @abstractmethod
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that a checkpoint of this config holds, and no other."""

    @abstractmethod
    def build(self, tensor: Callable[[str], Weight]) -> Graph:
        """The model as written, from its tensors by name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(self.modalities))  # a config is a key of caches
        for problem in chain(self._shared_problems(), self.problems()):  # later ones may rely on earlier ones
            raise CheckpointError(f"config: {problem}")

    def problems(self) -> Iterator[str]:
        """What is wrong with the family's own numbers: each "NAME must be ..., got ..."."""
        return iter(())

    def _shared_problems(self) -> Iterator[str]:
        if not 1 <= len(self.modalities) <= _MAX_MODALITIES:
            yield f"modalities must list from 1 to {_MAX_MODALITIES} modalities, got {len(self.modalities)}"
        names = [modality.name for modality in self.modalities]
        if len(set(names)) != len(names):
            yield f"modalities must have different names, got {names}"
        for modality in self.modalities:
            if not modality.name or not modality.name.replace("_", "a").replace("-", "a").isalnum():
                yield f"modality names are letters, digits, - and _, got {modality.name!r}"
            if modality.type not in TYPES:
                yield f"type of {modality.name} must be one of {', '.join(TYPES)}, got {modality.type!r}"
        yield from sizes_out_of_range({f"feature_size of {m.name}": m.feature_size for m in self.modalities})
        if self.threshold is not None and not 0.0 < self.threshold < 1.0:
            yield f"threshold must be in (0, 1), got {self.threshold}"

    def replaced(self, **changes: Any) -> Self:
        """The config with some of its fields changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]  # every family's config is a dataclass

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the checkpoint's ``config`` metadata; unset optional keys are left out."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every family's config is a dataclass
        values = {field.name: getattr(self, field.name) for field in fields}
        known = {key: value for key, value in values.items() if value is not None}
        named = {} if self.family == _FIRST else {"family": self.family}
        return {"format": FORMAT, **named, **known, "modalities": [_modality_dict(m) for m in self.modalities]}

    def to_json(self) -> str:
        """``to_dict`` as the text of the checkpoint's metadata."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Parse the JSON object of ``to_dict``, of whatever family it names.

        Raises:
            CheckpointError: an unknown family, a missing, unknown or mistyped key, or values that do not fit each
                other.
        """
        family = values.get("family", _FIRST)
        if not isinstance(family, str) or family not in _FAMILIES:
            raise CheckpointError(f"config: family must be one of {', '.join(_FAMILIES)}, got {family!r:.80}")
        own: Any = _FAMILIES[family]
        fields = {field.name: field for field in dataclasses.fields(own)}
        unknown = sorted(set(values) - set(fields) - {"format", "family"})
        required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
        missing = [name for name in required if name not in values]
        if unknown or missing:
            raise CheckpointError(f"config: missing keys {missing}, unknown keys {unknown}")
        if values.get("format", FORMAT) != FORMAT:
            raise CheckpointError(f"config: format must be {FORMAT!r}, got {values['format']!r}")
        parsed = {
            name: _parse(name, type_text(field), values[name]) for name, field in fields.items() if name in values
        }
        config: ModelConfig = own(**parsed)
        return config


def type_text(field: dataclasses.Field[Any]) -> str:
    """A field's annotation as text, whether or not its module postpones annotations."""
    return field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))


def sizes_out_of_range(sizes: Mapping[str, int], least: int = 1, most: int = _MAX_DIMENSION) -> Iterator[str]:
    """A problem for each size that is none."""
    for name, value in sizes.items():
        if not least <= value <= most:
            yield f"{name} must be from {least} to {most}, got {value}"


def _modality_dict(modality: Modality) -> dict[str, Any]:
    values = dataclasses.asdict(modality)
    return {key: value for key, value in values.items() if key != "type" or value != TYPES[0]}


def _parse(name: str, kind: str, value: Any) -> Any:
    if name == "modalities":
        return _parse_modalities(value)
    # bool is an int to Python, never to a config.
    if kind in ("int", "int | None") and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind.startswith("float") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 else math.inf
    if kind.startswith("str") and isinstance(value, str):
        return value
    if kind.endswith("None") and value is None:
        return None
    raise CheckpointError(f"config: {name} must be {kind}, got {value!r:.80}")


def _parse_modalities(value: Any) -> tuple[Modality, ...]:
    expected = 'a list of {"name": text, "feature_size": integer}'
    if not isinstance(value, list):
        raise CheckpointError(f"config: modalities must be {expected}, got {value!r:.80}")
    for entry in value:
        keys = set(entry) - {"type"} if isinstance(entry, dict) else set()
        if keys != {"name", "feature_size"} or not all(isinstance(entry.get(k, ""), str) for k in ("name", "type")):
            raise CheckpointError(f"config: modalities must be {expected}, got {entry!r:.80}")
    return tuple(
        Modality(entry["name"], _parse("feature_size", "int", entry["feature_size"]), entry.get("type", TYPES[0]))
        for entry in value
    )
