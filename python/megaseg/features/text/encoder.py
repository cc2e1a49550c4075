"""Sentence embeddings by all-MiniLM-L6-v2 (extra ``megaseg[text]``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import UnsupportedError
from megaseg.features.text.minilm import WIDTH, batches, hidden_states, load_minilm, pad

if TYPE_CHECKING:
    from torch import Tensor

_MAX_TOKENS = 256
_TOKENS_PER_BATCH = 2048


class SentenceEncoder:
    """Unit-norm mean-pooled sentence vectors, as sentence-transformers gives for all-MiniLM-L6-v2.

    ``compute_type`` "bfloat16" runs the layers in bfloat16; pooling and norm stay float32.

    Raises:
        UnsupportedError: the extra ``text`` is not installed, or an unknown compute type.
    """

    def __init__(self, minilm: str | Path | None = None, *, compute_type: str = "float32") -> None:
        if compute_type not in ("float32", "bfloat16"):
            raise UnsupportedError(f"compute_type: expected float32 or bfloat16, got {compute_type!r}")
        weights, self._tokenizer = load_minilm(minilm)
        self._weights = {
            name: weight.bfloat16() if compute_type == "bfloat16" else weight for name, weight in weights.items()
        }
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def encode(self, texts: Sequence[str], advance: Callable[[int], None] = lambda count: None) -> NDArray[np.float32]:
        """Texts -> float32 (texts, 384), rows of unit norm; ``advance(count)`` is called per finished batch."""
        import torch

        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        out = np.zeros((len(ids), WIDTH), np.float32)
        with torch.inference_mode():
            for batch in batches([len(sequence) for sequence in ids], _TOKENS_PER_BATCH):
                out[batch] = self._forward([ids[i] for i in batch]).numpy()
                advance(len(batch))
        return out

    def _forward(self, ids: list[list[int]]) -> Tensor:
        """Token ids of one batch -> (batch, 384)."""
        from torch.nn import functional

        def dense(x: Tensor, name: str) -> Tensor:
            return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

        tokens, mask = pad(ids)
        real = mask[..., None].float()
        hidden = hidden_states(self._weights, tokens, mask, dense).float() * real
        return functional.normalize(hidden.sum(1) / real.sum(1), dim=-1)
