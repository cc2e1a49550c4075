"""The banded E-step against the dense torch form at two threads: one movie, 64 and 1,024 of 300 to 3,000 shots.

Features are 768 wide, M * C of the act preset. Batches are slices of one block of random rows, 1 GiB as float32, which
is taken again from its start when it is used up: far more than the caches hold, and no 5 GB of features. Movies are
sorted by length and lie 16 by 16 in rectangles, so that torch can take them as padded batches without copying them.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.peers.client import OURS
from benchmarks.peers.judge import judged
from benchmarks.rows import Row, row_of
from megaseg import _C, kernels
from megaseg.kernels import reference

WIDTH = 768
THREADS = 2
TOGETHER = 16  # movies of a padded batch
THRESHOLD = 0.04  # about one deviation of a similarity: a sixth of the band is 1
MUST = 2
ROWS = 2**30 // (4 * WIDTH)
ONE = ((300, 13), (1650, 36), (3000, 60))
WARM = 0.05  # seconds
TURNS = {1: (8, 40), 64: (8, 3), 1024: (7, 1)}  # turns, runs in a turn


@dataclass(frozen=True)
class Group:
    """Movies in rectangles: shots (movies, longest, WIDTH), sentences (movies, most, WIDTH), and what of it is used."""

    shots: Any
    sentences: Any
    sizes: list[tuple[int, int]]


def run() -> list[Row]:
    import torch

    torch.set_num_threads(THREADS)
    block = np.random.default_rng(0).standard_normal((ROWS, WIDTH), dtype=np.float32)
    block /= np.float32(np.sqrt(WIDTH))
    rows: list[Row] = []
    for kind in ("float32", "bfloat16"):
        if kind not in _C.compute_types():
            continue
        stored = torch.from_numpy(block).to(getattr(torch, kind))
        for size in ONE:
            rows += compare(f"E-step, one movie of {size[0]} shots, {size[1]} sentences, {kind}", stored, [size])
        for movies in (64, 1024):
            lengths = np.random.default_rng(movies).integers((300, 13), (3001, 61), (movies, 2))
            sizes = sorted((int(shots), int(sentences)) for shots, sentences in lengths)
            rows += compare(f"E-step, {movies:,} movies, {kind}", stored, sizes)
    return rows


def compare(case: str, block: Any, sizes: list[tuple[int, int]]) -> list[Row]:
    """All subjects in turns; each result is held to the float64 reference."""
    groups = in_rectangles(block, sizes)
    subjects = {**ours(groups), **torch_forms(groups)}
    unlike = check(groups, {name: run() for name, run in subjects.items()})
    facts = {name: {"unlike_float64": unlike[name], "memory_mib": grown(run)} for name, run in subjects.items()}
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    turns, runs = TURNS[len(sizes)]
    for _ in range(turns):
        for name, subject in subjects.items():
            time.sleep(0.1)  # other libraries' threads spin for a while after their work
            until = time.perf_counter() + WARM
            while runs > 1 and time.perf_counter() < until:
                subject()  # short ones: the other subjects had the caches, and the threads have to find their cores
            seconds[name] += [timed(subject) for _ in range(runs)]
    shape = {"movies": len(sizes), "shots": sum(s for s, _ in sizes), "sentences": sum(s for _, s in sizes)}
    rows = [row_of(case, name, "ms", [s * 1e3 for s in seconds[name]], **shape, **facts[name]) for name in subjects]
    first, *others = judged(rows)
    verdict = {"must": MUST, "speed": "met" if first.facts["ratio"] >= MUST else "missed", "target": _C.target()}
    return [replace(first, facts={**first.facts, **verdict}), *others]


def in_rectangles(block: Any, sizes: list[tuple[int, int]]) -> list[Group]:
    groups, at = [], 0

    def take(count: int) -> Any:
        nonlocal at
        at = 0 if at + count > len(block) else at
        at += count
        return block[at - count : at]

    for begin in range(0, len(sizes), TOGETHER):
        own = sizes[begin : begin + TOGETHER]
        sides = [max(side) for side in zip(*own, strict=True)]
        groups.append(Group(*(take(len(own) * side).view(len(own), side, WIDTH) for side in sides), own))
    return groups


def movies_of(groups: list[Group]) -> list[tuple[Any, Any]]:
    return [
        (group.shots[m, :shots], group.sentences[m, :sentences])
        for group in groups
        for m, (shots, sentences) in enumerate(group.sizes)
    ]


def ours(groups: list[Group]) -> dict[str, Callable[[], Any]]:
    import torch

    def array(x: Any) -> Any:
        return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()

    us, vs = [list(x) for x in zip(*((array(u), array(v)) for u, v in movies_of(groups)), strict=True)]
    options: dict[str, Any] = {"threshold": THRESHOLD, "num_threads": THREADS}
    return {
        f"{OURS}": lambda: kernels.banded_estep(us, vs, as_bits=True, **options),
        f"{OURS}, booleans": lambda: kernels.banded_estep(us, vs, **options),
    }


def inside(shots: int, sentences: int) -> Any:
    """Eq. 2's two inequalities as one writes them, (shots, sentences)."""
    import torch

    i, j = torch.arange(shots)[:, None], torch.arange(sentences)
    return (j < i * (sentences / shots) + 0.3 * sentences) & (i < j * (shots / sentences) + 0.3 * shots)


