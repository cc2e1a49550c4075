"""The latest shots of a movie's features as they came, tokens with their shots, for models of strided windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError


class FeatureBuffer:
    """Shots ``begin`` to ``end`` of a movie; copies, since a caller may use its buffers again."""

    def __init__(self, begin: int = 0) -> None:
        self.begin = self.end = begin
        self._chunks: deque[Features] = deque()
        self._like: Features | None = None  # the first that came

    def check(self, shots: Features) -> None:
        """Check that shots go on as those before them began.

        Raises:
            FeatureError: other modalities, or tokens where rows of shots came before.
        """
        before = self._like or shots
        for name, now, then in (
            ("modalities", shots.modalities, before.modalities),
            ("modalities with tokens", shots.token_shots, before.token_shots),
        ):
            if set(now) != set(then):
                raise FeatureError(f"features: expected the {name} {sorted(then)} as before, got {sorted(now)}")

    def append(self, shots: Features) -> None:
        """The next shots."""
        kept = cut(shots, 0, shots.num_shots)
        self._like = self._like or kept
        self._chunks.append(kept)
        self.end += shots.num_shots

    def drop_before(self, before: int) -> None:
        """Drop shots before this one; of a chunk that came at once when at least half of it goes."""
        while self._chunks and self.begin < before:
            gone, whole = before - self.begin, self._chunks[0].num_shots
            if gone < whole:
                if 2 * gone >= whole:
                    self._chunks[0] = cut(self._chunks[0], gone, whole)
                    self.begin = before
                return
            self._chunks.popleft()
            self.begin += whole

    def read(self, begin: int, end: int) -> Features:
        """Shots ``begin`` to ``end``, at least one."""
        at, parts = self.begin, []
        for chunk in self._chunks:
            first, last = max(0, begin - at), min(chunk.num_shots, end - at)
            if first < last:
                parts.append(cut(chunk, first, last))
            at += chunk.num_shots
        return joined(parts)


def cut(features: Features, begin: int, end: int) -> Features:
    """A copy of the modalities of shots ``begin`` to ``end``, with the tokens that fall into them."""
    modalities, tokens = {}, {}
    for name, rows in features.modalities.items():
        first, last = begin, end
        if name in features.token_shots:
            shots = features.token_shots[name]
            first, last = np.searchsorted(shots, [begin, end])
            tokens[name] = shots[first:last] - np.int32(begin)
        modalities[name] = np.array(rows[first:last])
    return Features(modalities, token_shots=tokens, recipe=features.recipe)


def joined(parts: Sequence[Features]) -> Features:
    """The modalities of shots that follow each other."""
    if len(parts) == 1:
        return parts[0]
    begins = np.cumsum([0, *(part.num_shots for part in parts)])
    modalities = {name: np.concatenate([part.modalities[name] for part in parts]) for name in parts[0].modalities}
    tokens = {
        name: np.concatenate([part.token_shots[name] + np.int32(at) for part, at in zip(parts, begins, strict=False)])
        for name in parts[0].token_shots
    }
    return Features(modalities, token_shots=tokens, recipe=parts[0].recipe)
