"""Knowledge transfer from sentences to scenes: the target distributions (Eqs. 5 and 6) and the divergence from them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from megaseg.training.objectives.order import ordered_attention

_TINY = 1e-12


def transferred(scores: Tensor, q: Tensor, *, ordered: bool, sharpness: float, smoothing: float) -> Tensor:
    """p (scenes, 5), the turning points' distributions over scenes; scores m_ij / tau (scenes, J), q (J, 5).

    Eqs. 5 and 6, ``sharpness`` a factor inside the exponential of Eq. 6 (1 as printed); with ``ordered`` a_ij is each
    sentence's distribution over scenes, given that sentences follow each other, and p the mixture of these that q asks
    for. ``smoothing`` of each scene's share goes to both its neighbours.
    """
    p = ordered_attention(scores) @ (q / q.sum(0)) if ordered else (sharpness * scores.softmax(1) @ q).softmax(0)
    p = p + smoothing * (functional.pad(p, (0, 0, 1, 0))[:-1] + functional.pad(p, (0, 0, 0, 1))[1:])
    return p / p.sum(0)


def divergence(logits: Tensor, targets: Tensor, *, reverse: bool) -> Tensor:
    """KL(p || o) summed over turning points, o the softmax of logits over scenes; logits and targets (scenes, 5).

    The gradient is that of the cross-entropy (Eq. 7); with ``reverse`` KL(o || p) as Eq. 8 prints it. Targets need not
    sum to 1: p is their share of the scenes given.
    """
    p = targets + _TINY
    p = p / p.sum(0)
    log_o = logits.log_softmax(0)
    terms: Tensor = log_o.exp() * (log_o - p.log()) if reverse else p * (p.log() - log_o)
    return terms.sum()
