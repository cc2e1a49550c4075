"""Pairs of scenes of two movies by a greedy choice in the matrix of their similarities (Chen et al., supp. 1.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.kernels.options import threads
from megaseg.kernels.registry import Matrix, implementation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ScenePairs:
    """Scene pairs of two movies in the order taken: the highest score first.

    first: (P, 2) int32, the first shot of the scene in each movie. scores: (P,) float32, their shots' mean similarity.
    """

    first: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


def scene_pairs(
    us: Sequence[Matrix] | Sequence[Tensor],
    vs: Sequence[Matrix] | Sequence[Tensor],
    *,
    window: int = 9,
    share: float = 0.5,
    num_threads: int = 0,
    target: str = "",
) -> list[ScenePairs]:
    """The scene pairs of each pair of movies, u (M, C) of ``us`` and v (N, C) of ``vs``: a row a shot.

    A scene is ``window`` consecutive shots. The score of scenes i and j is the mean of ``u_k . v_l`` over their shots,
    B (M - window + 1, N - window + 1). Candidates are the ``ceil(share * size of B)`` highest scores and those that tie
    with the last of them; ``share`` stands for the decimal that it prints as. The highest candidate is taken, of equal
    ones that of the smallest i, then j, and all scenes that share a shot with one of its two are out; and so on. Rows
    are taken as they are: normalise them for a cosine.

    B is the product of sums over windows of u and of v, divided by window^2, which is the same algebra; it is never
    held. Sums are float32 in a fixed order: the result depends neither on ``num_threads`` (0: every core) nor on the
    batch. float32, or bfloat16 as uint16 bits: window sums are then rounded to bfloat16 and multiplied as such. Torch
    tensors, float16, bfloat16 or float32, are multiplied on their GPU; the choice itself runs on the host.

    Raises:
        FeatureError: movies of fewer shots than ``window`` or unequal width or type, values or similarities that are
            not finite, ``window`` or ``share``. UnsupportedError: dtype, target or number of threads. ValueError: rows
            that are not contiguous.
    """
    _check(us, vs, window, share)
    if not us:
        return []
    candidates = [_count(len(u), len(v), window, share) for u, v in zip(us, vs, strict=True)]
    if not isinstance(us[0], np.ndarray):
        return [_on_device(m, *pair, window) for m, pair in enumerate(zip(us, vs, candidates, strict=True))]
    run = implementation("scene_pairs", us[0])
    options = {"candidates": candidates, "window": int(window), "target": target, "num_threads": threads(num_threads)}
    found = run(list(us), list(vs), **options)
    for m, (*_, what) in enumerate(found):
        _refuse(m, what)
    return [ScenePairs(first, scores) for first, scores, _ in found]


def _on_device(m: int, u: Any, v: Any, candidates: int, window: int) -> ScenePairs:
    from megaseg.kernels.device_pairs import Greedy, not_finite, window_sums

    _refuse(m, not_finite(u, v))
    greedy = Greedy(window_sums(u, window), window_sums(v, window), window)
    _refuse(m, "" if greedy.finite else "similarities")
    first, scores = greedy.pairs(candidates)
    means = np.array(scores, np.float32) / np.float32(window**2)
    return ScenePairs(np.array(first, np.int32).reshape(-1, 2), means)


def _refuse(m: int, not_finite: str) -> None:
    """Raises if something of pair ``m`` is not finite."""
    if not_finite == "similarities":
        raise FeatureError(f"us, vs of pair {m}: expected finite similarities, got some that are not")
    if not_finite:
        raise FeatureError(f"{not_finite}[{m}]: expected finite values, got some that are not")


def _count(m: int, n: int, window: int, share: float) -> int:
    return math.ceil(Fraction(str(share)) * (m - window + 1) * (n - window + 1))


def _check(us: Sequence[Any], vs: Sequence[Any], window: int, share: float) -> None:
    if not isinstance(window, Integral) or isinstance(window, bool) or not 0 < window < 2**31:
        raise FeatureError(f"window: expected a positive number of shots, got {window!r:.40}")
    if not isinstance(share, Real) or not 0 < share <= 1:
        raise FeatureError(f"share: expected a share above 0, at most 1, got {share!r:.40}")
    if len(us) != len(vs):
        raise FeatureError(f"vs: expected one array for each of {len(us)} of us, got {len(vs)}")
    for m, (u, v) in enumerate(zip(us, vs, strict=True)):
        for name, x in (("us", u), ("vs", v)):
            if x.ndim != 2 or len(x) < window or not x.shape[1]:
                expected = f"{window} rows or more, of one or more values"
                raise FeatureError(f"{name}[{m}]: expected {expected}, got shape {x.shape}")
        if u.shape[1] != v.shape[1] or u.dtype != v.dtype or u.dtype != us[0].dtype:
            expected = f"rows of {u.shape[1]} values of {us[0].dtype}, as us"
            raise FeatureError(f"vs[{m}]: expected {expected}, got {v.shape[1]} of {v.dtype} to us of {u.dtype}")
