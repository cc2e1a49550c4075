"""Memory of a head's run, estimated before it is taken: what does not fit this machine is refused by name."""

from __future__ import annotations

from torch import Tensor

from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.errors import ResourceLimitError
from megaseg.training.memory import free_bytes
from megaseg.training.recipes.head.encoder import EncoderConfig, reach_of

_FLOAT = 4  # bytes


def check_batch(encoder: EncoderConfig, rows: int) -> None:
    """Refuse a mini-batch of ``rows`` shots whose activations, kept for gradients, do not fit.

    Raises:
        ResourceLimitError: says how much it takes and how much is free.
    """
    stacks = 1 + (len(encoder.modalities) + 4) * isinstance(encoder, LongRangeConfig)
    if isinstance(encoder, MovieEncoderConfig):
        layer = 6 * encoder.hidden_size
    else:
        layer = reach_of(encoder) * (10 * encoder.hidden_size + 3 * encoder.ffn_size)
    features = 2 * sum(modality.feature_size for modality in encoder.modalities)
    _require(_FLOAT * rows * (stacks * encoder.num_layers * layer + features), "batch_size", f"{rows:,} shots a batch")


def check_embeddings(first: Tensor, examples: int, of: int) -> None:
    """Refuse embeddings of ``of`` examples that do not fit, of which the first ``examples`` take as much as ``first``.

    Raises:
        ResourceLimitError: says how much they take and how much is free.
    """
    needed = 2 * first.numel() * _FLOAT * of // examples  # parts, and the parts joined
    _require(needed, "examples", f"embeddings of {of:,} examples")


def _require(needed: int, what: str, got: str) -> None:
    free = free_bytes()
    if free is not None and needed > free:
        raise ResourceLimitError(
            f"{what}: expected what fits {free / 2**30:.1f} GiB of free memory, got {got}, about {needed:,} bytes"
        )
