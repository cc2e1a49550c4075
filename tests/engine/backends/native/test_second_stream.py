"""Movies with a second stream against NumPy in float64: rows of their own number, whatever runs together and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import ALL_TYPES, TYPES, Program, rounded, run
from test_steps import attended, close, normal

from megaseg import _C
from megaseg.errors import FeatureError, ResourceLimitError

WHOLE = (1, 300, 0)
ROWS = [(1, 1), (3, 200), (130, 2), (7, 7), (300, 1), (1, 97), (40, 33), (100, 600), (2, 1500), (5, 3000), (30, 30)]
Array = np.ndarray
by_type = pytest.mark.parametrize(("target", "kind"), ALL_TYPES)


def movies(width: int, tokens: int) -> list[list[Array]]:
    """Shots, then tokens and the place of each: some beyond the movie's end, some that no place has."""
    rng = np.random.default_rng(width)
    return [
        [normal(n, n, width), normal(s, s, tokens), rng.integers(-2, n + 2, (s, 1)).astype(np.int32)] for n, s in ROWS
    ]


def two_streams(target: str, kind: str, width: int, tokens: int, heads: int) -> Program:
    """Cross attention both ways, and means of tokens beside the shots' own columns."""
    program = Program(WHOLE, target)
    value, step = program.value, program.step
    x = step("cast", value("latents", width, kind), [program.features("x", width)])
    y = step("cast", value("source", tokens, kind), [program.features("y", tokens, source=True)])
    places = program.features("place", 1, "int32", source=True)
    q = program.features("q", width)
    wide = step("cast", value("latents", width, kind), [q])
    keys = step("concat", value("source", 2 * tokens, kind), [y, y])
    pairs = step("concat", value("latents", 2 * width, kind), [x, wide])
    if width == tokens:
        attributes = [heads, TYPES.index(kind)]
        program.output(
            "there", program.exact(step("attention", value("latents", width, kind), [wide, keys], attributes))
        )
        back = step("attention", value("source", width, kind), [y, pairs], attributes)
        program.output("back", step("scatter_mean", value("latents", width), [back, places]))
    means = step("scatter_mean", value("latents", tokens), [y, places])
    program.output("means", means)
    program.output("beside", step("concat", value("latents", width + tokens), [program.exact(x), means]))
    return program


def mean_by_place(rows: Array, places: Array, length: int) -> Array:
    means = np.zeros((length, rows.shape[1]))
    for place in range(length):
        if (own := rows[places[:, 0] == place]).size:
            means[place] = own.mean(axis=0)
    return means


def expected(movie: list[Array], kind: str, heads: int) -> dict[str, Array]:
    x, y, places, q = (rounded(m, kind) if m.dtype == np.float32 else m for m in movie)
    means = mean_by_place(y, places, len(x))
    out = {"means": means, "beside": np.concatenate([x, means], axis=1)}
    if x.shape[1] == y.shape[1]:
        out["there"] = attended(q, y, y, heads)
        out["back"] = mean_by_place(attended(y, x, q, heads), places, len(x))
    return out


@by_type
@pytest.mark.parametrize(("width", "tokens", "heads"), [(6, 6, 3), (33, 33, 1), (128, 128, 2), (7, 20, 1)])
def test_streams_of_different_lengths(
    tmp_path: Path, width: int, tokens: int, heads: int, target: str, kind: str
) -> None:
    """Alone and together, on any number of threads: the same bits."""
    inputs = [[*movie, normal(len(movie[0]) + 7, *movie[0].shape)] for movie in movies(width, tokens)]
    program = two_streams(target, kind, width, tokens, heads)
    names = tuple(output[0] for output in program.outputs)
    plans = [program.plan(tmp_path, num_threads=threads) for threads in (1, 2, 5)]
    first = run(plans[0], *inputs, outputs=names)
    for movie, rows in zip(inputs, first, strict=True):
        want = expected(movie, kind, heads)
        for name, got in zip(names, rows, strict=True):
            close(got, want[name], kind)
        for plan in plans[:2]:
            assert all(map(np.array_equal, run(plan, movie, outputs=names)[0], rows))
    for plan in plans[1:]:
        for order in (slice(None), slice(None, None, -1), slice(3, 8)):
            for got, rows in zip(run(plan, *inputs[order], outputs=names), first[order], strict=True):
                assert all(map(np.array_equal, got, rows))


