"""Boundary head: two classes a shot, 1 = the last of its scene; with its encoder it is a scene model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.movie_encoder import MovieEncoderConfig
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.evaluation.metrics import best_threshold, scene_metrics
from megaseg.training.objectives.boundary import weighted_cross_entropy
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples, Head, LinearHead
from megaseg.training.recipes.head.run import HeadEpoch, Mode, TrainedHead, Watch, train_head
from megaseg.training.recipes.head.windows import all_shots, marked_shots


@dataclass(frozen=True)
class Boundary(Head):
    """The last shots of scenes; labels are those of the feature files. Units are shots."""

    kind: ClassVar[str] = "boundary"
    figure: ClassVar[str] = "ap"
    needs_labels: ClassVar[bool] = False
    reads_film_labels: ClassVar[bool] = True

    @classmethod
    def require(cls, encoder: ModelConfig, trains_encoder: bool) -> None:
        """An encoder whose family has scene models."""
        if isinstance(encoder, MovieEncoderConfig):
            raise UnsupportedError(
                "head boundary: expected an encoder that sees a shot's neighbours, got family movie_encoder"
            )

    @classmethod
    def of(cls, films: Films, labels: Any, config: HeadConfig) -> Boundary:
        """The head, if the training films have boundaries and other shots."""
        if films.labels is None or int(films.labels.min()) == int(films.labels.max()):
            got = "films without labels" if films.labels is None else f"only {int(films.labels[0])}"
            raise FeatureError(f"labels: expected 0 and 1 in the training films, got {got}")
        return cls()

    def examples(self, films: Films, labels: Any, drawing: Drawing) -> Examples:
        """Windows of whole films; for a trained encoder from a random phase, every row of which is learned."""
        if films.labels is None:
            raise FeatureError("labels: expected every film to have labels, got films without")
        return all_shots(films, drawing, films.labels)

    def read(self, embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Embeddings (shots, E) and labels (shots,) of the marked rows, in their order."""
        return marked_shots(embedded, examples)

    def model(self, width: int, config: HeadConfig) -> nn.Module:
        """Logits of the two classes."""
        return LinearHead(width, 2, config)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor, config: HeadConfig) -> Tensor:
        """Weighted cross-entropy."""
        return weighted_cross_entropy(model(inputs), targets, config.positive_weight)

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Probability (shots,) that a shot is the last of its scene."""
        probabilities: Tensor = model(inputs).softmax(-1)[:, 1]
        return probabilities

    def metrics(self, predictions: Tensor, targets: Tensor, films: Films) -> dict[str, float]:
        """AP, F1 and mIoU at the threshold of best F1, and that threshold; a film's last shot is not scored."""
        spans = {name: slice(*films.span(film)) for film, name in enumerate(films.names)}
        scores = {name: predictions[span].numpy() for name, span in spans.items()}
        labels = {name: targets[span].numpy().astype(np.uint8) for name, span in spans.items()}
        pooled = [np.concatenate([part[name][:-1] for name in spans]) for part in (labels, scores)]
        threshold = best_threshold(*pooled)
        return asdict(scene_metrics(labels, scores, threshold))


def train_boundary(
    encoder: Checkpoint,
    train: Mapping[str, Features],
    validation: Mapping[str, Features],
    config: HeadConfig,
    fine_tune: bool,
    from_scratch: bool = False,
    watch: Watch = Watch(),  # noqa: B008 (frozen)
) -> tuple[Checkpoint, list[HeadEpoch]]:
    """A scene checkpoint of the encoder's family, and the epochs of its training.

    Raises:
        CheckpointError, FeatureError: as ``train_head``.
        UnsupportedError: an encoder that is drawn anew and fine-tuned.
    """
    trained = train_head(Boundary, encoder, train, validation, config, Mode(fine_tune, from_scratch), watch=watch)
    return scene_checkpoint(trained), list(trained.history)


def scene_checkpoint(trained: TrainedHead) -> Checkpoint:
    """A trained boundary head and its encoder as one scene model, with the threshold of best F1 on validation."""
    figures = trained.best.validation or {}
    size, layers = trained.config.head_size, trained.config.num_hidden
    classes = {"num_classes": 2, "head_size": size, "head_layers": layers if size and layers > 1 else None}
    config = trained.encoder.config.replaced(task="scene", threshold=_inside(figures["threshold"]), **classes)
    assert isinstance(trained.model, LinearHead)
    own = {name: tensor.numpy().copy() for name, tensor in trained.model.folded().items()}
    return Checkpoint(config, {**trained.encoder.tensors, **own})


def _inside(threshold: float) -> float:
    return float(np.clip(threshold, 1e-6, 1 - 1e-6))
