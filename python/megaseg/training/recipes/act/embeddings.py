"""Embeddings of scenes and sentences, whose products are m_ij: of two models, and of the text as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import FeatureError
from megaseg.models import Mega
from megaseg.training.recipes.act.data import ActMovie
from megaseg.training.recipes.act.model import SENTENCE, ShotModel

_TINY = 1e-12


def batch(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One movie as a batch of one."""
    return {name: own[None] for name, own in rows.items()}


class Pair(nn.Module):
    """Act and synopsis model together; ``forward`` gives unit-norm embeddings u (n, M C) and v (J, M C) of Eq. 5."""

    def __init__(self, shots: ShotModel, synopsis: Mega) -> None:
        super().__init__()
        self.shots, self.synopsis = shots, synopsis

    def forward(self, scenes: Mapping[str, Tensor], sentences: Tensor) -> tuple[Tensor, Tensor]:
        u = self.shots.fused(batch(scenes))[0]
        v = self.synopsis.fused({SENTENCE: sentences[None]})[0]
        return functional.normalize(u, dim=1), functional.normalize(v, dim=1)


def text_embeddings(movie: ActMovie, modalities: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Embeddings of the text as it is, of scenes (n, K) and sentences (J, K), without any trained weight.

    Two parts beside each other, each with half the weight: centred unit-norm sentence vectors (a scene's is the sum of
    ``modalities``), and words, weighted by the square root of their inverse frequency in this movie. A scene's words
    are divided by the square root of their norm: long scenes weigh more.

    Raises:
        FeatureError: a modality that the movies lack or of another width than the sentences.
    """
    told = movie.scenes if movie.aligned is None else movie.aligned
    for name in modalities:
        if name not in told or told[name].shape[1] != movie.sentences.shape[1]:
            widths = {key: rows.shape[1] for key, rows in told.items()}
            raise FeatureError(
                f"text: expected modalities of {movie.sentences.shape[1]} features, got {name} of {widths}"
            )
    scenes = torch.stack([told[name] for name in modalities]).sum(0)
    u, v = (functional.normalize(x - x.mean(0), dim=1) for x in (scenes, movie.sentences))
    if movie.words is None:
        return u, v
    inside, said = (rows.float() for rows in movie.words)
    count = inside.sum(0)
    weight = ((len(inside) + 1) / (count + 0.5)).log().sqrt() * (count > 0)
    said, words = functional.normalize(said * weight, dim=1), inside * weight
    words = words / words.norm(dim=1, keepdim=True).clamp_min(_TINY).sqrt()
    # As strong as the vectors: equal spread of the two parts of m_ij over this movie.
    scale = (u @ v.T).std() / (words @ said.T).std().clamp_min(_TINY)
    return torch.cat([u, words * scale], 1) / 2**0.5, torch.cat([v, said], 1) / 2**0.5


@torch.inference_mode()
def embeddings(
    pair: Pair | None, movies: Sequence[ActMovie], texts: Sequence[tuple[Tensor, Tensor]], share: float
) -> list[tuple[Tensor, Tensor]]:
    """Embeddings by movie: ``share`` of m_ij comes from ``texts``, the rest from the models (None: all from texts)."""
    if pair is None:
        return list(texts)
    found = []
    for movie, text in zip(movies, texts, strict=True):
        learnt = pair.eval()(movie.scenes, movie.sentences)
        u, v = (
            torch.cat([(1 - share) ** 0.5 * own, share**0.5 * plain], 1)
            for own, plain in zip(learnt, text, strict=True)
        )
        found.append((u, v))
    return found
