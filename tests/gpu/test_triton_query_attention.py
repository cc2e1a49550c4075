from __future__ import annotations

import pytest
from agreement import TYPES, assert_agrees, exact, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.query_attention import query_attention


@pytest.mark.parametrize(
    ("windows", "heads", "bottlenecks", "latents", "size"),
    [
        (1, 1, 0, 1, 1),
        (3, 3, 1, 4, 24),
        (2, 12, 6, 17, 130),
        (2, 17, 2, 31, 65),
        (4, 16, 0, 16, 64),
        (1, 5, 18, 17, 96),
    ],
)
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_any_size(rng, dtype, windows, heads, bottlenecks, latents, size):
    query = normal(rng, windows, heads, size, dtype=dtype)
    own = normal(rng, windows, bottlenecks, size + 8, dtype=dtype)[..., :size]  # rows are strided
    rest = normal(rng, windows, latents + 1, size, dtype=dtype)[:, 1:]  # so are windows
    scale = float(rng.uniform(0.1, 1) / size**0.5)
    expected = reference.query_attention(*exact(query, own, rest), scale)
    got = query_attention(query, own, rest, scale, configuration={"COLUMNS": 32, "num_warps": 1, "num_stages": 1})
    assert got.dtype == dtype
    assert_agrees(got, expected)


def test_the_recorded_configuration(rng):
    arrays = normal(rng, 2, 3, 200), normal(rng, 2, 4, 200), normal(rng, 2, 9, 200)
    assert_agrees(query_attention(*arrays, 0.07), reference.query_attention(*exact(*arrays), 0.07))