def test_a_memory_limit_changes_nothing_but_the_batches(tmp_path: Path) -> None:
    program = two_streams(_C.target(), "float32", 16, 16, 2)
    inputs = [[*movie, normal(len(movie[0]) + 7, *movie[0].shape)] for movie in movies(16, 16)]
    names = tuple(output[0] for output in program.outputs)
    free = program.plan(tmp_path, num_threads=2)
    want = run(free, *inputs, outputs=names)
    with pytest.raises(ResourceLimitError, match="expected at least") as caught:
        program.plan(tmp_path, num_threads=2, memory_limit=1000)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert least < free.workspace_bytes + free.weight_bytes
    plan = program.plan(tmp_path, num_threads=2, memory_limit=least)
    assert plan.workspace_bytes + plan.weight_bytes <= least
    longest = [normal(1, 300, 16), normal(2, 4096, 16), np.zeros((4096, 1), np.int32), normal(3, 300, 16)]
    run(plan, longest, outputs=names)
    for got, rows in zip(run(plan, *inputs, outputs=names), want, strict=True):
        assert all(map(np.array_equal, got, rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros((0, 6), np.float32), "place": np.zeros((0, 1), np.int32)}, r"\[y\]: from 1 to 4096 rows"),
        ({"y": normal(0, 4097, 6)}, r"\[y\]: from 1 to 4096 rows of a sequence expected, got 4097"),
        ({"place": np.zeros((3, 1), np.int32)}, r"\[place\]: as many rows as the other inputs of the second stream"),
        ({"y": normal(0, 5, 7)}, r"\[y\]: a \(rows, feature_size\) array"),
        ({"q": normal(0, 5, 6)}, r"\[q\]: a \(shots, feature_size\) array"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    movie = {"x": normal(0, 4, 6), "y": normal(1, 5, 6), "place": np.zeros((5, 1), np.int32), "q": normal(2, 4, 6)}
    plan = two_streams("portable", "float32", 6, 6, 1).plan(tmp_path)
    run(plan, list(movie.values()), outputs=("means",))
    with pytest.raises(ValueError, match=message):
        run(plan, list({**movie, **change}.values()), outputs=("means",))


def test_ids_of_the_second_stream_need_a_row(tmp_path: Path) -> None:
    program = Program(WHOLE)
    x = program.read("x", 3)
    ids = program.features("word", 1, "int32", source=True)
    rows = program.step("gather", program.value("source", 3), [ids], (), [normal(0, 4, 3)])
    program.output("y", program.step("scatter_mean", program.value("latents", 3), [rows, ids]))
    program.output("x", x)
    plan = program.plan(tmp_path)
    run(plan, [normal(0, 1, 3), np.array([[3], [0], [1]], np.int32)])
    with pytest.raises(FeatureError, match=r"movie 1: expected ids from 0 to 3 in word, got 4 in row 2"):
        run(plan, *([normal(0, 1, 3), np.array([[3], [0], [last]], np.int32)] for last in (2, 4)))


def test_an_output_is_the_same_alone_and_beside_others(tmp_path: Path) -> None:
    """Ids of inputs that it does not read are checked all the same."""
    program = two_streams(_C.target(), "float32", 33, 33, 3)
    ids = program.features("word", 1, "int32", source=True)
    rows = program.step("gather", program.value("source", 33), [ids], (), [normal(5, 4, 33)])
    program.output("words", program.step("scatter_mean", program.value("latents", 33), [rows, ids]))
    plan = program.plan(tmp_path, num_threads=2)
    names = tuple(output[0] for output in program.outputs)
    movies_ = [[*m, normal(9, *m[0].shape), np.zeros((len(m[1]), 1), np.int32)] for m in movies(33, 33)]
    together = run(plan, *movies_, outputs=names)
    for at, name in enumerate(names):
        for (alone,), rows_ in zip(run(plan, *movies_, outputs=(name,)), together, strict=True):
            assert np.array_equal(alone, rows_[at])
    movies_[3][4][2] = 4
    with pytest.raises(FeatureError, match=r"movie 3: expected ids from 0 to 3 in word, got 4 in row 2"):
        run(plan, *movies_, outputs=("means",))
