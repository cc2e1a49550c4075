"""Random text encoders as Hugging Face lays them out, and what they compute, in float64 by NumPy alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WORDS = ["night", "house", "door", "opens", "walks", "street", "morning", "says", "hello", "goodbye", "looks"]
CLS, SEP, BAR = 101, 102, 1064
EPS = 1e-12
Tensors = Mapping[str, np.ndarray]
Dense = Callable[[np.ndarray, str], np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """Odd ones, so that no vector is full."""

    hidden: int = 36
    ffn: int = 50
    heads: int = 3
    layers: int = 5
    vocabulary: int = 1065
    positions: int = 70


def write_encoder(folder: Path, sizes: Sizes = Sizes(), *, seed: int = 0, prefix: str = "") -> Tensors:
    """Write config.json, model.safetensors and tokenizer.json; returns the tensors by their bare names."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _tensors(sizes, np.random.default_rng(seed))
    save_file({prefix + name: values for name, values in tensors.items()}, folder / "model.safetensors")
    config = {
        "model_type": "bert",
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.ffn,
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "vocab_size": sizes.vocabulary,
        "max_position_embeddings": sizes.positions,
        "layer_norm_eps": EPS,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    return tensors


def write_modules(folder: Path, *, pooling: str = "pooling_mode_mean_tokens", normalise: bool = True) -> None:
    """Write what sentence-transformers adds: its modules and the pooling."""
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalise else 2]
    modules = [{"idx": i, "path": f"{i}_{kind}", "type": f"sentence_transformers.models.{kind}"}
               for i, kind in enumerate(kinds)]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 36, pooling: True}))


def _tensors(sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
    c, ffn = sizes.hidden, sizes.ffn
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (sizes.vocabulary, c),
        "embeddings.position_embeddings.weight": (sizes.positions, c),
        "embeddings.token_type_embeddings.weight": (2, c),
    }
    norms = ["embeddings.LayerNorm"]
    for p in (f"encoder.layer.{i}" for i in range(sizes.layers)):
        linears = {f"attention.self.{name}": (c, c) for name in ("query", "key", "value")}
        linears |= {"attention.output.dense": (c, c), "intermediate.dense": (ffn, c), "output.dense": (c, ffn)}
        for name, shape in linears.items():
            shapes |= {f"{p}.{name}.weight": shape, f"{p}.{name}.bias": shape[:1]}
        norms += [f"{p}.attention.output.LayerNorm", f"{p}.output.LayerNorm"]
    tensors = {name: rng.standard_normal(shape) / math.sqrt(shape[-1]) for name, shape in shapes.items()}
    for name in norms:
        tensors[f"{name}.weight"] = 1 + rng.standard_normal(c) / 4
        tensors[f"{name}.bias"] = rng.standard_normal(c) / 4
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def _tokenizer() -> dict[str, object]:
    """Words by whole words, [CLS] and [SEP] around a text."""
    vocabulary = {"[UNK]": 0, "[CLS]": CLS, "[SEP]": SEP, "|": BAR, **{word: 200 + i for i, word in enumerate(WORDS)}}
    added = [
        {"id": vocabulary[name], "content": name, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for name in ("[CLS]", "[SEP]")
    ]
    special = {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    pieces = {name: {"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")}
    text = [{"Sequence": {"id": kind, "type_id": number}} for number, kind in enumerate("AB")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [pieces["[CLS]"], text[0], pieces["[SEP]"]],
            "pair": [pieces["[CLS]"], text[0], pieces["[SEP]"], text[1], pieces["[SEP]"]],
            "special_tokens": special,
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }


def dense_of(tensors: Tensors) -> Dense:
    """The linear layers of an encoder."""
    return lambda x, name: x @ tensors[f"{name}.weight"].astype(float).T + tensors[f"{name}.bias"]


def hidden(
    tensors: Tensors, ids: Sequence[int], types: np.ndarray, *, heads: int, layers: int, dense: Dense
) -> np.ndarray:
    """Rows (tokens, size) of one text after so many layers, from ids and the type rows of its tokens."""
    words = tensors["embeddings.word_embeddings.weight"].astype(float)[list(ids)]
    h = words + tensors["embeddings.position_embeddings.weight"][: len(ids)] + types
    h = _norm(h, tensors, "embeddings.LayerNorm")
    for p in (f"encoder.layer.{i}" for i in range(layers)):
        q, k, v = (
            dense(h, f"{p}.attention.self.{name}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2])
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        mixed = (weights / weights.sum(axis=2, keepdims=True) @ v).transpose(1, 0, 2).reshape(h.shape)
        h = _norm(h + dense(mixed, f"{p}.attention.output.dense"), tensors, f"{p}.attention.output.LayerNorm")
        inner = dense(h, f"{p}.intermediate.dense")
        gelu = inner / 2 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        h = _norm(h + dense(gelu, f"{p}.output.dense"), tensors, f"{p}.output.LayerNorm")
    return h


def embedding(
    tensors: Tensors, ids: Sequence[int], sizes: Sizes, pooling: str = "mean", norm: str = "l2"
) -> np.ndarray:
    """The vector (size,) of one text."""
    types = tensors["embeddings.token_type_embeddings.weight"][0].astype(float)
    rows = hidden(tensors, ids, types, heads=sizes.heads, layers=sizes.layers, dense=dense_of(tensors))
    vector = rows.mean(axis=0) if pooling == "mean" else rows[0]
    return vector / np.linalg.norm(vector) if norm == "l2" else vector


def _norm(x: np.ndarray, tensors: Tensors, name: str) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPS)
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]
