"""What the engine asks of a backend: one call that runs a model, and a description of what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.graph.graph import Graph
from megaseg.errors import FeatureError

LOGITS = "logits"
PARTS = ".parts"  # after an output's name: the parts that add up to it
Rows = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Neighbouring shots of a movie, and the range of them whose rows are asked for.

    ``features`` are (shots, D_m) a modality of the shots that ``cache`` does not hold. Rows ``first`` to ``last``
    (exclusive) are counted from the first shot of both together. A model that sees whole sequences takes whole movies
    only; a window that reaches beyond the excerpt repeats its edge, so that edge must be the movie's.
    """

    features: Sequence[NDArray[Any]]
    first: int
    last: int
    cache: Any = None

    @classmethod
    def whole(cls, features: Sequence[NDArray[Any]]) -> Excerpt:
        """All shots of a movie."""
        return cls(features, 0, len(features[0]))


class Backend(Protocol):
    """A model loaded by one of the backends. Runs may be called from several threads at once."""

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        """The wanted outputs of each excerpt, in their order, of one run.

        An output is (rows, width): a row for each of the excerpt's shots from ``first`` to ``last``, or one row in all
        for an output that stands for a whole sequence. ``"NAME.parts"`` is (rows, parts, width): the parts that add up
        to output NAME, up to its bias. Afterwards an excerpt's ``cache`` holds what its last shots have in common with
        later ones.

        Raises:
            FeatureError: features that overflow the compute type; names the movie and the row.
            UnsupportedError: in a process forked after the model was loaded, where the backend cannot run in one.
        """
        ...

    def new_cache(self) -> Any | None:
        """An empty ``cache`` for the excerpts of one movie in their order; None where the backend keeps nothing."""
        ...

    def describe(self) -> dict[str, Any]:
        """What runs: backend, device, target, compute_type, num_threads, weight_bytes, ..."""
        ...


def logits_of(backend: Backend, movies: Sequence[Sequence[NDArray[Any]]]) -> list[NDArray[np.float32]]:
    """Logits (shots, N_c) of whole movies, each given as its features (shots, D_m)."""
    return [rows for (rows,) in backend.run([Excerpt.whole(movie) for movie in movies])]


def require_ids(graph: Graph, excerpts: Sequence[Excerpt]) -> None:
    """Refuse ids that name no row of the table that a graph gathers from.

    Raises:
        FeatureError: names the movie, the modality, the row and the id.
    """
    for node in graph.nodes():
        if node.op != "gather" or node.inputs[0].op != "features":
            continue
        index, rows = node.inputs[0].attributes["modality"], node.weights["table"].shape[0]
        for movie, excerpt in enumerate(excerpts):
            ids = excerpt.features[index][:, 0]
            wrong = np.flatnonzero((ids < 0) | (ids >= rows))
            if wrong.size:
                raise FeatureError(
                    f"features of movie {movie}: {graph.inputs[index].name}: expected ids from 0 to {rows - 1}, got "
                    f"{ids[wrong[0]]} in row {wrong[0]}"
                )


def require_finite(logits: Sequence[NDArray[np.floating]], compute_type: str) -> None:
    """Refuse what overflowed on its way through a model: rows of each movie, (rows, ...).

    Raises:
        FeatureError: some are NaN or Inf; names the first movie and row.
    """
    for movie, rows in enumerate(logits):
        finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
        if not finite.all():
            raise FeatureError(
                f"features of movie {movie}: expected values that give finite logits, got NaN or Inf in row "
                f"{int(finite.argmin())}: they overflow {compute_type} in the model"
            )
