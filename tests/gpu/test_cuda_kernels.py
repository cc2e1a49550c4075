"""The CUDA C++ kernels on a GPU against the oracle; tests/cuda has them on emulated threads, where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agreement import DEVICE, assert_agrees, begins, exact, normal

from megaseg import _C
from megaseg.kernels import cuda, reference
from megaseg.kernels.banded_estep import reach

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.skipif(not _C.cuda_architectures(), reason="a build without CUDA: CMAKE_ARGS=-DMEGASEG_CUDA=ON"),
]
TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@pytest.mark.parametrize("lengths", [[17] * 9, [1, 31, 0, 24], [3000, 1, 517], [63], [64, 65]], ids=str)
@pytest.mark.parametrize("latent_queries", [False, True])
@pytest.mark.parametrize("size", cuda.HEAD_SIZES)
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_bottleneck_attention(rng, dtype, size, latent_queries, lengths):
    begin, heads, bottlenecks = begins(lengths), int(rng.integers(1, 4)), int(rng.integers(0, 9))
    latents, own = int(begin[-1]), len(lengths) * bottlenecks
    q = normal(rng, latents + (0 if latent_queries else own), heads * size + 8, dtype=dtype)[:, 8:]
    k, v = normal(rng, latents + own, 2 * heads * size, dtype=dtype).chunk(2, dim=1)
    got = cuda.bottleneck_attention(q, k, v, begin, heads, bottlenecks, max(lengths), latent_queries)
    expected = reference.bottleneck_attention(*exact(q, k, v), begin.cpu(), heads, bottlenecks, None, latent_queries)
    assert got.dtype == dtype
    assert got.is_contiguous()
    assert_agrees(got, expected)


@pytest.mark.parametrize("size", [8, 72, 128, 768])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_banded_estep(rng, dtype, size):
    """Whole numbers add without rounding: every bit is known. The last movie has a similarity that is not finite."""
    sizes = [(1, 1), (3000, 60), (7, 200), (300, 65), (513, 20)]
    us, vs = ([torch.from_numpy(rng.integers(-2, 3, (pair[i], size))).to(dtype) for pair in sizes] for i in (0, 1))
    us[-1][256, 3] = torch.inf
    threshold = float(rng.integers(0, 5))
    widths = [n * -(-m // 8) for n, m in sizes]
    bits, bad = cuda.banded_estep(
        torch.cat(us).to(DEVICE),
        torch.cat(vs).to(DEVICE),
        begins([n for n, _ in sizes]),
        begins([m for _, m in sizes]),
        torch.tensor([reach(*pair, 0.3) for pair in sizes], device=DEVICE),
        torch.from_numpy(np.concatenate([[0], np.cumsum(widths)])).to(DEVICE),
        max(n for n, _ in sizes),
        max(m for _, m in sizes),
        sum(widths),
        threshold,
    )
    assert bad.tolist() == [0] * (len(sizes) - 1) + [1]
    for part, u, v in list(zip(bits.cpu().split(widths), us, vs, strict=True))[:-1]:
        expected = reference.banded_estep(u.double(), v.double(), threshold).numpy()
        assert np.array_equal(part.numpy(), np.packbits(expected, axis=1, bitorder="little").ravel())


def test_in_a_graph_and_on_a_stream(rng):
    """The kernels follow torch's current stream, also while it is captured."""
    begin = begins([40, 50])
    q, k, v = (normal(rng, 94, 64, dtype=torch.float16) for _ in range(3))
    expected = cuda.bottleneck_attention(q, k, v, begin, 2, 2, 50)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = cuda.bottleneck_attention(q, k, v, begin, 2, 2, 50)
    got.zero_()
    graph.replay()
    assert torch.equal(got, expected)