def torch_forms(groups: list[Group]) -> dict[str, Callable[[], Any]]:
    """Dense: as written; with masks and memory kept from call to call; the same on padded batches."""
    import torch

    movies = movies_of(groups)
    kind = movies[0][0].dtype
    sizes = [size for group in groups for size in group.sizes]
    masks = [inside(*size) for size in sizes]
    kept = [torch.empty(size, dtype=torch.bool) for size in sizes]
    most = max(group.shots.shape[0] * group.shots.shape[1] * group.sentences.shape[1] for group in groups)
    room = torch.empty(most, dtype=kind)
    padded_masks = [torch.zeros(*group.shots.shape[:2], group.sentences.shape[1], dtype=torch.bool) for group in groups]
    for group, padded in zip(groups, padded_masks, strict=True):
        for m, (shots, sentences) in enumerate(group.sizes):
            padded[m, :shots, :sentences] = inside(shots, sentences)
    padded_kept = [torch.empty_like(mask) for mask in padded_masks]

    def into(similarity: Any, mask: Any, out: Any) -> Any:
        return torch.ge(similarity, THRESHOLD, out=out).logical_and_(mask)

    def as_written() -> list[Any]:
        return [(u @ v.T >= THRESHOLD) & inside(len(u), len(v)) for u, v in movies]

    def with_memory() -> list[Any]:
        for (u, v), mask, out in zip(movies, masks, kept, strict=True):
            into(torch.mm(u, v.T, out=room[: mask.numel()].view(mask.shape)), mask, out)
        return kept

    def padded() -> list[Any]:
        for group, mask, out in zip(groups, padded_masks, padded_kept, strict=True):
            similarity = room[: mask.numel()].view(mask.shape)
            into(torch.bmm(group.shots, group.sentences.transpose(1, 2), out=similarity), mask, out)
        return [
            out[m, :shots, :sentences]
            for group, out in zip(groups, padded_kept, strict=True)
            for m, (shots, sentences) in enumerate(group.sizes)
        ]

    forms = {"torch, as written": as_written, "torch, masks and memory kept": with_memory}
    return forms | ({"torch, padded batches, masks and memory kept": padded} if len(sizes) > 1 else {})


def check(groups: list[Group], results: dict[str, list[Any]]) -> dict[str, int]:
    """How many w_ij are unlike float64's; none may be whose similarity the type can tell from the threshold."""
    unlike = dict.fromkeys(results, 0)
    for m, (u, v) in enumerate(movies_of(groups)):
        exact_u, exact_v = u.double(), v.double()
        expected = reference.banded_estep(exact_u, exact_v, THRESHOLD).numpy()
        for name, result in results.items():
            w = np.asarray(result[m])
            if w.dtype == np.uint8:
                w = np.unpackbits(w, axis=1, count=len(v), bitorder="little").view(np.bool_)
            i, j = (w != expected).nonzero()
            # torch rounds similarities to bfloat16 before it compares them; ours are float32 sums for either type.
            rounding = 2.0**-8 if str(u.dtype) == "torch.bfloat16" and not name.startswith(OURS) else 2.0**-18
            if (((exact_u[i] * exact_v[j]).sum(1) - THRESHOLD).abs() > rounding * THRESHOLD).any():
                raise RuntimeError(f"{name}: W is not the reference's")
            unlike[name] += len(i)
    return unlike


def timed(subject: Callable[[], Any]) -> float:
    start = time.perf_counter()
    subject()
    return time.perf_counter() - start


def grown(subject: Callable[[], Any]) -> float:
    """MiB that a call adds to the process at its peak, results included; what a subject keeps is not counted."""

    def status(key: str) -> int:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(key))

    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from here
    before = status("VmRSS")
    subject()
    return round((status("VmHWM") - before) / 1024, 1)
