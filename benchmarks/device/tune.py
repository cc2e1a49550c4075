"""``python -m benchmarks.device.tune FILE``: every kernel's candidates on this GPU; the fastest go into FILE.

FILE is a ``configurations.json`` (kernels/triton): rows of other architectures stay as they are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from benchmarks.device.clock import kernel_milliseconds
from benchmarks.device.sizes import GPU, Sizes
from megaseg.errors import UnsupportedError
from megaseg.kernels.triton import (
    banded_estep,
    bottleneck_attention,
    layer_norm,
    linear,
    query_attention,
    scene_pairs,
    window_attention,
)
from megaseg.kernels.triton.configurations import Row, capability, choice, read, write


@dataclass(frozen=True)
class Subject:
    """An op on arguments of a class of shapes: its Triton kernel's candidates, and what else may run it."""

    op: str
    key: str
    arguments: tuple[Any, ...]
    kernel: Callable[..., Any]
    candidates: tuple[Mapping[str, int], ...]
    others: Mapping[str, Callable[..., Any]]


def subjects(sizes: Sizes, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> list[Subject]:
    """Every op that has candidates, as the presets call it."""
    from megaseg.kernels import cuda

    def normal(*shape: int, of: torch.dtype = dtype) -> Tensor:
        return torch.randn(shape, device=device).to(of)

    def whole(*values: int, of: torch.dtype = torch.int32) -> Tensor:
        return torch.tensor(values, dtype=of, device=device)

    def attention(windows: int, heads: int, size: int, own: int, length: int, latents_only: bool) -> Subject:
        rows = windows * (own + length)
        q = normal(windows * length if latents_only else rows, heads * size)
        k, v = normal(rows, 2 * heads * size).chunk(2, dim=1)
        begin = torch.arange(windows + 1, dtype=torch.int32, device=device) * length
        key = bottleneck_attention.key(dtype, own + length, size)
        candidates = bottleneck_attention.CANDIDATES[key.partition(".")[0]]
        arguments = (q, k, v, begin, heads, own, length, latents_only)
        run = bottleneck_attention.bottleneck_attention
        return Subject("bottleneck_attention", key, arguments, run, candidates, {"cuda": cuda.bottleneck_attention})

    scene, act, windows, movies = sizes.scene, sizes.act, sizes.windows, sizes.movies
    c, length, own = scene.hidden_size, scene.max_length, scene.num_bottleneck
    tables = [normal(*shape, of=torch.float32) for shape in ((length, 3 * c), (3 * c,), (own, 3 * c))]
    row = (torch.arange(windows)[:, None] + torch.arange(length)).to(device, torch.int32)
    sigma = torch.rand(windows, length, device=device) + 0.5
    window = (normal(windows + length, 3 * c), row, *tables, sigma, scene.num_heads)
    m = len(scene.modalities)
    query = (normal(windows, scene.num_heads, c), normal(windows, m * own, c), normal(windows, length, c), 0.1)
    rows = windows * (own + length)
    bias = normal(scene.ffn_size, of=torch.float32)
    up = (normal(rows, c), normal(scene.ffn_size, c), bias, None, True)
    down = (normal(rows, scene.ffn_size), normal(c, scene.ffn_size), None, None, False)
    norm = (normal(rows, c), bias[:c], normal(rows, c), bias[:c], bias[:c], 1e-5)
    products = {"torch": linear.torch_linear}
    films, every = normal(1492, 512), torch.arange(1492, dtype=torch.int32, device=device)  # 1,500 shots each
    pairs = (films, films, every, torch.ones(1492, dtype=torch.uint8, device=device), 0.5)
    act_own = len(act.modalities) * act.num_bottleneck
    act_size = act.hidden_size // act.num_heads
    return [
        attention(movies, act.num_heads, act_size, act_own, act.max_length, True),
        attention(windows, scene.num_heads, c // scene.num_heads, own, length, False),
        Subject("window_attention", "", window, window_attention.window_attention, window_attention.CANDIDATES[""], {}),
        Subject("query_attention", "", query, query_attention.query_attention, query_attention.CANDIDATES[""], {}),
        Subject(
            *("banded_estep", "", estep_arguments(sizes, device, dtype)),
            *(banded_estep.banded_estep, banded_estep.CANDIDATES[""]),
            {"cuda": cuda.banded_estep},
        ),
        Subject("scene_pairs", "", pairs, scene_pairs.scene_pairs, scene_pairs.CANDIDATES[""], {}),
        Subject("linear", "gelu", up, linear.linear, linear.CANDIDATES[""], products),
        Subject("linear", "", down, linear.linear, linear.CANDIDATES[""], products),
        Subject("residual_layer_norm", "", norm, layer_norm.residual_layer_norm, layer_norm.CANDIDATES[""], {}),
    ]


def estep_arguments(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    """Movies of the same length, ``sizes.estep_movies`` of them, 60 sentences each, features as wide as the act's."""
    from megaseg.kernels.banded_estep import reach

    movies, n, m = sizes.estep_movies, sizes.act.max_length, 60
    width = len(sizes.act.modalities) * sizes.act.hidden_size
    shots = torch.randn(movies * n, width, device=device, dtype=dtype) / width**0.5
    sentences = torch.randn(movies * m, width, device=device, dtype=dtype)
    begins = (torch.arange(movies + 1, dtype=torch.int32, device=device) * count for count in (n, m))
    out = torch.arange(movies + 1, dtype=torch.int64, device=device) * (n * -(-m // 8))
    reaches = torch.full((movies,), reach(n, m, 0.3), dtype=torch.int64, device=device)
    return shots, sentences, *begins, reaches, out, n, m, int(out[-1]), 1.0


def tuned(subject: Subject, seconds: float) -> Row:
    """The fastest of what could be tried in the time, and what it was in the row before."""
    until = time.perf_counter() + seconds
    own = choice(subject.op, capability(), subject.key).configuration
    times: dict[str, tuple[float, Mapping[str, int]]] = {}

    def measure(name: str, configuration: Mapping[str, int], run: Callable[[], object]) -> None:
        try:
            median = float(np.median(kernel_milliseconds(run, 0.05)))
        except (
            UnsupportedError,
            RuntimeError,
            OutOfResources,
        ) as problem:  # needs more than this GPU has; or is not built
            print(f"  {name} {dict(configuration)}: {str(problem).splitlines()[0][:100]}")
            return
        print(f"  {name} {dict(configuration)}: {median:.4f} ms")
        if name not in times or median < times[name][0]:
            times[name] = median, configuration

    print(f"{subject.op} {subject.key}", flush=True)
    for name, other in subject.others.items():
        measure(name, {}, lambda other=other: other(*subject.arguments))  # type: ignore[misc]
    for candidate in (own, *subject.candidates):
        if "triton" in times and time.perf_counter() > until:
            print("  the time is up: the rest was not tried")
            break
        measure(
            "triton",
            candidate,
            lambda c=candidate: subject.kernel(*subject.arguments, configuration=c),  # type: ignore[misc]
        )
    fastest = min(times, key=lambda name: times[name][0])
    return Row(subject.op, f"sm_{capability()}", subject.key, fastest, True, times["triton"][1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the configurations.json to write")
    parser.add_argument("--seconds", type=float, default=20, help="for each op")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("tune: torch sees no CUDA device")
    rows = [tuned(subject, arguments.seconds) for subject in subjects(GPU, torch.device("cuda"))]
    replaced = {(row.op, row.architecture, row.key) for row in rows}
    write([row for row in read() if (row.op, row.architecture, row.key) not in replaced] + rows, arguments.file)


if __name__ == "__main__":
    main()
