"""The reader: a small text model that reads across the gap between two blocks and says if a scene ends there.

It is the first layers of all-MiniLM-L6-v2 with low-rank adapters (Hu et al. 2022, Eq. 3: W x + B A x), trained by
``megaseg train reader`` in folds by movie. A movie that it was trained on is read by the one fold that has not seen
it, any other movie by the mean of all folds: features of training movies are as honest as those of new ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import CheckpointError
from megaseg.features.screenplay.screenplay import ACTION, Block, Screenplay
from megaseg.features.text.minilm import WIDTH, batches, hidden_states, load_minilm, pad

FORMAT = "megaseg-reader/1"
SHIPPED = Path(__file__).with_name("reader.safetensors")
# Tokens of the text before and after a gap; the layers that read them; the rank of their adapters.
BEFORE, AFTER, LAYERS, RANK = 16, 32, 4, 16
# Log-odds of a gap before a speech, which is not read: 0.6 % of them end a scene.
UNREAD = -5.0
_CLS, _SEP, _BLOCK = 101, 102, 1064  # [CLS], [SEP], and | between blocks
_INNER = {"intermediate.dense": (WIDTH, 4 * WIDTH), "output.dense": (4 * WIDTH, WIDTH)}
_LINEARS = (*(f"attention.{name}" for name in ("self.query", "self.key", "self.value", "output.dense")), *_INNER)


@dataclass(frozen=True, slots=True)
class Gap:
    """Token ids around the gap after block ``row``; the first ``before`` of them come from before it."""

    row: int
    ids: list[int]
    before: int


def read_gaps(blocks: Sequence[Block], tokenizer: object) -> list[Gap]:
    """The gaps worth reading: those before an action block."""
    texts = [f"{block.speaker.title()}: {block.text}" if block.speaker else block.text for block in blocks]
    ids = [encoding.ids[1:-1] for encoding in tokenizer.encode_batch(texts)]  # type: ignore[attr-defined]
    gaps = []
    for row in range(len(ids) - 1):
        if blocks[row + 1].kind == ACTION:
            earlier = [*ids[row - 1], _BLOCK] if row else []
            later = [_BLOCK, *ids[row + 2]] if row + 2 < len(ids) else []
            before = [_CLS, *(earlier + ids[row])[-BEFORE:], _SEP]
            gaps.append(Gap(row, [*before, *(ids[row + 1] + later)[:AFTER], _SEP], len(before)))
    return gaps


class Adapter(nn.Module):
    """What training adds to MiniLM: A and B of each linear layer, token types, and the decision."""

    def __init__(self) -> None:
        super().__init__()
        self.lora = nn.ParameterDict()
        for layer in range(LAYERS):
            for linear in _LINEARS:
                inputs, outputs = _INNER.get(linear, (WIDTH, WIDTH))
                name = f"encoder_layer_{layer}_{linear}".replace(".", "_")
                self.lora[f"{name}_a"] = nn.Parameter(torch.randn(RANK, inputs) / math.sqrt(inputs))
                self.lora[f"{name}_b"] = nn.Parameter(torch.zeros(outputs, RANK))
        self.types = nn.Parameter(0.02 * torch.randn(2, WIDTH))
        self.head = nn.Sequential(nn.Linear(2 * WIDTH, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, weights: Mapping[str, Tensor], gaps: Sequence[Gap]) -> Tensor:
        """Log-odds (gaps,) that a scene ends at each gap; ``weights`` are MiniLM's, linear layers in bfloat16."""
        tokens, mask = pad([gap.ids for gap in gaps])
        after = torch.arange(tokens.shape[1]) >= torch.tensor([[gap.before] for gap in gaps])

        def dense(x: Tensor, name: str) -> Tensor:
            key = name.replace(".", "_")
            x = x.bfloat16()
            low = functional.linear(x, self.lora[f"{key}_a"].bfloat16())
            base = functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
            return base + functional.linear(low, self.lora[f"{key}_b"].bfloat16())

        first = weights["embeddings.token_type_embeddings.weight"][0]
        hidden = hidden_states(weights, tokens, mask, dense, types=first + self.types[after.long()], layers=LAYERS)
        sides = [hidden.float() * part[..., None] for part in (mask & ~after, mask & after)]
        counts = [part.sum(1, keepdim=True) for part in (mask & ~after, mask & after)]
        pooled = torch.cat([side.sum(1) / count for side, count in zip(sides, counts, strict=True)], dim=1)
        logits: Tensor = self.head(pooled)[:, 0]
        return logits


def base_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """MiniLM's weights as an ``Adapter`` takes them: linear layers of ``LAYERS`` layers in bfloat16."""
    return {name: w.bfloat16() if name.startswith("encoder") and "LayerNorm" not in name else w
            for name, w in weights.items()}  # fmt: skip


class Reader:
    """Reads screenplays with a trained reader file, by default the one that ships.

    Raises:
        CheckpointError: a file that is no reader. UnsupportedError: the extra ``text`` is not installed.
    """

    def __init__(self, path: str | Path | None = None, minilm: str | Path | None = None) -> None:
        weights, self._tokenizer = load_minilm(minilm)
        self._weights = base_weights(weights)
        self._adapters, self._folds = load_reader(SHIPPED if path is None else Path(path))

    def log_odds(self, play: Screenplay, advance: Callable[[int], None] = lambda count: None) -> NDArray[np.float32]:
        """Float32 (blocks,): log-odds that block i is the last of its scene, ``UNREAD`` before a speech."""
        fold = self._folds.get(play.name)
        adapters = self._adapters if fold is None else [self._adapters[fold]]
        gaps = read_gaps(play.blocks, self._tokenizer)
        result = np.full(len(play.blocks), UNREAD, np.float32)
        with torch.inference_mode():
            for batch in batches([len(gap.ids) for gap in gaps], 2048):
                part = [gaps[i] for i in batch]
                logits = torch.stack([adapter(self._weights, part) for adapter in adapters]).mean(0)
                result[[gap.row for gap in part]] = logits.numpy()
                advance(len(part))
        return result


def save_reader(
    path: Path, adapters: Sequence[Adapter], folds: Mapping[str, int], training: Mapping[str, object]
) -> None:
    """Write the adapters of all folds in float16, with the fold that held out each training movie."""
    from megaseg.engine.inputs.files import atomic_write

    tensors = {
        f"fold.{number}.{name}": tensor.detach().half().contiguous()
        for number, adapter in enumerate(adapters)
        for name, tensor in adapter.state_dict().items()
    }
    metadata = {"format": FORMAT, "folds": json.dumps(dict(folds)), "training": json.dumps(dict(training))}
    with atomic_write(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata)


def load_reader(path: Path) -> tuple[list[Adapter], dict[str, int]]:
    """Adapters of all folds, and the fold that held out each movie of the training.

    Raises:
        CheckpointError: names the file and what is wrong with it.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r}")
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no iterator)
        folds = {str(name): int(fold) for name, fold in json.loads(metadata["folds"]).items()}
        numbers = sorted({int(name.split(".")[1]) for name in tensors})
        adapters = []
        for number in numbers:
            adapter = Adapter()
            prefix = f"fold.{number}."
            adapter.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
            adapters.append(adapter.eval())
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"{path}: expected a reader ({FORMAT}), got: {error}") from error
    return adapters, folds
