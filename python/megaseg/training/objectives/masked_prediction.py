"""Masked prediction (Argaw et al. 2023, Eqs. 1 and 2): what stands at a masked place, told from the tokens around it.

Each loss takes the predictions at the masked places, and is None where nothing is masked. Eq. 2 is the sum over
modalities.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

_LEAST_NORM = 1e-6  # shorter vectors are not brought to unit length: their direction is noise


def contrast(predictions: Tensor, candidates: Tensor, own: Tensor) -> Tensor | None:
    """Eq. 1, whose minus sign is missing in print: -1/|W| sum_w log(exp(p_w . w) / sum_w' exp(p_w . w')).

    Args:
        predictions: p_w (masked, D), one a masked token.
        candidates: w' (tokens, D), the inputs of the batch's tokens.
        own: int64 (masked,), the candidate that each prediction should pick: its own token's input.
    """
    return functional.cross_entropy(predictions @ candidates.T, own) if len(own) else None


def cosine_contrast(predictions: Tensor, candidates: Tensor, own: Tensor, temperature: float) -> Tensor | None:
    """Eq. 1 by cosine similarity over ``temperature`` in place of the dot product; arguments as ``contrast``."""
    return contrast(unit(predictions) / temperature, unit(candidates), own)


def regression(predictions: Tensor, candidates: Tensor, own: Tensor) -> Tensor | None:
    """Mean squared distance a column, 1/(|W| D) sum_w |p_w - w|^2; arguments as ``contrast``, other tokens unused."""
    return functional.mse_loss(predictions, candidates[own]) if len(own) else None


def unit(rows: Tensor) -> Tensor:
    """Rows (n, D) at unit length; a row that is all zeros stays so."""
    return functional.normalize(rows, dim=-1, eps=_LEAST_NORM)
