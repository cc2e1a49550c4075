"""Steps of programs made by hand against NumPy in float64: every target, both types, odd sizes, no prefix tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from programs import ALL_TYPES, TYPES, Program, rounded, run

from megaseg import _C
from megaseg.errors import CheckpointError, FeatureError

WIDTHS = (1, 7, 16, 33, 130)
LENGTHS = (1, 2, 5, 19, 40)  # movies of one run: more latents than one batch of whole movies holds
WINDOW = 5
WHOLE, WINDOWS = (1, 40, 0), (0, WINDOW, 1)
by_type = pytest.mark.parametrize(("target", "kind"), ALL_TYPES)
by_target = pytest.mark.parametrize("target", _C.available_targets())
Array = np.ndarray


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def movies(width: int) -> list[Array]:
    return [normal(n, n, width) for n in LENGTHS]


def windows(x: Array) -> Array:
    """(shots, ...) to (shots, WINDOW, ...)."""
    reach = np.arange(WINDOW) - WINDOW // 2
    return x[(np.arange(len(x))[:, None] + reach).clip(0, len(x) - 1)]


def close(got: Array, expected: Array, kind: str = "float32") -> None:
    assert got.shape == expected.shape
    tolerance = 2e-6 if kind == "float32" else 1e-2
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max()))


def close_all(plan: object, inputs: list[Array], expected: list[Array], kind: str = "float32") -> None:
    """Movies together, on one thread or more, and alone."""
    together = run(plan, *([x] for x in inputs))
    for x, (got,), own in zip(inputs, together, expected, strict=True):
        close(got, own, kind)
        assert np.array_equal(run(plan, [x])[0][0], got)


def slots_of(length: int, slots: int) -> Array:
    return np.arange(length) * slots // length


def attended(q: Array, k: Array, v: Array, heads: int) -> Array:
    """(queries, C), (keys, C), (keys, C) of one sequence."""
    out = []
    for own in zip(*(np.split(x.astype(np.float64), heads, axis=1) for x in (q, k, v)), strict=True):
        scores = own[0] @ own[1].T / np.sqrt(own[0].shape[1])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out.append(weights / weights.sum(axis=1, keepdims=True) @ own[2])
    return np.concatenate(out, axis=1)


@by_type
@pytest.mark.parametrize("width", WIDTHS)
def test_tables_by_position_and_slot_are_added_to_whole_movies(
    tmp_path: Path, width: int, target: str, kind: str
) -> None:
    """Three numbers of slots in one program, each with its own index."""
    tables = {0: normal(0, 40, width), 3: normal(1, 3, width), 7: normal(2, 7, width), 2: normal(3, 2, width)}
    program = Program(WHOLE, target)
    x = program.read("x", width, kind)
    for slots, table in tables.items():
        out = program.value("latents", width, "float32" if slots == 2 else kind)
        x = program.step("add_table", out, [x], [int(slots > 0), slots], [table])
    program.output("y", x)
    expected = []
    for movie in movies(width):
        places = [table[slots_of(len(movie), n) if n else slice(len(movie))] for n, table in tables.items()]
        expected.append(rounded(movie, kind) + sum(place.astype(np.float64) for place in places))
    close_all(program.plan(tmp_path, num_threads=2), movies(width), expected, kind)


@by_type
def test_a_table_is_added_to_the_windows_of_shots(tmp_path: Path, target: str, kind: str) -> None:
    width = 33
    table, by_slot = normal(0, WINDOW, width), normal(1, 2, width)
    program = Program(WINDOWS, target)
    x = program.step(
        "add_table", program.value("latents", width, kind), [program.read("x", width, kind)], [0, 0], [table]
    )
    x = program.step("add_table", program.value("latents", width), [x], [1, 2], [by_slot])
    program.output("y", program.step("pool", program.value("sequences", width), [x], [0, 1]))
    inputs = [*movies(width), normal(9, 150, width)]  # more than one chunk
    sums = table.astype(np.float64) + by_slot[slots_of(WINDOW, 2)]
    expected = [(windows(rounded(x, kind)) + sums).mean(axis=1) for x in inputs]
    plan = program.plan(tmp_path, num_threads=2)
    close_all(plan, inputs, expected, kind)
    cache = plan.new_cache()  # a stream: shots that come bit by bit
    x = inputs[-1]
    ((first,),) = plan.run([([x[:50]], 0, 48, cache)], ["y"])
    ((rest,),) = plan.run([([x[50:]], 48 - 46, 104, cache)], ["y"])
    assert np.array_equal(np.concatenate([first, rest]), run(plan, [x])[0][0])


@by_type
@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("pooling", [0, 1], ids=["mean", "first"])
def test_a_pool_leaves_out_what_was_prepended(
    tmp_path: Path, pooling: int, prefix: int, target: str, kind: str
) -> None:
    width = 33
    program = Program(WHOLE, target)
    x = program.read("x", width, kind)
    rows = normal(0, prefix, width)
    tokens = program.step("prepend", program.value("tokens", width, kind, prefix), [x], (), [rows], kind)
    program.output("y", program.step("pool", program.value("sequences", width), [tokens], [pooling, 1]))
    back = program.step("select", program.value("latents", width, kind), [tokens])
    program.output("back", program.exact(back))
    own = program.step("select", program.value("prefix", width, kind, prefix), [tokens])
    joined = program.step("join", program.value("tokens", width, kind, prefix), [own, back])
    pooled = program.step("pool", program.value("sequences", width), [joined], [pooling, 1])
    program.output("joined", pooled)
    plan = program.plan(tmp_path, num_threads=2)
    inputs = movies(width)
    expected = [rounded(x, kind)[: 1 if pooling else None].mean(axis=0, keepdims=True) for x in inputs]
    close_all(plan, inputs, expected)
    for x, own in zip(inputs, run(plan, *([x] for x in inputs), outputs=("y", "back", "joined")), strict=True):
        assert np.array_equal(own[0], own[2])
        assert np.array_equal(own[1], rounded(x, kind))


@by_type
@pytest.mark.parametrize("windowed", [True, False])
def test_the_only_prefix_token_is_a_row_of_its_sequence(tmp_path: Path, windowed: bool, target: str, kind: str) -> None:
    width, table = 33, normal(0, 1, 33)
    program = Program(WINDOWS if windowed else WHOLE, target)
    x = program.read("x", width, kind)
    if windowed:
        x = program.step("windows", program.value("latents", width, kind), [x])
    tokens = program.step("prepend", program.value("tokens", width, kind, 1), [x], (), [table], kind)
    front = program.step("select", program.value("prefix", width, kind, 1), [tokens])
    program.output("y", program.exact(program.step("select", program.value("sequences", width, kind), [front])))
    plan = program.plan(tmp_path, num_threads=2)
    inputs = movies(width)
    rows = [len(x) if windowed else 1 for x in inputs]
    for count, (got,) in zip(rows, run(plan, *([x] for x in inputs)), strict=True):
        assert np.array_equal(got, rounded(table, kind).repeat(count, axis=0))


def test_more_than_one_prefix_token_is_no_row_of_its_sequence(tmp_path: Path) -> None:
    program = Program(WHOLE)
    tokens = program.step(
        "prepend", program.value("tokens", 4, prefix=2), [program.read("x", 4)], (), [normal(0, 2, 4)]
    )
    front = program.step("select", program.value("prefix", 4, prefix=2), [tokens])
    program.output("y", program.step("select", program.value("sequences", 4), [front]))
    with pytest.raises(CheckpointError, match="rows of a smaller space"):
        program.plan(tmp_path)


@by_type
@pytest.mark.parametrize("width", WIDTHS)
def test_rows_become_unit_vectors(tmp_path: Path, width: int, target: str, kind: str) -> None:
    program = Program(WHOLE, target)
    out = program.step("l2_normalise", program.value("latents", width), [program.read("x", width, kind)], [0.5])
    program.output("y", out)
    inputs = [*movies(width), np.zeros((3, width), np.float32), np.full((2, width), 1e-3, np.float32)]
    norms = [np.linalg.norm(rounded(x, kind), axis=1, keepdims=True) for x in inputs]
    expected = [rounded(x, kind) / np.maximum(norm, 0.5) for x, norm in zip(inputs, norms, strict=True)]
    plan = program.plan(tmp_path)
    close_all(plan, inputs, expected)
    with pytest.raises(FeatureError, match="movie 0: expected values that give finite y, got NaN or Inf in row 1"):
        run(plan, [np.full((2, width), [[1], [3e38]], np.float32)])


@by_target
@pytest.mark.parametrize("first", ["windows", "gather"])
def test_ids_choose_rows_of_a_table(tmp_path: Path, target: str, first: str) -> None:
    """Windows of ids, or windows of the rows that they choose; beside features of another type."""
    width = 33
    table = normal(0, 11, width)
    program = Program(WINDOWS, target)
    ids, x = program.features("word", 1, "int32"), program.read("x", width)
    if first == "windows":
        seen = program.step("windows", program.value("latents", 1, "int32"), [ids])
        rows = program.step("gather", program.value("latents", width), [seen], (), [table])
    else:
        chosen = program.step("gather", program.value("shots", width), [ids], (), [table])
        rows = program.step("windows", program.value("latents", width), [chosen])
    sums = program.step("windows", program.value("latents", width), [x])
    sums = program.step("add", program.value("latents", width), [rows, sums])
    program.output("y", program.step("select", program.value("sequences", width), [sums]))
    plan = program.plan(tmp_path, num_threads=2)
    assert plan.signature[1] == [("word", 1, "int32", False), ("x", width, "float32", False)]
    words = [np.random.default_rng(n).integers(0, 11, (n, 1)).astype(np.int32) for n in (1, 30, 100)]
    inputs = [[own, normal(len(own), len(own), width)] for own in words]
    for own, (got,) in zip(inputs, run(plan, *inputs), strict=True):
        assert np.array_equal(got, table[own[0][:, 0]] + own[1])
    for bad in (-1, 11, 2**31 - 1):
        wrong = words[1].copy()
        wrong[7] = bad
        with pytest.raises(FeatureError, match=rf"movie 1: expected ids from 0 to 10 in word, got {bad} in row 7"):
            run(plan, inputs[0], [wrong, inputs[1][1]])
    with pytest.raises(TypeError, match=r"features\[word\]: expected int32, got float32"):
        run(plan, [words[0].astype(np.float32), inputs[0][1]])
    with pytest.raises(TypeError, match=r"features\[x\]: expected float32, got float64"):
        run(plan, [words[0], inputs[0][1].astype(np.float64)])


@by_target
def test_ids_are_held_to_the_smallest_table(tmp_path: Path, target: str) -> None:
    program = Program(WHOLE, target)
    ids = program.features("word", 1, "int32")
    tables = [normal(n, n, 3) for n in (9, 4, 6)]
    rows = [program.step("gather", program.value("latents", 3), [ids], (), [table]) for table in tables]
    program.output("y", program.step("add", program.value("latents", 3), rows))
    plan = program.plan(tmp_path)
    close(run(plan, [np.array([[3], [0]], np.int32)])[0][0], sum(table[[3, 0]] for table in tables))
    with pytest.raises(FeatureError, match="from 0 to 3 in word, got 4 in row 1"):
        run(plan, [np.array([[3], [4]], np.int32)])


ACTIVATIONS = [lambda x: x, None, lambda x: np.maximum(x, 0), np.tanh]


@by_type
@pytest.mark.parametrize("activation", [2, 3], ids=["relu", "tanh"])
@pytest.mark.parametrize("width", WIDTHS)
def test_activations_of_linear_layers(tmp_path: Path, width: int, activation: int, target: str, kind: str) -> None:
    weight, bias = np.eye(width, dtype=np.float32), np.linspace(-0.5, 0.5, width).astype(np.float32)
    program = Program((1, 2000, 0), target)
    out, packed = program.value("latents", width), _C.linear_pack(kind, weight, bias, target=target)
    program.step(
        "linear", out, [program.read("x", width, kind)], [("float32", "bfloat16").index(kind), activation], [packed]
    )
    program.output("y", out)
    spread = np.concatenate([np.linspace(-20, 20, 1500), np.geomspace(1e-6, 1, 400)])
    x = np.repeat(spread[:, None], width, axis=1).astype(np.float32)
    expected = ACTIVATIONS[activation](rounded(x, kind) + bias)
    np.testing.assert_allclose(run(program.plan(tmp_path), [x])[0][0], expected, rtol=0, atol=1e-6)
    with pytest.raises(FeatureError, match="finite y"):
        run(program.plan(tmp_path), [np.full((1, width), np.nan, np.float32)])


@by_type
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("biased", [True, False])
def test_a_sum_of_rows_in_both_types(tmp_path: Path, biased: bool, width: int, target: str, kind: str) -> None:
    program = Program(WHOLE, target)
    parts = [program.read("a", width, kind), program.read("b", width), program.read("c", width, kind)]
    bias = normal(0, width)
    out = program.step("add", program.value("latents", width), parts, (), [bias] if biased else [])
    program.output("y", out)
    inputs = [normal(seed, 19, width) for seed in (1, 2, 3)]
    expected = rounded(inputs[0], kind) + inputs[1] + rounded(inputs[2], kind) + (bias if biased else 0)
    close(run(program.plan(tmp_path), inputs)[0][0], expected)


@by_type
@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("sequences", [WHOLE, WINDOWS], ids=["whole", "windows"])
def test_embed_is_its_parts_bit_for_bit(
    tmp_path: Path, sequences: tuple[int, int, int], prefix: int, target: str, kind: str
) -> None:
    width, length, slots = 33, sequences[1], 3
    tables = [normal(0, length, width), normal(1, slots, width), normal(2, width), normal(3, width)]
    rows = normal(4, prefix, width)
    program = Program(sequences, target)
    x = program.read("x", width)
    tokens = program.value("tokens", width, kind, prefix)
    packed = [np.frombuffer(np.ascontiguousarray(w).tobytes(), np.uint8) for w in tables]
    program.step("embed", tokens, [x], [1e-5, slots], [*packed, rows], kind)
    program.output("y", program.step("pool", program.value("sequences", width), [tokens], [0, 1]))
    placed = program.step("add_table", program.value("latents", width), [x], [0, 0], tables[:1])
    placed = program.step("add_table", program.value("latents", width), [placed], [1, slots], tables[1:2])
    normed = program.step("layer_norm", program.value("latents", width, kind), [placed], [1e-5], tables[2:])
    apart = program.step("prepend", program.value("tokens", width, kind, prefix), [normed], (), [rows], kind)
    program.output("apart", program.step("pool", program.value("sequences", width), [apart], [0, 1]))
    for got in run(program.plan(tmp_path), *([x] for x in movies(width)), outputs=("y", "apart")):
        assert np.array_equal(got[0], got[1])
        assert np.isfinite(got[0]).all()


@by_type
@pytest.mark.parametrize("query_space", ["tokens", "latents", "sequences"])
@pytest.mark.parametrize("key_space", ["tokens", "latents"])
@pytest.mark.parametrize("length", [40, 300])
def test_attention_without_prefix_tokens(
    tmp_path: Path, length: int, key_space: str, query_space: str, target: str, kind: str
) -> None:
    """Short sequences, packed by the task that reads them, and long ones, packed once."""
    heads, width = 3, 21
    program = Program((1, length, 0), target)
    q, kv = program.read("q", width, kind), program.read("kv", 2 * width, kind)
    if query_space == "tokens":
        q = program.step("prepend", program.value("tokens", width, kind), [q], (), [normal(0, 0, width)])
    elif query_space == "sequences":
        q = program.step("pool", program.value("sequences", width, kind), [q], [1, 1])
    if key_space == "tokens":
        kv = program.step("prepend", program.value("tokens", 2 * width, kind), [kv], (), [normal(0, 0, 2 * width)])
    out = program.step("attention", program.value(query_space, width, kind), [q, kv], [heads, TYPES.index(kind)])
    if query_space == "tokens":
        out = program.step("select", program.value("latents", width, kind), [out])
    program.output("y", program.exact(out))
    plan = program.plan(tmp_path, num_threads=2)
    inputs = [[normal(n, n, width), normal(n + 1, n, 2 * width)] for n in (1, 7, length)]
    for (x, y), (got,) in zip(inputs, run(plan, *inputs), strict=True):
        own, keys = rounded(x, kind), rounded(y, kind)
        own = own[:1] if query_space == "sequences" else own
        close(got, attended(own, keys[:, :width], keys[:, width:], heads), kind)


@by_type
@pytest.mark.parametrize("prefix", [0, 2])
def test_window_attention_and_query_attention_without_prefix_tokens(
    tmp_path: Path, prefix: int, target: str, kind: str
) -> None:
    heads, width, slots = 2, 18, 2
    position, shift, own = normal(0, WINDOW, 3 * width), normal(1, 3 * width), normal(2, prefix, 3 * width)
    places, align = normal(3, WINDOW, 7), normal(4, slots, 7)
    program = Program(WINDOWS, target)
    table, x = program.read("table", 3 * width), program.read("x", 7)
    std = program.step("inverse_std", program.value("latents", 1), [x], [1e-3, slots], [places, align])
    tokens = program.value("tokens", width, kind, prefix)
    program.step("window_attention", tokens, [table, std], [heads], [position, shift, own])
    latents = program.step("select", program.value("latents", width, kind), [tokens])
    front = program.step("select", program.value("prefix", width, kind, prefix), [tokens])
    merged = program.step("merge", program.value("prefix", width, kind, prefix), [front])
    program.output("y", program.step("pool", program.value("sequences", width), [latents], [0, 1]))
    query = program.step("windows", program.value("latents", heads * width), [program.read("query", heads * width)])
    query = program.step("pool", program.value("sequences", heads * width), [query], [0, 1])
    out = program.value("sequences", heads * width)
    program.output("asked", program.step("query_attention", out, [query, merged, latents], [heads]))
    inputs = [normal(5, 70, 3 * width), normal(6, 70, 7), normal(7, 70, heads * width)]
    ((got, asked),) = run(program.plan(tmp_path, num_threads=2), inputs, outputs=("y", "asked"))
    scale = 1 / np.sqrt(
        (windows(inputs[1]).astype(np.float64) + places + align[slots_of(WINDOW, slots)]).var(-1) + 1e-3
    )
    qkv = (windows(inputs[0]) + position) * scale[..., None] + shift
    pooled = windows(inputs[2].astype(np.float64)).mean(axis=1).reshape(70, heads, width)
    for window in range(70):
        all_tokens = np.concatenate([own, qkv[window]])
        context = attended(*np.split(all_tokens, 3, axis=1), heads)
        close(got[window], context[prefix:].mean(axis=0), kind)
        scores = pooled[window] @ context.T / np.sqrt(width / heads)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        close(asked[window], (weights / weights.sum(axis=1, keepdims=True) @ context).ravel(), kind)


@by_target
def test_outputs_are_read_by_other_steps_and_have_parts(tmp_path: Path, target: str) -> None:
    """One row a shot and one a movie in one run, in any order, of movies in several batches."""
    width = 7
    program = Program(WHOLE, target)
    a, b = program.read("a", width), program.read("b", width)
    total = program.step("add", program.value("latents", width), [a, b])
    program.output("total", total, [a, b])
    program.output("mean", program.step("pool", program.value("sequences", width), [total], [0, 1]))
    twice = program.step("add", program.value("latents", width), [total, total])
    program.output("twice", twice)
    plan = program.plan(tmp_path)
    assert plan.signature == (
        ("whole", 40, 0),
        [("a", width, "float32", False), ("b", width, "float32", False)],
        [("total", width, 2), ("mean", width, 0), ("twice", width, 0)],
        {"task": "test"},
        target,
    )
    inputs = [[normal(n, n, width), normal(n + 1, n, width)] for n in (30, 20, 1, 40, 5)]
    results = run(plan, *inputs, outputs=("mean", "total.parts", "twice", "total"))
    for (x, y), (mean, parts, double, own) in zip(inputs, results, strict=True):
        assert np.array_equal(parts, np.stack([x, y], axis=1))
        assert np.array_equal(own, x + y)
        assert np.array_equal(double, 2 * (x + y))
        close(mean, (x + y).mean(axis=0, keepdims=True))
    assert run(plan, inputs[0], outputs=()) == [()]
    for name in ("logits", "mean.parts", "total.", ".parts", ""):
        with pytest.raises(ValueError, match="expected some of total, total.parts, mean, twice, got"):
            run(plan, inputs[0], outputs=("total", name))
    bad = [inputs[1][0].copy(), inputs[1][1]]
    bad[0][3] = np.inf
    for name in ("total", "total.parts", "twice"):
        with pytest.raises(FeatureError, match=rf"movie 1: .* finite {name.split('.')[0]}, got NaN or Inf in row 3"):
            run(plan, inputs[0], bad, outputs=(name,))
