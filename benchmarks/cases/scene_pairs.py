"""Scene pairs of two movies against dense torch forms at two threads: 1,500 x 1,500 shots, and 64 pairs of movies.

Rows are 512 wide, as a movie encoder's. Torch gets the same algebra, window sums before the product, and keeps its
memory. Films here are scenes of 4 to 30 shots, half of them at places that both films know, with a part common to all
shots; random rows, and films whose shots differ in how much of the common part they have, bound what data changes.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.cases.estep import grown, timed
from benchmarks.peers.client import OURS
from benchmarks.peers.judge import judged
from benchmarks.rows import Row, row_of
from megaseg import _C, kernels

WIDTH, WINDOW, SHARE, THREADS = 512, 9, 0.5, 2
MUST = 2
WARM = 0.1  # seconds
TURNS = {1: (8, 5), 64: (5, 1)}  # turns, runs in a turn
Movies = list[tuple[Any, Any]]  # pairs of tensors (shots, WIDTH)
Choice = tuple[list[tuple[int, int]], list[float]]


def run() -> Iterator[list[Row]]:
    import torch

    torch.set_num_threads(THREADS)
    lengths = np.random.default_rng(64).integers(300, 2401, (64, 2))
    sizes: dict[str, list[tuple[int, int]]] = {
        "1,500 x 1,500 shots": [(1500, 1500)],
        "64 pairs of 300 to 2,400 shots": [(int(m), int(n)) for m, n in lengths],
    }
    for kind, (name, pairs) in itertools.product(("float32", "bfloat16"), sizes.items()):
        if kind in _C.compute_types():
            yield compare(f"scene pairs, {name}, {kind}", movies(pairs, kind, "films"))
    for films in ("random", "unlike"):
        yield compare(f"scene pairs, 1,500 x 1,500 shots, {films}, float32", movies([(1500, 1500)], "float32", films))


def movies(sizes: list[tuple[int, int]], kind: str, films: str) -> Movies:
    import torch

    rng = np.random.default_rng(0)

    def rows(shots: int, places: Any, common: Any) -> Any:
        if films == "random":
            return rng.standard_normal((shots, WIDTH))
        x: list[Any] = []
        while sum(map(len, x)) < shots:
            place = places[rng.integers(len(places))] if rng.random() < 0.5 else rng.standard_normal(WIDTH)
            x.append(place + rng.standard_normal((int(rng.integers(4, 30)), WIDTH)))
        strength = np.repeat(rng.random(shots // WINDOW + 1), WINDOW)[:shots, None] * 2 if films == "unlike" else 1
        return np.concatenate(x)[:shots] + strength * common

    pairs: Movies = []
    for size in sizes:
        places, common = rng.standard_normal((60, WIDTH)), rng.standard_normal(WIDTH)
        both = (torch.from_numpy(rows(shots, places, common)) for shots in size)
        u, v = ((x / x.norm(dim=1, keepdim=True)).to(getattr(torch, kind)) for x in both)
        pairs.append((u, v))
    return pairs


def compare(case: str, pairs: Movies) -> list[Row]:
    """All subjects in turns; each result is held to float64."""
    subjects = {**ours(pairs), **torch_forms(pairs)}
    found = {name: subject() for name, subject in subjects.items()}
    facts = {name: {"scene_pairs": check(pairs, name, found[name])} for name in subjects}
    for name, subject in subjects.items():
        facts[name]["memory_mib"] = grown(subject)
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    turns, runs = TURNS[len(pairs)]
    for _ in range(turns):
        for name, subject in subjects.items():
            time.sleep(0.1)  # other libraries' threads spin for a while after their work
            until = time.perf_counter() + WARM
            while runs > 1 and time.perf_counter() < until:
                subject()
            seconds[name] += [timed(subject) for _ in range(runs)]
    rows = [row_of(case, name, "ms", [s * 1e3 for s in seconds[name]], **facts[name]) for name in subjects]
    first, *others = judged(rows)
    work = 2e-6 * WIDTH * sum((len(u) - WINDOW + 1) * (len(v) - WINDOW + 1) for u, v in pairs)
    verdict = {"must": MUST, "speed": "met" if first.facts["ratio"] >= MUST else "missed", "target": _C.target()}
    verdict |= {"gflop_per_s": round(work / first.p50, 1)}  # one product's: what is multiplied again is overhead
    return [replace(first, facts={**first.facts, **verdict}), *others]


def ours(pairs: Movies) -> dict[str, Callable[[], list[Choice]]]:
    import torch

    def array(x: Any) -> Any:
        return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()

    us, vs = [list(x) for x in zip(*((array(u), array(v)) for u, v in pairs), strict=True)]

    def choose() -> list[Choice]:
        found = kernels.scene_pairs(us, vs, window=WINDOW, share=SHARE, num_threads=THREADS)
        return [([tuple(at) for at in one.first.tolist()], one.scores.tolist()) for one in found]

    return {OURS: choose}


def torch_forms(pairs: Movies) -> dict[str, Callable[[], list[Choice]]]:
    """Dense: as written, and the best row of a matrix kept from call to call, in either type of product."""
    import torch

    types = {torch.float32} | {pairs[0][0].dtype}
    most = max((len(u) - WINDOW + 1) * (len(v) - WINDOW + 1) for u, v in pairs)
    rooms = {dtype: torch.empty(most, dtype=dtype) for dtype in types}

    def product(u: Any, v: Any, dtype: Any) -> Any:
        a, b = (window_sums(x).to(dtype) for x in (u, v))
        return torch.mm(a, b.T, out=rooms[dtype][: len(a) * len(b)].view(len(a), len(b)))

    forms: dict[str, Callable[[], list[Choice]]] = {"torch, as written": lambda: [as_written(*pair) for pair in pairs]}
    for dtype, (name, greedy) in itertools.product(types, (("all", all_rows), ("one", one_row))):
        which = f"{str(dtype).removeprefix('torch.')} products, {name} of the struck rows searched again"
        forms[f"torch, {which}"] = lambda dtype=dtype, greedy=greedy: [greedy(product(*pair, dtype)) for pair in pairs]
    return forms


def window_sums(x: Any) -> Any:
    """Three at a time, three times three apart: (M - 8, C) in float32."""
    x = x.float()
    three = x[:-2] + x[1:-1] + x[2:]
    return three[:-6] + three[3:-3] + three[6:]


def as_written(u: Any, v: Any) -> Choice:
    """The averaged matrix, its median, and the highest of what is left, again and again."""
    import torch

    b = torch.nn.functional.avg_pool2d((u.float() @ v.float().T)[None, None], WINDOW, stride=1)[0, 0]
    count = math.ceil(SHARE * b.numel())
    last = float(b.flatten().kthvalue(b.numel() - count + 1).values)
    taken, scores = [], []
    while True:
        at = int(b.argmax())
        row, column = divmod(at, b.shape[1])
        score = float(b[row, column])
        if score < last or score == -math.inf:
            return taken, scores
        taken.append((row, column))
        scores.append(score)
        b[max(0, row - WINDOW + 1) : row + WINDOW] = -math.inf
        b[:, max(0, column - WINDOW + 1) : column + WINDOW] = -math.inf


def all_rows(b: Any) -> Choice:
    """The best of every row is known; those whose column is struck are searched again together."""
    import torch

    best, column = (x.numpy() for x in wide(*b.max(1)))
    struck = torch.zeros(b.shape[1], dtype=b.dtype)

    def again(at: int) -> None:
        stale = np.flatnonzero((abs(column - at) < WINDOW) & (best > -math.inf))
        if len(stale):
            values, where = wide(*(b[torch.from_numpy(stale)] + struck).max(1))
            best[stale], column[stale] = values.numpy(), where.numpy()

    taken, scores = [], []
    while best[row := int(best.argmax())] > -math.inf:
        at = take(row, best, column, struck, taken, scores)
        again(at)
    return decided(b, taken, scores)


def one_row(b: Any) -> Choice:
    """The same, but a row is searched again only when it comes first."""
    import torch

    best, column = (x.numpy() for x in wide(*b.max(1)))
    struck = torch.zeros(b.shape[1], dtype=b.dtype)
    free = struck.float().numpy() + 1 > 0
    taken, scores = [], []
    while best[row := int(best.argmax())] > -math.inf:
        if free[column[row]]:
            at = take(row, best, column, struck, taken, scores)
            free[max(0, at - WINDOW + 1) : at + WINDOW] = False
        else:
            value, where = (b[row] + struck).max(0)
            best[row], column[row] = float(value), int(where)
    return decided(b, taken, scores)


def wide(values: Any, where: Any) -> tuple[Any, Any]:
    return values.float(), where


def take(row: int, best: Any, column: Any, struck: Any, taken: list[tuple[int, int]], scores: list[float]) -> int:
    """Takes the best of a row; its column."""
    at = int(column[row])
    taken.append((row, at))
    scores.append(float(best[row]))
    best[max(0, row - WINDOW + 1) : row + WINDOW] = -math.inf
    struck[max(0, at - WINDOW + 1) : at + WINDOW] = -math.inf
    return at


def decided(b: Any, taken: list[tuple[int, int]], scores: list[float]) -> Choice:
    """Those among the highest ``SHARE``: as many scores are counted as halving the list asks for."""
    count = math.ceil(SHARE * b.numel())
    low, high = 0, len(scores)
    while low < high:
        middle = (low + high) // 2
        if int((b > scores[middle]).sum()) < count:
            low = middle + 1
        else:
            high = middle
    return taken[:low], [score / WINDOW**2 for score in scores[:low]]


def check(pairs: Movies, name: str, found: list[Choice]) -> int:
    """How many pairs of scenes were found; each must be the best of those left, as far as its type can tell."""
    half = "bfloat16" in name or (name == OURS and str(pairs[0][0].dtype) == "torch.bfloat16")
    error = 8e-3 if half else 2e-6
    for (u, v), (taken, scores) in zip(pairs, found, strict=True):
        a, b = (np.lib.stride_tricks.sliding_window_view(x.double().numpy(), WINDOW, axis=0).sum(-1) for x in (u, v))
        exact = a @ b.T / WINDOW**2
        last = np.partition(exact.ravel(), exact.size // 2)[exact.size // 2]
        best, struck = exact.max(1), np.zeros(exact.shape[1])
        for (row, column), score in zip(taken, scores, strict=True):
            if abs(exact[row, column] - score) > error or score < max(best.max(), last) - 2 * error:
                raise RuntimeError(f"{name}: pair {row}, {column} is not the best of those left")
            best[max(0, row - WINDOW + 1) : row + WINDOW] = -math.inf
            struck[max(0, column - WINDOW + 1) : column + WINDOW] = -math.inf
            left = np.flatnonzero(best > -math.inf)
            best[left] = (exact[left] + struck).max(1)
        if best.max() > last + 2 * error:
            raise RuntimeError(f"{name}: a pair is missing")
    return sum(len(taken) for taken, _ in found)
