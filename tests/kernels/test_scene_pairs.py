"""Scene pairs against the greedy choice word by word, in float64 and over the averaged matrix itself."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from megaseg.kernels import reference


def brute_force(u, v, window=9, share=0.5):
    """Similarities of all shots, their mean over window x window, and a loop over the candidates, best first."""
    a = u.astype(np.float64) @ v.astype(np.float64).T
    m, n = (x - window + 1 for x in a.shape)
    b = {(i, j): a[i : i + window, j : j + window].sum() / window**2 for i in range(m) for j in range(n)}
    ranked = sorted(b, key=lambda at: (-b[at], at))
    last = b[ranked[math.ceil(Fraction(str(share)) * len(ranked)) - 1]]
    taken = []
    for i, j in ranked:
        if b[i, j] >= last and all(abs(i - m) >= window and abs(j - n) >= window for m, n in taken):
            taken.append((i, j))
    return taken, [b[at] for at in taken]


def whole(rng, rows, size, most=1):
    """Small whole numbers, whose sums are exact in every type: ties are decided, not rounded."""
    return rng.integers(-most, most, (rows, size), endpoint=True).astype(np.float32)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("window", [1, 2, 9])
def test_the_oracle_is_the_greedy_choice(rng, window, share):
    for m, n in ((window, window), (window, 30), (30, window), (33, 41)):
        u, v = whole(rng, m, 3), whole(rng, n, 3)
        (got,) = reference.scene_pairs([u], [v], window=window, share=share)
        taken, scores = brute_force(u, v, window, share)
        assert [tuple(pair) for pair in got.first] == taken
        assert np.allclose(got.scores, scores, atol=1e-6)
        assert got.first.dtype == np.int32
        assert got.scores.dtype == np.float32
