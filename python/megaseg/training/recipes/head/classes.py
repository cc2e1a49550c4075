"""Names of classes, and accuracy as a mean over classes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from megaseg.errors import FeatureError


def class_names(labels: Iterable[str], what: str) -> tuple[str, ...]:
    """The different labels in order.

    Raises:
        FeatureError: fewer than two.
    """
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise FeatureError(f"{what}: expected at least two classes in the training films, got {list(names)}")
    return names


def class_number(label: str, names: tuple[str, ...], where: str) -> int:
    """Place of a label among the classes.

    Raises:
        FeatureError: a class that training did not have.
    """
    if label not in names:
        raise FeatureError(f"{where}: expected one of the classes {', '.join(names)}, got {label!r}")
    return names.index(label)


def accuracies(predictions: Tensor, targets: Tensor) -> tuple[float, float]:
    """Accuracy, and its mean over the classes that occur: predictions and targets (n,), n > 0."""
    right = (predictions == targets).double()
    own = [right[targets == label].mean() for label in targets.unique(sorted=True)]  # type: ignore[no-untyped-call]
    return float(right.mean()), float(torch.stack(own).mean())
