from __future__ import annotations

import pytest
import torch
from agreement import DEVICE, TYPES, assert_agrees, exact, normal

from megaseg.kernels import reference
from megaseg.kernels.triton.window_attention import window_attention


@pytest.mark.parametrize(
    ("windows", "length", "tokens", "heads", "size"),
    [(1, 1, 0, 1, 1), (3, 5, 2, 3, 5), (2, 17, 2, 2, 64), (5, 13, 3, 1, 24), (2, 16, 0, 2, 16), (2, 33, 6, 1, 17)],
)
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_any_size(rng, dtype, windows, length, tokens, heads, size):
    wide, shots = 3 * heads * size, int(rng.integers(1, 30))
    shot = normal(rng, shots, wide + 8, dtype=dtype)[:, :wide]  # rows are strided
    row = torch.from_numpy(rng.integers(0, shots, (windows, length)).astype("int32")).to(DEVICE)
    tables = normal(rng, length, wide), normal(rng, wide), normal(rng, tokens, wide)
    inverse_std = torch.from_numpy(rng.uniform(0.5, 1.5, (windows, length)).astype("float32")).to(DEVICE)
    arguments = shot, row, *tables, inverse_std
    expected = reference.window_attention(*exact(*arguments), heads, rounded=dtype == torch.bfloat16)
    for configuration in (None, {"WINDOWS": 4, "num_warps": 1, "num_stages": 1}):
        got = window_attention(*arguments, heads, configuration=configuration)
        assert got.dtype == dtype
        # Queries, keys and values are rounded too; the oracle rounds them to bfloat16 only.
        assert_agrees(got, expected, ulps=6)
