"""``Encoder``: texts to sentence vectors, by a BERT that the engine runs (extra ``megaseg[text]``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.protocol import Backend, Excerpt
from megaseg.engine.loading import load_backend
from megaseg.engine.model.bert import BertConfig
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError
from megaseg.features.text.pretrained import MINILM, load_pretrained

_BATCH = 128  # texts between two calls of ``advance``
OUTPUT = "embedding"


class Encoder:
    """Sentence vectors of a BERT encoder, as sentence-transformers gives them. Safe to share between threads.

    >>> encoder = megaseg.Encoder.from_checkpoint()
    >>> encoder.encode(["A car stops in the rain.", "An automobile halts during a storm."]).shape
    (2, 384)
    """

    def __init__(self, config: BertConfig, backend: Backend, tokenizer: Any) -> None:
        self.config: BertConfig = config
        self.backend: Backend = backend
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(config.max_length)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | os.PathLike[str] | Checkpoint = MINILM,
        *,
        device: str = "auto",
        compute_type: str = "auto",
        num_threads: int = 0,
        backend: str = "auto",
        memory_limit: int | None = None,
        passes: bool = True,
    ) -> Encoder:
        """Load an encoder: ``all-minilm-l6-v2`` of the extra ``text``, a folder of sentence-transformers, or a file.

        Args:
            checkpoint: a folder, or a checkpoint or compiled model of ``megaseg convert`` and ``megaseg compile``.
            device, compute_type, num_threads, backend, memory_limit, passes: as of ``Engine.from_checkpoint``.

        Raises:
            CheckpointError: files that do not fit each other, or a model that is no encoder.
            UnsupportedError: the extra is not installed, or as ``Engine.from_checkpoint``.
            ResourceLimitError: the model does not fit ``memory_limit``.
        """
        named = not isinstance(checkpoint, Checkpoint) and (str(checkpoint) == MINILM or Path(checkpoint).is_dir())
        config, loaded, metadata = load_backend(
            load_pretrained(os.fspath(checkpoint)) if named else checkpoint,  # type: ignore[arg-type]
            device=device,
            compute_type=compute_type,
            num_threads=num_threads,
            backend=backend,
            memory_limit=memory_limit,
            passes=passes,
        )
        name = "checkpoint" if isinstance(checkpoint, Checkpoint) else os.fspath(checkpoint)
        if not isinstance(config, BertConfig) or "tokenizer" not in metadata:
            raise CheckpointError(f"{name}: expected a text encoder with its tokenizer, got family {config.family}")
        return cls(config, loaded, read_tokenizer(metadata["tokenizer"], name))

    def encode(self, texts: Sequence[str], advance: Callable[[int], None] = lambda count: None) -> NDArray[np.float32]:
        """Texts to vectors, float32 (texts, hidden_size); ``advance(count)`` is called as texts are done.

        Longer texts than the model reads end where it ends. A vector does not depend on the texts beside it.

        Raises:
            FeatureError: one text in place of a list, or something that is no text.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise FeatureError(f"texts: expected a list of texts, got {type(texts).__name__}")
        out = np.empty((len(texts), self.config.hidden_size), np.float32)
        for begin in range(0, len(texts), _BATCH):
            batch = list(texts[begin : begin + _BATCH])
            ids = token_ids(self._tokenizer.encode_batch(batch))
            for row, (vector,) in enumerate(self.backend.run([Excerpt.whole([own]) for own in ids], (OUTPUT,))):
                out[begin + row] = vector[0]
            advance(len(batch))
        return out

    def describe(self) -> dict[str, Any]:
        """What runs: width, longest text in tokens, backend, device, target, compute_type, num_threads, bytes."""
        sizes = {"hidden_size": self.config.hidden_size, "max_length": self.config.max_length}
        return {**sizes, **self.backend.describe()}


def read_tokenizer(text: str, name: str) -> Any:
    """The tokenizer of a ``tokenizer.json``'s text.

    Raises:
        UnsupportedError: the extra ``text`` is not installed. CheckpointError: a text that is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UnsupportedError(f"reading text needs {error.name}: pip install 'megaseg[text]'") from error
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower class
        raise CheckpointError(f"{name}: expected a tokenizer, got: {error}") from error


def token_ids(encodings: Sequence[Any]) -> list[NDArray[np.int32]]:
    """Ids (tokens, 1) of each text."""
    return [np.array(encoding.ids, np.int32)[:, None] for encoding in encodings]
