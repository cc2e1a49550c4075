"""The greedy choice of ``scene_pairs`` for torch tensors: products on their GPU, the choice itself on the host."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

FEWEST, MOST = 32, 256  # rows that are brought up to date at a time


def not_finite(u: Tensor, v: Tensor) -> str:
    """What of a pair of movies is not finite, or nothing."""
    return "us" if not bool(u.isfinite().all()) else "vs" if not bool(v.isfinite().all()) else ""


def window_sums(x: Tensor, window: int) -> Tensor:
    """Sums of ``window`` neighbouring rows in float32, rounded to the type of x (M, C): (M - window + 1, C)."""
    return x.float().unfold(0, window, 1).sum(-1).to(x.dtype)


class Greedy:
    """Pairs of rows of u (M, C) and v (N, C), window sums of two movies, by their products: the highest first.

    Of every row and block of columns the best column is known. Where it has been taken meanwhile, its score bounds what
    is left of the block, and the row is multiplied again once no other has a better one.
    """

    def __init__(self, u: Tensor, v: Tensor, window: int) -> None:
        self._u, self._v, self._window = u, v, window
        self._row_free, self._free = np.ones(len(u), np.bool_), np.ones(len(v), np.bool_)
        self._score, self._column, _ = self._ask(np.arange(len(u)))
        self.finite = not np.isposinf(self._score).any()

    def pairs(self, count: int) -> tuple[list[tuple[int, int]], list[float]]:
        """Rows and columns, and products, of those among the ``count`` highest products, and all that tie with it."""
        pairs, scores = self._all()
        all_rows, free = np.arange(len(self._u)), self._free
        self._free = np.ones_like(free)
        low, high = 0, len(scores)
        while low < high:  # a pair is among them if fewer products are above its own
            middle = (low + high) // 2
            above = self._ask(all_rows, scores[middle])[2]
            low, high = (middle + 1, high) if above.sum(dtype=np.int64) < count else (low, middle)
        return pairs[:low], scores[:low]

    def _all(self) -> tuple[list[tuple[int, int]], list[float]]:
        pairs: list[tuple[int, int]] = []
        scores: list[float] = []
        heap = [(-float(score), row) for row, score in enumerate(self._score.max(1))]
        heapq.heapify(heap)
        while heap and heap[0][0] < math.inf:
            score, row = -heap[0][0], heap[0][1]
            column = self._best(row)
            if not self._row_free[row]:
                heapq.heappop(heap)
            elif self._free[column]:
                pairs.append((row, column))
                scores.append(score)
                for free, at in ((self._row_free, row), (self._free, column)):
                    free[max(0, at - self._window + 1) : at + self._window] = False
            else:
                self._update(heap)
        return pairs, scores

    def _best(self, row: int) -> int:
        return int(self._column[row, self._score[row].argmax()])

    def _update(self, heap: list[tuple[float, int]]) -> None:
        """Multiplies the rows again that come first, until one of them has a free column and there are some."""
        first: list[int] = []
        found = False
        while heap and len(first) < (FEWEST if found else MOST) and heap[0][0] < math.inf:
            _, row = heapq.heappop(heap)
            if self._row_free[row]:
                first.append(row)
                found = found or bool(self._free[self._best(row)])
        self._score[first], self._column[first], _ = self._ask(np.array(first))
        for row in first:
            heapq.heappush(heap, (-float(self._score[row].max()), row))

    def _ask(self, rows: NDArray[Any], bound: float = math.inf) -> list[NDArray[Any]]:
        import torch

        from megaseg.kernels import torch_ops  # noqa: F401  (registers the op)

        row, free = (
            torch.from_numpy(x).to(self._u.device) for x in (rows.astype(np.int32), self._free.astype(np.uint8))
        )
        return [x.cpu().numpy() for x in torch.ops.megaseg.scene_pairs(self._u, self._v, row, free, bound)]
