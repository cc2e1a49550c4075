"""The reader: a small text model that reads across the gap between two blocks and says if a scene ends there.

It is the first layers of all-MiniLM-L6-v2 with low-rank adapters (Hu et al. 2022, Eq. 3: W x + B A x), trained by
``megaseg train reader`` in folds by movie. A movie that it was trained on is read by the one fold that has not seen
it, any other movie by the mean of all folds: features of training movies are as honest as those of new ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.native.extension import capabilities
from megaseg.engine.backends.protocol import LOGITS, Backend, Excerpt
from megaseg.engine.loading import load_backend
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.derived_tensors import DerivedTensors
from megaseg.engine.model.file_tensors import Array, FileTensors
from megaseg.engine.model.reader import ReaderConfig
from megaseg.errors import CheckpointError
from megaseg.features.screenplay.screenplay import ACTION, Block, Screenplay
from megaseg.features.text.encoder import read_tokenizer
from megaseg.features.text.pretrained import base_makers, base_tensors, encoder_folder, hugging, pretrained_config
from megaseg.weights import weights_file

FORMAT = "megaseg-reader/1"
# Tokens of the text before and after a gap; the layers that read them; the rank of their adapters; the width of the
# hidden layer that decides.
BEFORE, AFTER, LAYERS, RANK, HEAD_SIZE = 16, 32, 4, 16, 64
# Log-odds of a gap before a speech, which is not read: 0.6 % of them end a scene.
UNREAD = -5.0
_CLS, _SEP, _BLOCK = 101, 102, 1064  # [CLS], [SEP], and | between blocks
_RECIPE = "megaseg-reader/1 on huggingface-bert/1"
_BATCH = 128  # gaps between two calls of ``advance``
_OPTIONS = {
    "device": "auto",
    "compute_type": "auto",
    "num_threads": 0,
    "backend": "auto",
    "memory_limit": None,
    "passes": True,
}


@dataclass(frozen=True, slots=True)
class Gap:
    """Token ids around the gap after block ``row``; the first ``before`` of them come from before it."""

    row: int
    ids: list[int]
    before: int


def read_gaps(blocks: Sequence[Block], tokenizer: Any) -> list[Gap]:
    """The gaps worth reading: those before an action block."""
    texts = [f"{block.speaker.title()}: {block.text}" if block.speaker else block.text for block in blocks]
    ids = [encoding.ids[1:-1] for encoding in tokenizer.encode_batch(texts)]
    gaps = []
    for row in range(len(ids) - 1):
        if blocks[row + 1].kind == ACTION:
            earlier = [*ids[row - 1], _BLOCK] if row else []
            later = [_BLOCK, *ids[row + 2]] if row + 2 < len(ids) else []
            before = [_CLS, *(earlier + ids[row])[-BEFORE:], _SEP]
            gaps.append(Gap(row, [*before, *(ids[row + 1] + later)[:AFTER], _SEP], len(before)))
    return gaps


def shipped_reader() -> Path:
    """The reader of ``megaseg-weights``.

    Raises:
        UnsupportedError: it is not installed.
    """
    return weights_file("reader.safetensors", extra="text")


class Reader:
    """Reads screenplays with a trained reader file, by default the one that ships.

    ``options`` are those of ``load_backend``. ``compute_type`` auto is int8 where the CPU has fast products of it: that
    costs log-odds 0.04 on average, a hundredth of their range (docs/checkpoints.md).

    Raises:
        CheckpointError: a file that is no reader. UnsupportedError: the extra ``text`` is not installed.
    """

    def __init__(self, path: str | Path | None = None, encoder: str | Path | None = None, **options: Any) -> None:
        self._file = ReaderFile(shipped_reader() if path is None else Path(path), encoder)
        self._tokenizer = gap_tokenizer(encoder)
        self._options: dict[str, Any] = {**_OPTIONS, **options}
        if (self._options["backend"], self._options["compute_type"]) == ("auto", "auto"):
            offered = capabilities()
            self._options["compute_type"] = "int8" if "int8" in offered["compute_types"] else offered["auto"]
        self.compute_type: str = self._options["compute_type"]
        self._loaded: dict[int | None, Backend] = {}

    def log_odds(self, play: Screenplay, advance: Callable[[int], None] = lambda count: None) -> NDArray[np.float32]:
        """Float32 (blocks,): log-odds that block i is the last of its scene, ``UNREAD`` before a speech."""
        backend = self._model(self._file.folds.get(play.name))
        gaps = read_gaps(play.blocks, self._tokenizer)
        result = np.full(len(play.blocks), UNREAD, np.float32)
        for begin in range(0, len(gaps), _BATCH):
            batch = gaps[begin : begin + _BATCH]
            rows = backend.run([Excerpt.whole(_features(gap)) for gap in batch], (LOGITS,))
            result[[gap.row for gap in batch]] = [logits[0, 0] for (logits,) in rows]
            advance(len(batch))
        return result

    def _model(self, fold: int | None) -> Backend:
        """The model of one fold, of all where that is None."""
        if fold not in self._loaded:
            self._loaded[fold] = load_backend(self._file.checkpoint(fold), **self._options).backend
        return self._loaded[fold]


def _features(gap: Gap) -> list[NDArray[np.int32]]:
    ids = np.array(gap.ids, np.int32)[:, None]
    return [ids, (np.arange(len(ids), dtype=np.int32) >= gap.before).astype(np.int32)[:, None]]


def gap_tokenizer(encoder: str | Path | None = None) -> Any:
    """The tokenizer of an encoder's folder; texts are neither cut nor filled up."""
    path = encoder_folder(encoder) / "tokenizer.json"
    try:
        tokenizer = read_tokenizer(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise CheckpointError(f"{path}: expected a tokenizer, got: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


class ReaderFile:
    """A reader file and the encoder below it: adapters of each fold, and ``folds``, who held out which movie.

    Raises:
        CheckpointError: names the file and what is wrong with it. UnsupportedError: no such encoder.
    """

    def __init__(self, path: Path, encoder: str | Path | None = None) -> None:
        self._encoder = pretrained_config(encoder)
        self._base = base_tensors(encoder_folder(encoder))
        try:
            self._file = FileTensors(path)
            metadata = self._file.metadata
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r}")
            self.folds = {str(name): int(fold) for name, fold in json.loads(metadata["folds"]).items()}
            self.num_folds = len({name.split(".")[1] for name in self._file})
            self._check()
        except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path}: expected a reader ({FORMAT}), got: {error}") from error

    def checkpoint(self, fold: int | None) -> Checkpoint:
        """The model of one fold, or with None of all; values are read later, adapters merged."""
        chosen = range(self.num_folds) if fold is None else (fold,)
        config = self._config(len(chosen))
        make: dict[str, Callable[[], Array]] = {
            "position.weight": lambda: hugging(self._base, "embeddings.position_embeddings.weight")[: config.max_length]
        }
        for number, own in enumerate(chosen):
            fold_name = f"folds.{number}"
            merged = partial(self._merged, own)
            make |= base_makers(self._base, LAYERS, prefix=f"{fold_name}.layers", change=merged)
            make[f"{fold_name}.type.weight"] = partial(self._types, own)
            for part in ("0.weight", "0.bias", "2.weight", "2.bias"):
                make[f"{fold_name}.head.{part}"] = partial(self._file.__getitem__, f"fold.{own}.head.{part}")
        recipe = f"{_RECIPE}, folds {','.join(map(str, chosen))}"
        return Checkpoint(config, DerivedTensors(recipe, [self._base, self._file], make))

    def _config(self, num_folds: int) -> ReaderConfig:
        own = self._encoder
        return ReaderConfig(
            max_length=BEFORE + AFTER + 3,
            vocab_size=own.vocab_size,
            hidden_size=own.hidden_size,
            ffn_size=own.ffn_size,
            num_heads=own.num_heads,
            num_layers=LAYERS,
            num_folds=num_folds,
            head_size=HEAD_SIZE,
            layer_norm_eps=own.layer_norm_eps,
        )

    def _types(self, fold: int) -> Array:
        """Rows of both sides: the encoder's first, and what training added."""
        added: Array = self._file[f"fold.{fold}.types"]
        return hugging(self._base, "embeddings.token_type_embeddings.weight")[:1] + added

    def _merged(self, fold: int, name: str, values: Array) -> Array:
        """A linear layer's weight as W + B A, norms as they are."""
        key = f"fold.{fold}.lora.{name.removesuffix('.weight').replace('.', '_')}"
        if "LayerNorm" in name:
            return values
        values = bfloat16(values)  # as training saw them
        if name.endswith(".bias"):
            return values
        added: Array = self._file[f"{key}_b"].astype(np.float64) @ self._file[f"{key}_a"].astype(np.float64)
        return (values + added).astype(np.float32)

    def _check(self) -> None:
        """Raises ValueError for tensors that do not fit the encoder, or folds that are not there."""
        if self._encoder.num_layers < LAYERS or self._encoder.max_length < BEFORE + AFTER + 3:
            raise ValueError("an encoder of fewer layers or tokens")
        shapes = reader_shapes(self._encoder.hidden_size, self._encoder.ffn_size)
        expected = {f"fold.{n}.{name}": shape for n in range(self.num_folds) for name, shape in shapes.items()}
        got = {name: tuple(entry["shape"]) for name, entry in self._file.entries.items()}
        wrong = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
        if wrong or not got:
            raise ValueError(f"tensors that do not fit: {', '.join(wrong[:3]) or 'none'}")
        if not set(self.folds.values()) <= set(range(self.num_folds)):
            raise ValueError(f"folds beyond the {self.num_folds} that it has")


def bfloat16(values: Array) -> Array:
    """Float32 values rounded to bfloat16: to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def reader_shapes(size: int, ffn_size: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a fold in a reader file."""
    linears = {f"attention_{name}": (size, size) for name in ("self_query", "self_key", "self_value", "output_dense")}
    linears |= {"intermediate_dense": (ffn_size, size), "output_dense": (size, ffn_size)}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):
        for name, (rows, columns) in linears.items():
            shapes[f"lora.encoder_layer_{layer}_{name}_a"] = (RANK, columns)
            shapes[f"lora.encoder_layer_{layer}_{name}_b"] = (rows, RANK)
    head = {"0.weight": (HEAD_SIZE, 2 * size), "0.bias": (HEAD_SIZE,), "2.weight": (1, HEAD_SIZE), "2.bias": (1,)}
    return {**shapes, "types": (2, size), **{f"head.{name}": shape for name, shape in head.items()}}
