"""Retrieval: an encoder's contextual rows of two modalities are trained to find each other (Argaw et al., Table 8)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.long_range import LongRangeConfig
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.retrieval import retrieval_metrics
from megaseg.training.objectives.info_nce import symmetric
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head
from megaseg.training.recipes.head.windows import all_shots, marked_shots

_TAU = 0.3  # the paper's
_BLOCK = 512  # shots among which evaluation looks for the right one


@dataclass(frozen=True)
class Retrieval(Head):
    """Eq. 3 in both directions between video and the source of the embedding: audio, or language without audio.

    The head has no weights of its own: what it trains is the encoder. Units are shots that have both modalities.
    """

    kind: ClassVar[str] = "retrieval"
    figure: ClassVar[str] = "loss"
    lower_is_better: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    @classmethod
    def require(cls, encoder: ModelConfig, trains_encoder: bool) -> None:
        """An encoder of two modalities whose weights are trained."""
        if not isinstance(encoder, LongRangeConfig):
            raise UnsupportedError(f"head retrieval: expected an encoder of family long_range, got {encoder.family}")
        if not trains_encoder:
            raise UnsupportedError("head retrieval: expected an encoder whose weights are trained, got a frozen one")

    @classmethod
    def of(cls, films: Films, labels: Any, config: HeadConfig) -> Retrieval:
        """The head."""
        return cls()

    def examples(self, films: Films, labels: Any, drawing: Drawing) -> Examples:
        """Windows of films; marked are the shots that have both modalities, targets are their films."""
        names = list(films.rows) if len(films.rows) > 1 else [*films.rows, *films.tokens]
        there = torch.stack([_has_rows(films, name) for name in names]).all(0)
        if not there.any():
            raise FeatureError(f"films: expected shots that have {' and '.join(names)}, got none")
        owner = torch.repeat_interleave(torch.arange(len(films.names)), torch.from_numpy(films.edges).diff())
        examples = all_shots(films, drawing, owner)
        return Examples(examples.rows, examples.marks * there[examples.rows.clamp_min(0)], examples.targets)

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Contextual rows of video and of the source, side by side (shots, 2 C), and the films of the shots."""
        rows, owner = marked_shots(embedded, examples)
        return rows[:, : rows.shape[1] // 3 * 2], owner

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """Nothing: inputs as they are."""
        return nn.Identity()

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor | None:
        """Eq. 3 both ways among the shots of the batch; None without any."""
        return _loss(inputs)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The rows as they are (shots, 2 C)."""
        return inputs

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, Any]:
        """Mean loss of blocks of neighbouring shots; with two films or more, ranks of their means, video to source."""
        blocks = [_loss(block) for block in torch.split(predictions, _BLOCK)]
        losses = [float(loss) for loss in blocks if loss is not None]
        figures: dict[str, Any] = {"loss": sum(losses) / len(losses), "shots": len(predictions)}
        own = [predictions[targets == film].mean(0) for film in targets.unique()]  # type: ignore[no-untyped-call]
        if len(own) > 1:
            video, source = (part.numpy() for part in torch.stack(own).chunk(2, dim=1))
            figures |= asdict(retrieval_metrics(video, source))
        return figures


def _loss(rows: Tensor) -> Tensor | None:
    video, source = rows.chunk(2, dim=1)
    return symmetric(video, source, _TAU)


def _has_rows(films: Films, name: str) -> Tensor:
    """Which shots (all shots,) have a token, or a row that is not zeros."""
    if name in films.tokens:
        return films.tokens[name].edges.diff() > 0
    return films.rows[name].any(1)
