"""The three phases: synopsis model, synchronisation (E-step and M-step), knowledge transfer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from megaseg.errors import FeatureError
from megaseg.kernels.banded_estep import banded_estep, density_threshold
from megaseg.models import Mega
from megaseg.training.act.config import ActConfig
from megaseg.training.act.data import ActMovie
from megaseg.training.act.fit import fit
from megaseg.training.act.model import SENTENCE, ShotModel
from megaseg.training.act.order import ordered_attention

Report = Callable[[int, float, float | None], None]
_TINY = 1e-12


def batch(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One movie as a batch of one."""
    return {name: own[None] for name, own in rows.items()}


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum_i p_in log o_in summed over turning points; logits and targets (rows, 5), softmax over rows."""
    return -(targets * logits.log_softmax(0)).sum()


def train_synopsis(
    model: Mega,
    movies: Sequence[ActMovie],
    validation: Sequence[ActMovie],
    config: ActConfig,
    seed: int,
    report: Report,
) -> Mega:
    """Phase 1: turning points of labelled synopses, cross-entropy to the annotators' shares over sentences."""

    def loss(net: nn.Module, index: int) -> Tensor:
        movie = movies[index]
        noisy = movie.sentences + config.noise * movie.sentences.std() * torch.randn_like(movie.sentences)
        return cross_entropy(net({SENTENCE: noisy[None]})[0], movie.labels)

    @torch.inference_mode()
    def judge(net: nn.Module) -> float:
        return float(
            np.mean([cross_entropy(net({SENTENCE: m.sentences[None]})[0], m.labels).item() for m in validation])
        )

    trained = fit(
        model, len(movies), loss, config, config.synopsis_epochs, seed,
        judge=judge if validation else None, patience=config.patience, on_epoch=report,
    )  # fmt: skip
    assert isinstance(trained, Mega)
    return trained


class Pair(nn.Module):
    """Act and synopsis model together; ``forward`` gives unit-norm embeddings u (n, M C) and v (J, M C)."""

    def __init__(self, shots: ShotModel, synopsis: Mega) -> None:
        super().__init__()
        self.shots, self.synopsis = shots, synopsis

    def forward(self, scenes: Mapping[str, Tensor], sentences: Tensor) -> tuple[Tensor, Tensor]:
        u = self.shots.fused(batch(scenes))[0]
        v = self.synopsis.fused({SENTENCE: sentences[None]})[0]
        return functional.normalize(u, dim=1), functional.normalize(v, dim=1)


