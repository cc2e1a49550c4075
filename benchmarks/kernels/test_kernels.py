"""Every kernel on every target and type beside plain torch, at the presets' sizes: ``pytest benchmarks/kernels``.

One thread, weights packed before. Each result is compared with the oracle in float64, on the values as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from comparison import exact, stored, values

from megaseg import _C, kernels
from megaseg.kernels import reference

Subject = tuple[str, str]  # target or "torch", type
SUBJECTS = [(target, dtype) for target in _C.available_targets() for dtype in _C.product_types(target)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    also = {test_linear: {"int8", "int16"}, test_cast: {"int8"}}.get(metafunc.function, set())
    subjects = [s for s in SUBJECTS if not s[1].startswith("int") or s[1] in also]
    metafunc.parametrize("subject", [("torch", "float32"), *subjects], ids="-".join)


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


@pytest.fixture
def measure(benchmark: Any, subject: Subject) -> Callable[..., None]:
    """``measure(op, arrays, shape, gflop, matrices, native, **options)``.

    ``arrays[i]`` for i in ``matrices`` and the result, of ``shape``, are stored in the subject's type. ``options`` are
    passed to the oracle and to the ``native`` op alike.
    """
    target, dtype = subject
    storage = "float32" if dtype.startswith("int") else dtype

    def run(
        op: str, arrays: Any, shape: Any, gflop: float, matrices: Any = (), native: Any = None, **options: Any
    ) -> None:
        arrays = [stored(array, storage) if i in matrices else array for i, array in enumerate(arrays)]
        oracle = getattr(reference, op)
        expected = oracle(*exact(*arrays), **options).numpy().reshape(shape)
        benchmark.group = op
        if target == "torch":
            torch.set_num_threads(1)
            with torch.inference_mode():
                got = benchmark(oracle, *map(torch.from_numpy, arrays), **options).numpy().reshape(shape)
        else:
            out = stored(np.empty(shape, np.float32), storage)
            function = native or partial(getattr(kernels, op), target=target)
            got = values(benchmark(function, *arrays, out=out, **options))
        error = np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected)))
        benchmark.extra_info |= {"error": float(error), "gflop_per_s": gflop / benchmark.stats.stats.median}
        assert error < (1e-4 if dtype == "float32" else 0.2)

    return run


def test_linear(measure: Any, subject: Subject) -> None:
    """A feed-forward half of the scene preset over 64 windows; float32 inputs of int8 products are cast in the call."""
    target, dtype = subject
    x, weight, bias = normal(1216, 768), normal(3072, 768) / np.float32(28), normal(3072)
    packed = None if target == "torch" else _C.Linear(weight, bias, compute_type=dtype, target=target)

    def native(x: Any, *_: Any, **options: Any) -> Any:
        return packed(x, **options)

    measure("linear", (x, weight, bias), (1216, 3072), 2e-9 * 1216 * 768 * 3072, [0], native, gelu=True)


def test_cast(benchmark: Any, subject: Subject) -> None:
    """Token rows of 64 windows into the type."""
    target, dtype = subject
    x = normal(1216, 768)
    benchmark.group = "cast"
    if target == "torch":
        benchmark(torch.from_numpy(x).bfloat16)
    elif dtype == "int8":
        elements, scale = benchmark(kernels.cast, x, dtype, target=target)
        assert np.all(np.abs(scale[:, None] * (elements - np.float32(128)) - x) <= 0.501 * scale[:, None])
    else:
        assert np.array_equal(benchmark(kernels.cast, x, dtype, target=target), stored(x, dtype))


def test_layer_norm(measure: Any) -> None:
    """Token rows of 64 windows of the scene preset."""
    measure("layer_norm", (normal(1216, 768), normal(768), normal(768, seed=1)), (1216, 768), 8e-9 * 1216 * 768, [0])


def test_embed(measure: Any) -> None:
    """Latents of 64 windows of the scene preset from 80 projected shots."""
    place = np.tile(np.arange(17, dtype=np.int32), 64)
    row = np.arange(64, dtype=np.int32).repeat(17) + place
    tables = normal(17, 768), normal(2, 768), normal(768), normal(768, seed=1)
    measure("embed", (normal(80, 768), row, place, place * 2 // 17, *tables), (1088, 768), 10e-9 * 1088 * 768)


def test_bottleneck_attention(measure: Any) -> None:
    """The act preset's fusion attention for one modality: 3,000 latents over 3,600 tokens, four heads of 32."""
    arrays = (normal(3000, 128), normal(3600, 128), normal(3600, 128, seed=1), np.array([0, 3000], np.int32))
    work = 4e-9 * 3000 * 3600 * 128
    options = {"heads": 4, "bottlenecks": 600, "latent_queries": True}
    measure("bottleneck_attention", arrays, (3000, 128), work, range(3), **options)


