"""Whether two movies are similar, as cross-entropy (Chen et al. 2023, supplementary 1.1 b)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from megaseg.models.movie_encoder import pair_logits


def similarity_loss(vectors: Tensor, pairs: Tensor, similar: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Mean cross-entropy of ``sigmoid(scale * cosine + offset)`` over pairs.

    Args:
        vectors: (movies, E).
        pairs: (P, 2), numbers of movies.
        similar: bool (P,).
        scale, offset: of the cosine.
    """
    a, b = vectors[pairs].unbind(1)
    logits = pair_logits(a, b, scale, offset)
    return functional.binary_cross_entropy_with_logits(logits, similar.to(logits.dtype))
