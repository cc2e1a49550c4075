"""One run of a head on an encoder of shots: frozen, fine-tuned, or drawn anew."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.training.dropout import use_byte_dropout
from megaseg.training.loop import Epoch, Loop, Settings, Validation, Work, cosine
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.encoder import (
    Encoder,
    checkpoint_of,
    encoder_config,
    encoder_of,
    new_encoder,
    without_classes,
)
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Head, Standard
from megaseg.training.recipes.head.sources import FineTuned, Frozen, HeadModel, Part, Source, Units, batches
from megaseg.training.scaling import Scaling, fit_scalings, unscaled
from megaseg.training.state import StateFile, content_of

Figures = dict[str, float]
HeadEpoch = Epoch[Figures]
_UNITS = 8192  # predicted at once


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A head, its model in evaluation mode, its encoder (with the trained weights, if they were), and its epochs."""

    head: Head
    config: HeadConfig
    model: nn.Module
    encoder: Checkpoint
    fine_tuned: bool
    history: tuple[HeadEpoch, ...] = ()

    @property
    def best(self) -> HeadEpoch:
        """The epoch whose weights these are."""
        return min(self.history, key=lambda epoch: figure_of(self.head, epoch.validation or {}))


@dataclass(frozen=True, slots=True)
class Mode:
    """What becomes of the encoder's weights: as they are, trained further, or drawn anew and trained.

    Raises:
        UnsupportedError: both.
    """

    fine_tune: bool = False
    from_scratch: bool = False

    def __post_init__(self) -> None:
        if self.fine_tune and self.from_scratch:
            raise UnsupportedError("from_scratch: expected without another mode: what is drawn anew is trained")

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder's weights are trained."""
        return self.fine_tune or self.from_scratch

    def __str__(self) -> str:
        return "from scratch" if self.from_scratch else "fine-tuned" if self.fine_tune else "frozen"


@dataclass(frozen=True, slots=True)
class Watch:
    """Where a run's state is kept, and what is called after an epoch and with the items of a mini-batch."""

    state: Path | None = None
    on_epoch: Callable[[HeadEpoch], None] = lambda epoch: None
    advance: Callable[[int], None] = lambda items: None


def train_head(
    kind: type[Head],
    encoder: Checkpoint,
    train: Mapping[str, Features],
    validation: Mapping[str, Features],
    config: HeadConfig,
    mode: Mode = Mode(),
    labels: Mapping[str, Any] | None = None,
    watch: Watch = Watch(),
) -> TrainedHead:
    """Train a head on ``train``, stopped by its figure on ``validation``; the same seed gives the same head.

    ``labels`` are by film, where the head needs them. An interrupted run goes on from ``watch.state``.

    Raises:
        CheckpointError: an encoder of another family, or the state of another run.
        FeatureError: films or labels that the head cannot learn from.
    """
    kind.require(encoder_config(encoder.config), mode.trains_encoder)
    torch.manual_seed(config.seed)
    given = [labelled(movies, labels) for movies in (train, validation)]
    network, films, scalings = _prepared(encoder, given, config, mode)
    if mode.trains_encoder:
        use_byte_dropout(network)
    own = [labels_of(labels, part) for part in films]
    head = kind.of(films[0], own[0], config)
    parts = [Part(head, *part, config) for part in zip(films, own, strict=True)]
    source: Source = (FineTuned if mode.trains_encoder else Frozen)(network, parts[0], parts[1])
    model = head.model(network.width, config)
    if isinstance(source, Frozen):
        _standardise(model, source.inputs)
    run = _Run(head, HeadModel(model, network if mode.trains_encoder else None), source, parts[1], config)
    identity = [*(part.names for part in films), (kind.kind, str(mode), encoder.weights_sha256(), _content(parts))]
    file = None if watch.state is None else StateFile(watch.state, config, identity)
    trained, history = run.train(file, watch)
    result = without_classes(encoder) if trained.encoder is None else checkpoint_of(trained.encoder)
    if scalings:
        result = unscaled(result, scalings)
    return TrainedHead(head, config, trained.model, result, mode.trains_encoder, tuple(history))


def evaluate_head(
    trained: TrainedHead, movies: Mapping[str, Features], labels: Mapping[str, Any] | None = None
) -> Figures:
    """Figures of a head on films.

    Raises:
        FeatureError: films or labels that do not fit the head.
    """
    (predictions, targets), films = predict_head(trained, movies, labels)
    return trained.head.metrics(predictions, targets, films)


