"""Model configuration: the symbols of the MEGA architecture (supplementary, Table 1b), validated once."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from megaseg.engine.inputs.features import Modality as Modality
from megaseg.errors import CheckpointError

FORMAT = "megaseg/1"
TASKS = ("scene", "act", "synopsis")
# Far beyond any real model: a hostile config must not cost time or memory.
_MAX_DIMENSION, _MAX_MODALITIES, _MAX_LAYERS = 1 << 20, 64, 256


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that fixes a MEGA model's function, in the order of the paper's Table 1b.

    ``max_length`` is L: the window (odd) of a scene model, the longest movie of an act model.
    ``threshold`` is the decision threshold on P(boundary) chosen on validation, in (0, 1).
    ``recipe`` names the feature extraction that the model was trained on, such as ``screenplay-blocks/1``.
    """

    task: str
    modalities: tuple[Modality, ...]
    max_length: int
    num_bottleneck: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_unimodal_layers: int
    num_fusion_layers: int
    num_classes: int
    dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    threshold: float | None = None
    recipe: str | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CheckpointError(f"config: {problem}")

    def _problems(self) -> Iterator[str]:
        if self.task not in TASKS:
            yield f"task must be one of {', '.join(TASKS)}, got {self.task!r}"
        if not 1 <= len(self.modalities) <= _MAX_MODALITIES:
            yield f"modalities must list from 1 to {_MAX_MODALITIES} modalities, got {len(self.modalities)}"
        names = [modality.name for modality in self.modalities]
        if len(set(names)) != len(names):
            yield f"modalities must have different names, got {names}"
        for name in names:
            if not name or not name.replace("_", "a").replace("-", "a").isalnum():
                yield f"modality names are letters, digits, - and _, got {name!r}"
        sizes = {f"feature_size of {m.name}": m.feature_size for m in self.modalities}
        for key in ("max_length", "num_bottleneck", "hidden_size", "ffn_size", "num_heads", "num_classes"):
            sizes[key] = getattr(self, key)
        for key, value in sizes.items():
            if not 1 <= value <= _MAX_DIMENSION:
                yield f"{key} must be from 1 to {_MAX_DIMENSION}, got {value}"
        for key in ("num_unimodal_layers", "num_fusion_layers"):
            if not 0 <= getattr(self, key) <= _MAX_LAYERS:
                yield f"{key} must be from 0 to {_MAX_LAYERS}, got {getattr(self, key)}"
        if self.hidden_size % self.num_heads:
            yield f"hidden_size must be a multiple of num_heads, got {self.hidden_size} and {self.num_heads}"
        if self.task == "scene" and self.max_length % 2 == 0:
            yield f"max_length of a scene model must be odd (a centred window), got {self.max_length}"
        if self.task == "scene" and self.num_classes != 2:
            yield f"num_classes of a scene model must be 2 (no boundary, boundary), got {self.num_classes}"
        if not 0.0 <= self.dropout < 1.0:
            yield f"dropout must be in [0, 1), got {self.dropout}"
        if not (0.0 < self.layer_norm_eps < 1.0 and math.isfinite(self.layer_norm_eps)):
            yield f"layer_norm_eps must be in (0, 1), got {self.layer_norm_eps}"
        if self.threshold is not None and not 0.0 < self.threshold < 1.0:
            yield f"threshold must be in (0, 1), got {self.threshold}"

    @property
    def head_size(self) -> int:
        """Attention head width d = C / H."""
        return self.hidden_size // self.num_heads

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that a checkpoint of this config holds, and no other."""
        c, k, m = self.hidden_size, self.ffn_size, len(self.modalities)
        layer = {
            "self_attn.in_proj_weight": (3 * c, c),
            "self_attn.in_proj_bias": (3 * c,),
            "self_attn.out_proj.weight": (c, c),
            "self_attn.out_proj.bias": (c,),
            "linear1.weight": (k, c),
            "linear1.bias": (k,),
            "linear2.weight": (c, k),
            "linear2.bias": (c,),
            **{f"norm{i}.{part}": (c,) for i in (1, 2) for part in ("weight", "bias")},
        }
        shapes: dict[str, tuple[int, ...]] = {"align.weight": (self.num_bottleneck, c)}
        for modality in self.modalities:
            prefix = f"modalities.{modality.name}"
            shapes[f"{prefix}.proj.weight"] = (c, modality.feature_size)
            shapes[f"{prefix}.proj.bias"] = (c,)
            shapes[f"{prefix}.position.weight"] = (self.max_length, c)
            shapes[f"{prefix}.norm.weight"] = (c,)
            shapes[f"{prefix}.norm.bias"] = (c,)
            shapes[f"{prefix}.bottleneck"] = (self.num_bottleneck, c)
            for stage, count in (("unimodal", self.num_unimodal_layers), ("fusion", self.num_fusion_layers)):
                for i in range(count):
                    shapes |= {f"{prefix}.{stage}.{i}.{name}": shape for name, shape in layer.items()}
        shapes["head.weight"] = (self.num_classes, m * c)
        shapes["head.bias"] = (self.num_classes,)
        return shapes

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the checkpoint's ``config`` metadata; unset optional keys are left out."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        return {"format": FORMAT, **values, "modalities": [modality.to_dict() for modality in self.modalities]}

    def to_json(self) -> str:
        """``to_dict`` as the text of the checkpoint's metadata."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Parse the JSON object of ``to_dict``.

        Raises:
            CheckpointError: a missing, unknown or mistyped key, or values that do not fit each other.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields) - {"format"})
        required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
        missing = [name for name in required if name not in values]
        if unknown or missing:
            raise CheckpointError(f"config: missing keys {missing}, unknown keys {unknown}")
        if values.get("format", FORMAT) != FORMAT:
            raise CheckpointError(f"config: format must be {FORMAT!r}, got {values['format']!r}")
        parsed = {name: _parse(name, str(field.type), values[name]) for name, field in fields.items() if name in values}
        return cls(**parsed)


def _parse(name: str, kind: str, value: Any) -> Any:
    if name == "modalities":
        return _parse_modalities(value)
    # bool is an int to Python, never to a config.
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
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
        if not isinstance(entry, dict) or set(entry) != {"name", "feature_size"} or not isinstance(entry["name"], str):
            raise CheckpointError(f"config: modalities must be {expected}, got {entry!r:.80}")
    return tuple(Modality(entry["name"], _parse("feature_size", "int", entry["feature_size"])) for entry in value)
