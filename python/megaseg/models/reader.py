"""The reader in torch, to train it: an encoder's frozen layers in bfloat16, and the adapters that are trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.features.screenplay.reader import HEAD_SIZE, LAYERS, RANK, Gap
from megaseg.features.text.pretrained import base_tensors, encoder_folder, hugging, pretrained_config

Weights = Mapping[str, Tensor]
# Linear layers with an adapter each, and whether their inputs and outputs are of the inner width.
_LINEARS = {
    **{f"attention.{name}": (False, False) for name in ("self.query", "self.key", "self.value", "output.dense")},
    "intermediate.dense": (False, True),
    "output.dense": (True, False),
}


class Base:
    """Weights of an encoder's first layers by their names in its file: linear layers in bfloat16, the others float32.

    Raises:
        CheckpointError, UnsupportedError: as ``pretrained_config``.
    """

    def __init__(self, encoder: str | Path | None = None) -> None:
        self.config = pretrained_config(encoder)
        file = base_tensors(encoder_folder(encoder))
        names = [name.removeprefix("bert.") for name in file]
        wanted = [f"encoder.layer.{i}." for i in range(LAYERS)] + ["embeddings."]
        self.weights: dict[str, Tensor] = {}
        for name in (name for name in names if name.startswith(tuple(wanted)) and not name.endswith("position_ids")):
            weight = torch.from_numpy(hugging(file, name))
            linear = name.startswith("encoder") and "LayerNorm" not in name
            self.weights[name] = weight.bfloat16() if linear else weight


class Adapter(nn.Module):
    """What training adds to an encoder: A and B of each linear layer, token types, and the decision."""

    def __init__(self, base: Base) -> None:
        super().__init__()
        size, ffn_size = base.config.hidden_size, base.config.ffn_size
        self._base = base  # no module: frozen, and not a part of the state
        self.lora = nn.ParameterDict()
        for layer in range(LAYERS):
            for linear, (inner_in, inner_out) in _LINEARS.items():
                inputs, outputs = (ffn_size if inner else size for inner in (inner_in, inner_out))
                name = f"encoder_layer_{layer}_{linear}".replace(".", "_")
                self.lora[f"{name}_a"] = nn.Parameter(torch.randn(RANK, inputs) / math.sqrt(inputs))
                self.lora[f"{name}_b"] = nn.Parameter(torch.zeros(outputs, RANK))
        self.types = nn.Parameter(0.02 * torch.randn(2, size))
        self.head = nn.Sequential(nn.Linear(2 * size, HEAD_SIZE), nn.GELU(), nn.Linear(HEAD_SIZE, 1))

    def forward(self, gaps: Sequence[Gap]) -> Tensor:
        """Log-odds (gaps,) that a scene ends at each gap."""
        tokens, mask = pad([gap.ids for gap in gaps])
        after = torch.arange(tokens.shape[1]) >= torch.tensor([[gap.before] for gap in gaps])
        hidden = self._hidden(tokens, mask, after).float()
        sides = [hidden * part[..., None] for part in (mask & ~after, mask & after)]
        counts = [part.sum(1, keepdim=True) for part in (mask & ~after, mask & after)]
        pooled = torch.cat([side.sum(1) / count for side, count in zip(sides, counts, strict=True)], dim=1)
        logits: Tensor = self.head(pooled)[:, 0]
        return logits

    def _hidden(self, tokens: Tensor, mask: Tensor, after: Tensor) -> Tensor:
        """Hidden states (gaps, tokens, size) after the last layer that is read."""
        weights, heads = self._base.weights, self._base.config.num_heads
        places = weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        types = weights["embeddings.token_type_embeddings.weight"][0] + self.types[after.long()]
        words = functional.embedding(tokens, weights["embeddings.word_embeddings.weight"])
        h = self._norm(words + places + types, "embeddings.LayerNorm")
        for p in (f"encoder.layer.{layer}" for layer in range(LAYERS)):
            q, k, v = (
                self._dense(h, f"{p}.attention.self.{part}").view(*tokens.shape, heads, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )  # (gaps, heads, tokens, head size)
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
            attended = self._dense(mixed.transpose(1, 2).flatten(2), f"{p}.attention.output.dense")
            h = self._norm(h + attended, f"{p}.attention.output.LayerNorm")
            inner = functional.gelu(self._dense(h, f"{p}.intermediate.dense"))
            h = self._norm(h + self._dense(inner, f"{p}.output.dense"), f"{p}.output.LayerNorm")
        return h

    def _dense(self, x: Tensor, name: str) -> Tensor:
        key, x = name.replace(".", "_"), x.bfloat16()
        low = functional.linear(x, self.lora[f"{key}_a"].bfloat16())
        base = functional.linear(x, self._base.weights[f"{name}.weight"], self._base.weights[f"{name}.bias"])
        return base + functional.linear(low, self.lora[f"{key}_b"].bfloat16())

    def _norm(self, x: Tensor, name: str) -> Tensor:
        scale, shift = (self._base.weights[f"{name}.{part}"].to(x.dtype) for part in ("weight", "bias"))
        return functional.layer_norm(x, (x.shape[-1],), scale, shift, self._base.config.layer_norm_eps)


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
    tokens = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, sequence in enumerate(ids):
        tokens[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = True
    return tokens, mask
