"""Synchronisation of a movie's scenes with the sentences of its synopsis: E-step (Eq. 2) and the loss of the M-step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from megaseg.kernels.banded_estep import banded_estep, density_threshold


def expectation(pairs: Sequence[tuple[Tensor, Tensor]], density: float, band: float) -> tuple[float, list[Tensor]]:
    """E-step: the lambda that keeps ``density`` of the pairs in the band, and W (scenes, sentences) of every movie.

    ``pairs`` are unit-norm embeddings of scenes (n, K) and sentences (J, K); ``band`` is xi.
    """
    us, vs = [u.numpy() for u, _ in pairs], [v.numpy() for _, v in pairs]
    threshold = density_threshold(us, vs, density, band)
    found = banded_estep(us, vs, threshold=threshold, band=band)
    return threshold, [torch.from_numpy(w) for w in found]


def contrastive(u: Tensor, v: Tensor, positives: Tensor, temperature: float) -> Tensor | None:
    """M-step: InfoNCE with several positives, scenes to sentences and back; None where W is all zero."""
    if not positives.any():
        return None
    scores = u @ v.T / temperature
    parts = []
    for dim in (0, 1):
        some = positives.any(dim)
        inside = scores.masked_fill(~positives, -torch.inf).logsumexp(dim)[some]
        parts.append((scores.logsumexp(dim)[some] - inside).mean())
    return (parts[0] + parts[1]) / 2