def test_bottleneck_attention_of_windows(measure: Any) -> None:
    """64 windows of 19 tokens of the scene preset, twelve heads of 64."""
    arrays = (*(normal(1216, 768, seed=seed) for seed in range(3)), np.arange(65, dtype=np.int32) * 17)
    work = 4e-9 * 64 * 19 * 19 * 768
    measure("bottleneck_attention", arrays, (1216, 768), work, range(3), heads=12, bottlenecks=2)


def test_window_attention(measure: Any) -> None:
    """The scene preset's first attention over 64 windows, from tables."""
    row = np.arange(64, dtype=np.int32)[:, None] + np.arange(17, dtype=np.int32)
    inverse_std = np.random.default_rng(0).uniform(0.3, 0.5, (64, 17)).astype(np.float32)
    arrays = (normal(80, 2304), row, normal(17, 2304), normal(2304), normal(2, 2304), inverse_std)
    measure("window_attention", arrays, (1216, 768), 64e-9 * (4 * 19 * 19 * 768 + 3 * 17 * 2304), heads=12)


def test_banded_estep(benchmark: Any, subject: Subject) -> None:
    """1,650 shots and 36 sentences of the act preset, 768 wide; torch as ``megaseg.kernels.reference`` writes it."""
    target, dtype = subject
    u, v = (stored(normal(n, 768) / np.float32(28), dtype) for n in (1650, 36))
    similarity = values(u).astype(np.float64) @ values(v).astype(np.float64).T
    expected = reference.banded_estep(*exact(u, v), 0.04).numpy()
    benchmark.group = "banded_estep"
    if target == "torch":
        torch.set_num_threads(1)
        got = benchmark(reference.banded_estep, torch.from_numpy(u), torch.from_numpy(v), 0.04).numpy()
    else:
        got = benchmark(kernels.banded_estep, u, v, threshold=0.04, target=target)
    benchmark.extra_info |= {"gflop_per_s": 2e-9 * 0.51 * similarity.size * 768 / benchmark.stats.stats.median}
    assert np.array_equal(got | (abs(similarity - 0.04) < 1e-6), expected | (abs(similarity - 0.04) < 1e-6))


def test_scene_pairs(benchmark: Any, subject: Subject) -> None:
    """700 and 800 shots, 512 wide; ``megaseg.kernels.reference`` in the place of torch, which has no greedy choice."""
    target, dtype = subject
    u, v = (stored(normal(n, 512) / np.float32(23), dtype) for n in (700, 800))
    (expected,) = reference.scene_pairs([values(u).astype(np.float64)], [values(v).astype(np.float64)])
    run = reference.scene_pairs if target == "torch" else partial(kernels.scene_pairs, target=target, num_threads=1)
    benchmark.group = "scene_pairs"
    (got,) = benchmark(run, [u], [v])
    benchmark.extra_info |= {"gflop_per_s": 2e-9 * 692 * 792 * 512 / benchmark.stats.stats.median}
    assert abs(len(got) - len(expected)) < 3
    assert np.allclose(got.scores[:20], expected.scores[:20], atol=1e-6 if dtype == "float32" else 1e-3)


def test_query_attention(measure: Any) -> None:
    """The scene preset's last attention over 64 windows: one folded query, 23 tokens, twelve heads."""
    arrays = (normal(64, 12, 768) / np.float32(28), normal(64, 6, 768), normal(64, 17, 768))
    measure("query_attention", arrays, (64, 12, 768), 4e-9 * 64 * 12 * 23 * 768, [1, 2], scale=0.125)
