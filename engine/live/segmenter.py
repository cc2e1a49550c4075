"""Segmenter: what streams and the scheduler need of an engine, so that neither imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.protocol import Backend, Check
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.results.segmentation import Segmentation


@runtime_checkable
class Segmenter(Protocol):
    """A model that is ready to segment; ``Engine`` is one."""

    config: ModelConfig
    backend: Backend

    def to_model_rows(self, movie: Features) -> list[NDArray[Any]]:
        """What the backend takes of a movie: (rows, D_m) a modality.

        Raises:
            FeatureError: features that do not fit the model.
        """
        ...

    def to_shots(self, rows: NDArray[np.float32], movie: Features) -> NDArray[np.float32]:
        """Rows of what ``to_model_rows`` gave, one for each shot of the movie."""
        ...

    def check(self, movie: Features, given: Mapping[str, Any]) -> Check | None:
        """How a movie is decided with the options that are given; None where no rows by themselves tell."""
        ...

    def decide(
        self, source: Features, logits: NDArray[np.float32], given: Mapping[str, Any], check: Check | None = None
    ) -> Segmentation:
        """The result of logits (shots, N_c), with the options that are given and the check of them.

        Raises:
            FeatureError: a decision that the movie's length does not allow.
        """
        ...

    def segment(self, features: Features) -> Segmentation:
        """The result of a movie, with the model's own decision.

        Raises:
            FeatureError: features that do not fit the model.
        """
        ...
