"""What the engine asks of a backend: one call that runs a model, and a description of what runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LOGITS, EMBEDDING = "logits", "embedding"
PARTS = ".parts"  # after an output's name: the parts that add up to it
Rows = tuple[NDArray[np.float32], ...]
Unsure = Callable[[NDArray[np.float32], float], NDArray[np.bool_]]


@dataclass(slots=True)
class Check:
    """How one movie is decided, for a backend that computes cheaply and checks what a decision rests on.

    ``unsure`` says of logits (rows, N_c), each wrong by at most a margin, on which rows (rows,) the decision may rest.
    ``doubt`` is the first row at which a check found a larger error than it should; None so far. Of the rows before
    ``counted``, so many ran ``again``.
    """

    unsure: Unsure
    doubt: int | None = None
    counted: int = 0
    again: int = 0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Neighbouring shots of a movie, and the range of them whose rows are asked for.

    ``features`` are (shots, D_m) a modality of the shots that ``cache`` does not hold. Rows ``first`` to ``last``
    (exclusive) are counted from the first shot of both together. A model that sees whole sequences takes whole movies
    only; a window that reaches beyond the excerpt repeats its edge, so that edge must be the movie's.

    ``check`` is what the rows are for, None where they are wanted as they are. ``row`` numbers row ``first`` within the
    movie; None where rows are provisional, or the excerpt a sequence of its own.
    """

    features: Sequence[NDArray[Any]]
    first: int
    last: int
    cache: Any = None
    check: Check | None = None
    row: int | None = None

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