@torch.inference_mode()
def predict_head(
    trained: TrainedHead, movies: Mapping[str, Features], labels: Mapping[str, Any] | None = None
) -> tuple[Units, Films]:
    """Predictions and targets (units, ...) of a head on the evaluation examples of films.

    Raises:
        FeatureError: films or labels that do not fit the head.
    """
    network = encoder_of(trained.encoder)
    films = Films.of(labelled(movies, labels), network.config)
    part = Part(trained.head, films, labels_of(labels, films), trained.config)
    inputs, targets = part.embedded(network, part.judged(network))
    return (_predicted(trained.head, trained.model.eval(), inputs), targets), films


def labelled(movies: Mapping[str, Features], labels: Mapping[str, Any] | None) -> Mapping[str, Features]:
    """The films that have labels, where labels are by film.

    Raises:
        FeatureError: none of them has.
    """
    own = {name: movie for name, movie in movies.items() if labels is None or name in labels}
    if movies and not own:
        raise FeatureError(f"labels: expected some of the films {', '.join(list(movies)[:3])}, got none")
    return own


def labels_of(labels: Mapping[str, Any] | None, films: Films) -> Mapping[str, Any] | None:
    """The labels of these films alone."""
    return None if labels is None else {name: labels[name] for name in films.names if name in labels}


def _content(parts: Sequence[Part]) -> str:
    """What tells films of the same names apart: their features, and all labels."""
    arrays = (array for part in parts for array in (*part.films.values().values(), part.films.labels))
    return content_of(arrays, repr([part.labels for part in parts]))


def figure_of(head: Head, figures: Mapping[str, float]) -> float:
    """The figure that chooses an epoch, turned so that lower is better; NaN is worst."""
    value = figures.get(head.figure, math.nan)
    return math.inf if math.isnan(value) else value if head.lower_is_better else -value


class _Run:
    """Loop and validation of one run."""

    def __init__(self, head: Head, model: HeadModel, source: Source, validation: Part, config: HeadConfig) -> None:
        self._head, self._source, self._validation, self._config = head, source, validation, config
        settings = Settings(
            config.epochs,
            config.learning_rate,
            cosine(config.warmup),
            config.weight_decay,
            config.seed,
            gradient_clip=config.gradient_clip,
            ema_decay=config.ema_decay,
            reseed=True,
            shares={"encoder.": config.encoder_share},
            optimizer=config.optimizer,
            momentum=config.momentum,
        )
        self._loop: Loop[HeadModel, Any, Figures] = Loop(
            model,
            Work(self._batches, math.ceil(source.count / source.batch_size), self._loss),
            settings,
            Validation(self._judge, lambda figures: figure_of(head, figures), config.patience),
        )

    def train(self, file: StateFile | None, watch: Watch) -> tuple[HeadModel, list[HeadEpoch]]:
        """The best epoch's model, in evaluation mode, and all epochs."""
        found = None if file is None else file.load()
        if found is not None:
            groups, progress = found
            self._loop.restore(groups, [Epoch(e["number"], e["loss"], e["validation"]) for e in progress["history"]])

        def keep(epoch: HeadEpoch) -> None:
            if file is not None:
                file.save(self._loop.state(), {"history": [dataclasses.asdict(e) for e in self._loop.history]})
            watch.on_epoch(epoch)

        trained = self._loop.run(keep, lambda batch: watch.advance(self._source.batch_size))
        return trained, list(self._loop.history)

    def _batches(self, epoch: int) -> Iterator[Sequence[Any]]:
        return ((items,) for items in batches(self._source, self._config.seed, epoch))

    def _loss(self, model: HeadModel, items: Any) -> Tensor | None:
        return self._head.loss(model.model, *self._source.units(model, items), self._config)

    def _judge(self, model: HeadModel) -> Figures:
        inputs, targets = self._source.judged(model)
        return self._head.metrics(_predicted(self._head, model.model, inputs), targets, self._validation.films)


def _prepared(
    checkpoint: Checkpoint, movies: Sequence[Mapping[str, Features]], config: HeadConfig, mode: Mode
) -> tuple[Encoder, list[Films], dict[str, Scaling]]:
    """The encoder's network and the films that it reads; a network that is drawn anew reads scaled films."""
    own = encoder_config(checkpoint.config)
    films = [Films.of(part, own) for part in movies]
    if not mode.from_scratch:
        network = encoder_of(checkpoint)
        if mode.fine_tune and not config.train_projections:
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(".proj." not in name)
        return network, films, {}
    scalings = fit_scalings(films[0].values(), config.components)
    sizes = [dataclasses.replace(m, feature_size=scalings[m.name].basis.shape[1]) for m in own.modalities]
    network = new_encoder(own.replaced(modalities=tuple(sizes)), config.position_std)
    return network, [part.scaled(scalings) for part in films], scalings


def _standardise(model: nn.Module, inputs: Tensor) -> None:
    for layer in model.modules():
        if isinstance(layer, Standard):
            layer.fit(inputs)


def _predicted(head: Head, model: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([head.predict(model, part) for part in torch.split(inputs, _UNITS)])
