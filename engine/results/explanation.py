"""Why a model decided as it did: how much each modality speaks for each decision (supplementary, 6.3.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.task import deciding_task

SCHEMA = "megaseg.explanation/1"


@dataclass(frozen=True)
class Explanation:
    """A segmentation, and the modalities' importance for each of its decisions.

    ``importance`` is float32 (decisions, M): g_m / sum_m g_m, with g_m = ReLU(sum_c W_head[k, (m, c)] a_m,c), a_m being
    modality m's fusion output at the decision's shot and k its class. A row sums to 1, or is all zero where no modality
    speaks for the class: the head's bias alone decided.

    ``shots`` (decisions,) and ``names`` say which decisions, as the model's task has it: in a scene model every shot
    with the larger of its two logits (``boundary`` or ``no boundary``, whatever the segmentation's threshold), or with
    the one that was asked about; in an act model each turning point at its decided shot.
    """

    segmentation: Segmentation
    modalities: tuple[str, ...]
    shots: NDArray[np.int64]
    names: tuple[str, ...]
    importance: NDArray[np.float32]

    @classmethod
    def from_contributions(
        cls,
        segmentation: Segmentation,
        modalities: tuple[str, ...],
        logits: NDArray[np.float32],
        contributions: NDArray[np.float32],
        about: str | None = None,
    ) -> Explanation:
        """From logits (shots, N_c) and what each modality contributes to them (shots, M, N_c).

        Raises:
            FeatureError: a class ``about`` that cannot be asked about.
        """
        (track,) = segmentation.tracks.values()
        shots, names, classes = deciding_task(track.task, "explain").explained(track, logits, about)
        return cls(segmentation, modalities, shots, names, importance(contributions[shots, :, classes]))

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain values; docs/explanation.md names them."""
        decisions = [
            {"name": name, "shot": int(shot), "importance": dict(zip(self.modalities, row.tolist(), strict=True))}
            for name, shot, row in zip(self.names, self.shots, self.importance, strict=True)
        ]
        return {
            "schema": SCHEMA,
            "modalities": list(self.modalities),
            "decisions": decisions,
            "segmentation": self.segmentation.to_dict(),
        }

    def to_json(self, indent: int | None = None) -> str:
        """``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)


def importance(contributions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Contributions (decisions, M) to shares of the positive ones (supplementary, 6.3.1); zeros where none is."""
    positive = np.maximum(contributions.astype(np.float64), 0)
    total = positive.sum(axis=1, keepdims=True)
    shares = np.zeros_like(positive)
    np.divide(positive, total, out=shares, where=total > 0)
    return shares.astype(np.float32)
