"""``EmbeddingStream``: embeddings of shots that come one by one, equal to those of the whole movie."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.backends.excerpts import excerpts_of
from megaseg.engine.backends.protocol import EMBEDDING, Backend, Excerpt
from megaseg.engine.graph.sequences import Strided, Whole
from megaseg.engine.inputs.feature_files import FeatureSource, as_features
from megaseg.engine.live.centred_rows import CentredRows
from megaseg.engine.live.feature_buffer import FeatureBuffer
from megaseg.engine.live.strided_rows import StridedRows
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.errors import FeatureError, UnsupportedError


class EmbeddingStream:
    """A movie whose shots come one by one, to embeddings. Made by ``Engine.embed_stream``; runs in the caller's thread.

    A row is final once no later window can be nearer to its shot: at the latest when ``length - 1`` more shots have
    come, of windows around each shot when ``length // 2`` have. About ``length`` shots are kept, and the rows of one
    window. Safe to share between threads.
    """

    def __init__(self, config: ModelConfig, backend: Backend) -> None:
        """Begin a movie.

        Raises:
            UnsupportedError: a model without an embedding, or one that sees no windows.
        """
        sequences, graph = config.sequences, structure_of(config)
        if isinstance(sequences, Whole) or EMBEDDING not in [output.name for output in graph.outputs]:
            raise UnsupportedError(
                f"embed_stream: expected an encoder of windows of shots, such as a contextualizer, got family "
                f"{config.family}; use outputs on the whole movie"
            )
        self._width = graph.output(EMBEDDING).node.width
        self._config, self._backend = config, backend
        self._rows = StridedRows(sequences) if isinstance(sequences, Strided) else CentredRows(sequences)
        self._buffer = FeatureBuffer()
        self._lock = threading.Lock()

    def push(self, features: FeatureSource) -> NDArray[np.float32]:
        """The movie's next shots, one or more; gives the rows (k, E) that have become final, in order, perhaps none.

        Args:
            features: as of ``Engine.embed``; shots of tokens are counted from the first of these shots. Every push has
                the same modalities. Times are not looked at.

        Raises:
            FeatureError: features that do not fit; the stream is as before.
        """
        shots = as_features(features)
        with self._lock:
            if self._rows.closed:
                raise FeatureError("push: the stream is finished")
            self._buffer.check(shots)
            excerpts_of(self._config, shots)  # checks them
            self._buffer.append(shots)
            self._rows.num_shots = self._buffer.end
            return self._run()

    def finish(self) -> NDArray[np.float32]:
        """The movie ends here: the rows of its last shots. Finishing again gives none."""
        with self._lock:
            self._rows.closed = True
            return self._run()

    @property
    def num_shots(self) -> int:
        """Shots that have come."""
        return self._rows.num_shots

    @property
    def num_final(self) -> int:
        """Rows that were given."""
        return self._rows.done

    def _run(self) -> NDArray[np.float32]:
        excerpts = self._excerpts()
        outputs = self._backend.run(excerpts, (EMBEDDING,)) if excerpts else []
        found = self._rows.give([rows for (rows,) in outputs])
        self._buffer.drop_before(self._rows.needed)
        return np.empty((0, self._width), np.float32) if found is None else found

    def _excerpts(self) -> list[Excerpt]:
        """What gives rows that no shot to come changes."""
        if isinstance(self._rows, CentredRows):
            return self._rows.excerpts(self._config, self._buffer)
        windows = (self._buffer.read(window.start, window.stop) for window in self._rows.windows())
        return [excerpt for window in windows for excerpt in excerpts_of(self._config, window)]