def text_embeddings(movie: ActMovie, modalities: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Text as it is, of scenes (n, K) and sentences (J, K): what the movie's and the synopsis' words say by themselves.

    Beside each other, each with half the weight: centred unit-norm sentence vectors (a scene's is the sum of
    ``modalities``), and words that are rare in this movie, sqrt(idf) each. Long scenes keep half of their words' norm,
    for they tell more.

    Raises:
        FeatureError: a modality that the movies lack or of another width than the sentences.
    """
    for name in modalities:
        if name not in movie.scenes or movie.scenes[name].shape[1] != movie.sentences.shape[1]:
            widths = {key: rows.shape[1] for key, rows in movie.scenes.items()}
            raise FeatureError(
                f"text: expected modalities of {movie.sentences.shape[1]} features, got {name} of {widths}"
            )
    scenes = torch.stack([movie.scenes[name] for name in modalities]).sum(0)
    u, v = (functional.normalize(x - x.mean(0), dim=1) for x in (scenes, movie.sentences))
    if movie.words is None:
        return u, v
    inside, told = (rows.float() for rows in movie.words)
    count = inside.sum(0)
    weight = ((len(inside) + 1) / (count + 0.5)).log().sqrt() * (count > 0)
    said, words = functional.normalize(told * weight, dim=1), inside * weight
    words = words / words.norm(dim=1, keepdim=True).clamp_min(_TINY).sqrt()
    # As strong as the vectors: equal spread of the two parts of m_ij over this movie.
    scale = (u @ v.T).std() / (words @ said.T).std().clamp_min(_TINY)
    return torch.cat([u, words * scale], 1) / 2**0.5, torch.cat([v, said], 1) / 2**0.5


def expectation(pairs: Sequence[tuple[Tensor, Tensor]], config: ActConfig) -> tuple[float, list[Tensor]]:
    """E-step (Eq. 2): the lambda that keeps ``density``, and W (scenes, sentences) of every movie."""
    us, vs = [u.numpy() for u, _ in pairs], [v.numpy() for _, v in pairs]
    threshold = density_threshold(us, vs, config.density, config.band)
    found = banded_estep(us, vs, threshold=threshold, band=config.band)
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


def maximisation(
    pair: Pair, movies: Sequence[ActMovie], positives: Sequence[Tensor], config: ActConfig, seed: int, report: Report
) -> Pair:
    """M-step: ``round_epochs`` epochs of the contrastive loss on fixed W; a movie whose W is all zero sits out."""

    def loss(net: nn.Module, index: int) -> Tensor | None:
        movie = movies[index]
        u, v = net(jittered(movie.scenes, config), movie.sentences)
        return contrastive(u, v, positives[index], config.temperature)

    trained = fit(pair, len(movies), loss, config, config.round_epochs, seed, on_epoch=report)
    assert isinstance(trained, Pair)
    return trained


def jittered(scenes: Mapping[str, Tensor], config: ActConfig) -> dict[str, Tensor]:
    """Scaled features with noise."""
    return {name: rows + config.noise * torch.randn_like(rows) for name, rows in scenes.items()}


@torch.inference_mode()
def embeddings(
    pair: Pair | None, movies: Sequence[ActMovie], texts: Sequence[tuple[Tensor, Tensor]], share: float
) -> list[tuple[Tensor, Tensor]]:
    """Embeddings whose products are m_ij: ``share`` of the text as it is, the rest of the models (None: text only)."""
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


def transferred(u: Tensor, v: Tensor, q: Tensor, config: ActConfig) -> Tensor:
    """p (scenes, 5), the turning points' distributions over scenes; q (sentences, 5).

    Eqs. 5 and 6; with ``ordered`` a_ij is each sentence's distribution over scenes, given that sentences follow each
    other, and p the mixture of these that q asks for. ``smoothing`` of each scene's share goes to both its neighbours.
    """
    scores = u @ v.T / config.temperature
    if config.ordered:
        p = ordered_attention(scores) @ (q / q.sum(0))
    else:
        p = (config.sharpness * scores.softmax(1) @ q).softmax(0)
    p = p + config.smoothing * (functional.pad(p, (0, 0, 1, 0))[:-1] + functional.pad(p, (0, 0, 0, 1))[1:])
    return p / p.sum(0)


def distil(
    model: ShotModel,
    movies: Sequence[ActMovie],
    targets: Sequence[Tensor],
    judge: Callable[[nn.Module], float] | None,
    config: ActConfig,
    seed: int,
    report: Report,
) -> ShotModel:
    """Phase 3, Eqs. 7 and 8: o, softmax over scenes of the logits, towards p; scenes are left out at random.

    KL(p || o), whose gradient is that of the cross-entropy; with ``reverse`` KL(o || p) as Eq. 8 prints it.
    """

    def loss(net: nn.Module, index: int) -> Tensor:
        movie, target = movies[index], targets[index]
        kept = torch.rand(movie.num_scenes) >= config.scene_dropout
        kept[torch.randint(movie.num_scenes, (1,))] = True
        logits = net(batch(jittered({name: rows[kept] for name, rows in movie.scenes.items()}, config)))[0]
        p = target[kept] + _TINY
        p = p / p.sum(0)
        log_o = logits.log_softmax(0)
        divergence: Tensor = log_o.exp() * (log_o - p.log()) if config.reverse else p * (p.log() - log_o)
        return divergence.sum()

    trained = fit(
        model, len(movies), loss, config, config.epochs, seed, judge=judge, patience=config.patience, on_epoch=report
    )
    assert isinstance(trained, ShotModel)
    return trained
