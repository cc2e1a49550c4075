"""Programs that are refused when they are loaded, each for one word that does not fit; as they were made they run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from programs import OPS, SPACES, TYPES, Program, run, run_altered

from megaseg import _C
from megaseg.errors import CheckpointError, ResourceLimitError

WIDTH, HEADS, LENGTH, SLOTS, PREFIX = 6, 2, 5, 3, 2
Change = Callable[[Program], object]


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def packed(n: int, k: int) -> np.ndarray:
    return _C.linear_pack("float32", ones(n, k), ones(n), target="portable")


def every_op(windowed: bool) -> Program:
    """Each op once, as far as the sequences have it; the step of an op is found by its name."""
    program = Program((0, LENGTH, 1) if windowed else (1, LENGTH, 0))
    program.properties.append(("threshold", "0.5"))
    ids, x = program.features("ids", 1, "int32"), program.features("x", WIDTH)
    rows = "shots" if windowed else "latents"
    value, step = program.value, program.step
    chosen = step("gather", value(rows, WIDTH), [ids], (), [ones(4, WIDTH)])
    x = step("linear", value(rows, WIDTH), [x], [0, 1], [packed(WIDTH, WIDTH)])
    x = step("add", value(rows, WIDTH), [x, chosen], (), [ones(WIDTH)])
    tables = [ones(LENGTH, WIDTH), ones(SLOTS, WIDTH)]
    if windowed:
        wide = step("linear", value(rows, 3 * WIDTH), [x], [0, 0], [packed(3 * WIDTH, WIDTH)])
        std = step("inverse_std", value("latents", 1), [x], [1e-5, SLOTS], tables)
        own = [ones(LENGTH, 3 * WIDTH), ones(3 * WIDTH), ones(PREFIX, 3 * WIDTH)]
        step("window_attention", value("tokens", WIDTH, prefix=PREFIX), [wide, std], [HEADS], own)
        moved = step("windows", value("latents", WIDTH), [x])
    else:
        moved = step("cast", value("latents", WIDTH), [x])
    tokens = value("tokens", WIDTH, prefix=PREFIX)
    step("embed", tokens, [x], [1e-5, SLOTS], [*tables, ones(WIDTH), ones(WIDTH), ones(PREFIX, WIDTH)])
    placed = step("add_table", value("latents", WIDTH), [moved], [1, SLOTS], tables[1:])
    step("prepend", value("tokens", WIDTH, prefix=PREFIX), [placed], (), [ones(PREFIX, WIDTH)])
    front = step("select", value("prefix", WIDTH, prefix=PREFIX), [tokens])
    merged = step("merge", value("prefix", WIDTH, prefix=2 * PREFIX), [front, front])
    joined = step("join", value("tokens", WIDTH, prefix=2 * PREFIX), [merged, placed])
    normed = step("layer_norm", value("tokens", WIDTH, prefix=2 * PREFIX), [joined], [1e-5], [ones(WIDTH)] * 2)
    kv = step("linear", value("tokens", 2 * WIDTH, prefix=2 * PREFIX), [normed], [0, 0], [packed(2 * WIDTH, WIDTH)])
    pooled = step("pool", value("sequences", WIDTH), [normed], [0, 1])
    side = step("windows", value("latents", 1, "int32"), [ids]) if windowed else ids
    grouped = step("pool", value("sequences", 4 * WIDTH), [normed, side], [0, 4])
    met = step("attention", value("sequences", WIDTH), [pooled, kv], [HEADS, 0])
    if windowed:
        halves = np.concatenate([packed(WIDTH, WIDTH // 2)] * 2)
        query = step("head_linear", value("sequences", 2 * WIDTH), [met], [0, 2], [halves])
        step("query_attention", value("sequences", 2 * WIDTH), [query, merged, placed], [HEADS])
    y = step("l2_normalise", value("sequences", WIDTH), [met], [1e-6])
    wide = step("concat", value("sequences", 2 * WIDTH), [met, pooled])
    program.output("y", y, [met, pooled])
    program.output("other", pooled if windowed else placed)
    program.output("grouped", grouped)
    program.output("wide", wide)
    if not windowed:
        second_stream(program, placed)
    return program


def second_stream(program: Program, latents: int) -> None:
    """Source rows that attend to latents, latents that attend to them, and their means by place."""
    value, step = program.value, program.step
    tokens, places = program.features("token", 3, source=True), program.features("token_place", 1, "int32", True)
    rows = step("linear", value("source", WIDTH), [tokens], [0, 0], [packed(WIDTH, 3)])
    kv = step("linear", value("latents", 2 * WIDTH), [latents], [0, 0], [packed(2 * WIDTH, WIDTH)])
    back = step("attention", value("source", WIDTH), [rows, kv], [HEADS, 0])
    keys = step("concat", value("source", 2 * WIDTH), [rows, back])
    program.output("crossed", step("attention", value("latents", WIDTH), [latents, keys], [HEADS, 0]))
    program.output("means", step("scatter_mean", value("latents", WIDTH), [back, places]))


def grouped(program: Program) -> list:
    """The pool by groups."""
    return [step for step in program.steps if step[0] == OPS.index("pool")][1]


def of(program: Program, op: str) -> list:
    """The first step of an op."""
    return next(step for step in program.steps if step[0] == OPS.index(op))


def result(program: Program, op: str) -> list[int]:
    return program.values[of(program, op)[1]]


@pytest.mark.parametrize("windowed", [True, False])
def test_as_they_were_made_they_run(tmp_path: Path, windowed: bool) -> None:
    program = every_op(windowed)
    missing = {OPS[step[0]] for step in program.steps} ^ set(OPS)
    assert missing == (
        {"cast", "scatter_mean"}
        if windowed
        else {"windows", "inverse_std", "window_attention", "head_linear", "query_attention"}
    )
    movie = [np.array([[3], [0]], np.int32), ones(2, WIDTH)]
    second = [] if windowed else [ones(3, 3), np.array([[1], [9], [1]], np.int32)]
    outputs = ["y", "y.parts", "other", "wide", *([] if windowed else ["crossed", "means"])]
    for own in run(program.plan(tmp_path), [*movie, *second], outputs=tuple(outputs)):
        assert all(np.isfinite(array).all() for array in own)


def test_the_documented_numbers_are_those_of_the_extension() -> None:
    text = (Path(__file__).parents[4] / "docs" / "formats.md").read_text()
    rows = re.findall(r"^\| (\d+) (\w+) \| .* \| .*\|$", text, re.MULTILINE)
    assert [name for _, name in rows] == OPS
    assert [int(number) for number, _ in rows] == list(range(len(OPS)))


def last(program: Program, op: str) -> list:
    """The last step of an op."""
    return next(step for step in reversed(program.steps) if step[0] == OPS.index(op))


def tokens_attend_to_the_second_stream(program: Program) -> None:
    """Rows of tokens that read keys of another number."""
    query = program.steps.index(of(program, "embed"))
    out = program.value("tokens", WIDTH, prefix=PREFIX)
    program.step("attention", out, [program.steps[query][1], last(program, "concat")[1]], [HEADS, 0])


def features_are_averaged(program: Program) -> None:
    program.values[of(program, "scatter_mean")[1]][2] = 3
    of(program, "scatter_mean")[2][0] = program.steps[-1][2][1] - 1


EXPECTED: list[tuple[str, str, Change]] = [
    # the header
    ("sequences: expected a positive length, got 0", "both", lambda p: set_to(p.sequences, 1, 0)),
    ("sequences: expected windows of odd length, got 4", "windows", lambda p: set_to(p.sequences, 1, 4)),
    ("sequences: expected step 1, got 0", "windows", lambda p: set_to(p.sequences, 2, 0)),
    ("sequences: expected no step, got 1", "whole", lambda p: set_to(p.sequences, 2, 1)),
    ("kind of sequences 2: expected less than 2", "both", lambda p: set_to(p.sequences, 0, 2)),
    ("expected inputs and outputs", "both", lambda p: p.outputs.clear()),
    ("ids: expected inputs of different names", "both", lambda p: set_to(p.inputs[1], 3, "ids")),
    ("ids: expected one id a row", "both", lambda p: set_to(p.inputs[0], 0, 2)),
    ("x: expected features of a positive size", "both", lambda p: set_to(p.inputs[1], 0, 0)),
    ("type of an input 2: expected less than 2", "both", lambda p: set_to(p.inputs[1], 1, 2)),
    ("rows of an input 2: expected less than 2", "both", lambda p: set_to(p.inputs[1], 2, 2)),
    ("x: expected a second stream of whole sequences alone", "windows", lambda p: set_to(p.inputs[1], 2, 1)),
    ("ids: expected a row per shot of the first input", "whole", lambda p: set_to(p.inputs[0], 2, 1)),
    ("name of an input: expected letters", "both", lambda p: set_to(p.inputs[1], 3, "a b")),
    ("expected properties of different names", "both", lambda p: p.properties.append(("task", "x"))),
    ("expected properties of different names", "both", lambda p: p.properties.append(("", "x"))),
    ("name of a property: expected at most 64", "both", lambda p: p.properties.append(("x" * 65, "x"))),
    ("value of a property: expected at most 64", "both", lambda p: p.properties.append(("x", 'a"b'))),
    ("value of a property: expected at most 64", "both", lambda p: p.properties.append(("x", "a\\b"))),
    ("value of a property: expected at most 64", "both", lambda p: p.properties.append(("x", "\x1b[2J"))),
    ("value of a property: expected at most 64", "both", lambda p: p.properties.append(("x", "é"))),
    # outputs
    ("y: expected outputs of different names", "both", lambda p: set_to(p.outputs[1], 0, "y")),
    ("name of an output: expected letters", "both", lambda p: set_to(p.outputs[1], 0, "y.parts")),
    ("name of an output: expected letters", "both", lambda p: set_to(p.outputs[1], 0, "")),
    ("name of an output: expected letters", "both", lambda p: set_to(p.outputs[1], 0, "y.")),
    ("name of an output: expected letters", "both", lambda p: set_to(p.outputs[1], 0, "a..b")),
    ("name of an input: expected letters", "both", lambda p: set_to(p.inputs[1], 3, ".b")),
    ("other: expected a row per shot or sequence", "both", lambda p: set_to(p.outputs[1], 1, of(p, "embed")[1])),
    ("other: expected a row per shot or sequence", "both", lambda p: set_to(p.outputs[1], 1, of(p, "merge")[1])),
    ("other: expected a row per shot or sequence", "windows", lambda p: set_to(p.outputs[1], 1, of(p, "add_table")[1])),
    ("other: expected values that a step makes", "whole", lambda p: set_to(p.outputs[1], 1, of(p, "features")[1])),
    ("other: expected values that a step makes", "both", lambda p: set_to(p.outputs[1], 1, p.value("sequences", 3))),
    (
        "y: expected float32 rows, parts of the same size",
        "whole",
        lambda p: p.outputs[0][2].append(of(p, "add_table")[1]),
    ),
    ("value 99: expected less than", "both", lambda p: p.outputs[0][2].append(99)),
    ("expected its outputs at the end, and nothing more", "both", lambda p: setattr(p, "surplus", b"\0" * 4)),
    # values of any op
    ("a width", "both", lambda p: set_to(result(p, "join"), 2, 0)),
    ("prefix tokens in spaces that hold any", "both", lambda p: set_to(result(p, "add_table"), 1, 1)),
    ("rows of shots only in a model of windows", "whole", lambda p: set_to(result(p, "features"), 0, 0)),
    ("a type of the target", "both", lambda p: set_to(result(p, "layer_norm"), 3, 1)),
    ("a type of the target", "both", lambda p: set_to(result(p, "linear"), 3, 2)),
    ("ids from features alone", "both", lambda p: set_to(result(p, "gather"), 3, 4)),
    ("space 6: expected less than 6", "both", lambda p: set_to(result(p, "join"), 0, 6)),
    ("type 5: expected less than 5", "both", lambda p: set_to(result(p, "join"), 3, 5)),
    ("rows of a second stream where inputs have one", "windows", lambda p: set_to(result(p, "add"), 0, 5)),
    ("op 22: expected less than 22", "both", lambda p: set_to(of(p, "join"), 0, len(OPS))),
    ("reads a value before it is made", "both", lambda p: set_to(of(p, "join")[2], 1, p.outputs[0][1])),
    ("makes a value again", "both", lambda p: set_to(of(p, "l2_normalise"), 1, of(p, "pool")[1])),
    ("features are read by casts, linear layers", "whole", lambda p: set_to(of(p, "add_table")[2], 0, 1)),
    # ops
    ("the input's features", "both", lambda p: set_to(of(p, "features")[3], 0, 1)),
    ("an input of the model", "both", lambda p: set_to(of(p, "features")[3], 0, 4)),
    ("a row per shot", "whole", lambda p: set_to(p.inputs[2], 2, 0)),
    ("a row per shot", "whole", lambda p: set_to(p.inputs[1], 2, 1)),
    ("a row per shot", "windows", lambda p: set_to(result(p, "features"), 0, 1)),
    ("the same values", "whole", lambda p: set_to(result(p, "cast"), 2, 5)),
    ("rows of shots to rows of latents", "windows", lambda p: set_to(result(p, "windows"), 2, 5)),
    ("a row per id", "both", lambda p: set_to(of(p, "gather")[2], 0, of(p, "linear")[1] - 2)),
    ("a table of whole rows", "both", lambda p: set_to(of(p, "gather")[4], 0, b"\0" * 30)),
    ("a table of whole rows", "both", lambda p: set_to(of(p, "gather")[4], 0, b"")),
    ("a compute type of the target", "both", lambda p: set_to(of(p, "linear")[3], 0, 2)),
    ("a compute type of the target", "both", lambda p: set_to(of(p, "linear")[3], 0, 4)),
    ("an activation", "both", lambda p: set_to(of(p, "linear")[3], 1, 4)),
    ("a packed weight of that size", "both", lambda p: set_to(of(p, "linear")[4], 0, b"\0" * 64)),
    ("an input, and perhaps a residual", "both", lambda p: of(p, "linear")[2].clear()),
    ("another number of inputs, attributes or weights", "both", lambda p: of(p, "linear")[3].append(0)),
    ("another number of inputs, attributes or weights", "both", lambda p: of(p, "layer_norm")[4].pop()),
    ("rows to add, and perhaps a bias", "both", lambda p: of(p, "add")[2].clear()),
    ("float32 or bfloat16 rows of one size", "both", lambda p: set_to(result(p, "add"), 2, 5)),
    ("a weight of another size", "both", lambda p: set_to(of(p, "add")[4], 0, b"\0" * 4)),
    ("a positive eps", "both", lambda p: set_to(of(p, "layer_norm")[3], 0, 0)),
    ("a positive eps", "both", lambda p: set_to(of(p, "embed")[3], 0, bits(-1e-5))),
    ("a positive eps", "both", lambda p: set_to(of(p, "l2_normalise")[3], 0, bits(np.nan))),
    ("a positive eps", "windows", lambda p: set_to(of(p, "inverse_std")[3], 0, bits(np.inf))),
    ("a number of slots", "both", lambda p: set_to(of(p, "embed")[3], 1, 0)),
    ("a number of slots", "both", lambda p: set_to(of(p, "add_table")[3], 1, 2**32 - 1)),
    ("a weight of another size", "both", lambda p: set_to(of(p, "embed")[3], 1, SLOTS + 1)),
    ("a weight of another size", "windows", lambda p: set_to(of(p, "inverse_std")[3], 1, SLOTS + 1)),
    ("a weight of another size", "both", lambda p: set_to(of(p, "add_table")[3], 1, SLOTS + 1)),
    ("a table by position or slot", "both", lambda p: set_to(of(p, "add_table")[3], 0, 2)),
    ("no slots of a table by position", "both", lambda p: set_to(of(p, "add_table")[3], 0, 0)),
    ("rows of shots or latents to rows of latents", "both", lambda p: set_to(result(p, "add_table"), 2, 5)),
    ("rows of latents to rows of tokens", "both", lambda p: set_to(of(p, "prepend")[2], 0, of(p, "embed")[1])),
    ("prefix rows of the result's type", "both", lambda p: set_to(of(p, "prepend")[4], 0, b"")),
    ("prefix rows of the result's type", "both", lambda p: set_to(of(p, "embed")[4], 4, b"")),
    (
        "projected features to tokens",
        "both",
        lambda p: set_to(result(p, "embed"), 0, 4) or set_to(result(p, "embed"), 1, 0),
    ),
    ("rows of a smaller space", "both", lambda p: set_to(result(p, "select"), 1, 1)),
    ("rows of a smaller space", "whole", lambda p: set_to(p.values, of(p, "select")[1], [4, 0, WIDTH, 0])),
    ("prefix tokens", "both", lambda p: set_to(of(p, "merge")[2], 0, of(p, "add_table")[1])),
    ("all of them together", "both", lambda p: of(p, "merge")[2].pop()),
    ("prefix tokens and latents", "both", lambda p: of(p, "join")[2].reverse()),
    ("the same rows", "both", lambda p: set_to(result(p, "layer_norm"), 1, 3)),
    ("a mean or the first row", "both", lambda p: set_to(of(p, "pool")[3], 0, 2)),
    ("rows of every sequence to one", "both", lambda p: set_to(of(p, "pool")[2], 0, of(p, "merge")[1])),
    ("a width for each group", "both", lambda p: set_to(of(p, "pool")[3], 1, 2)),
    ("a width for each group", "both", lambda p: set_to(of(p, "pool")[3], 1, 0)),
    ("a width for each group", "both", lambda p: set_to(of(p, "pool")[3], 1, 2**31)),
    ("rows, and perhaps the group", "both", lambda p: grouped(p)[2].append(1)),
    ("groups of a mean", "both", lambda p: set_to(grouped(p)[3], 0, 1)),
    ("groups of a mean", "both", lambda p: grouped(p)[2].pop()),
    ("a group a latent", "both", lambda p: set_to(grouped(p)[2], 1, of(p, "add_table")[1])),
    ("a width split in heads", "both", lambda p: set_to(of(p, "attention")[3], 0, 4)),
    ("a width split in heads", "both", lambda p: set_to(of(p, "attention")[3], 0, 0)),
    ("a compute type of the target", "both", lambda p: set_to(of(p, "attention")[3], 1, TYPES.index("int8"))),
    ("a width split in heads", "both", lambda p: set_to(of(p, "attention")[3], 0, 2**32 - 2)),
    ("a width split in heads", "windows", lambda p: set_to(of(p, "window_attention")[3], 0, 4)),
    ("a width split in heads", "windows", lambda p: set_to(of(p, "head_linear")[3], 1, 4)),
    ("packed weights of that size", "windows", lambda p: set_to(of(p, "head_linear")[3], 1, 1)),
    ("a width split in heads", "windows", lambda p: set_to(of(p, "query_attention")[3], 0, 4)),
    ("a query of its own per head", "windows", lambda p: set_to(of(p, "query_attention")[3], 0, 3)),
    ("queries, and keys beside values", "both", lambda p: set_to(of(p, "attention")[2], 1, of(p, "layer_norm")[1])),
    ("queries of the same tokens", "whole", tokens_attend_to_the_second_stream),
    ("float32 or bfloat16 rows of one type", "both", lambda p: set_to(of(p, "concat")[2], 0, of(p, "embed")[1])),
    ("float32 or bfloat16 rows of one type", "whole", lambda p: set_to(last(p, "concat")[2], 1, of(p, "add")[1])),
    ("the columns of all inputs", "both", lambda p: of(p, "concat")[2].pop()),
    ("the columns of all inputs", "both", lambda p: of(p, "concat")[2].clear()),
    ("another number of inputs", "both", lambda p: of(p, "concat")[3].append(0)),
    ("rows of the second stream to float32 means", "whole", lambda p: set_to(result(p, "scatter_mean"), 0, 5)),
    ("rows of the second stream to float32 means", "whole", lambda p: set_to(result(p, "scatter_mean"), 2, 5)),
    (
        "rows of the second stream to float32 means",
        "whole",
        lambda p: set_to(of(p, "scatter_mean")[2], 0, of(p, "add")[1]),
    ),
    ("a place a row", "whole", lambda p: set_to(of(p, "scatter_mean")[2], 1, 0)),
    ("a place a row", "whole", lambda p: set_to(of(p, "scatter_mean")[2], 1, last(p, "linear")[1])),
    ("features are read by casts, linear layers", "whole", features_are_averaged),
    ("a table of shots and a scale", "windows", lambda p: set_to(of(p, "window_attention")[2], 0, of(p, "add")[1])),
    ("a weight of another size", "windows", lambda p: set_to(of(p, "window_attention")[4], 2, b"")),
    ("projected features of shots", "windows", lambda p: set_to(result(p, "inverse_std"), 2, 2)),
]


def set_to(items: list, index: int, value: object) -> None:
    items[index] = value


def bits(x: float) -> int:
    return int(np.float32(x).view(np.uint32))


CASES = [
    pytest.param(message, kind == "windows", change, id=f"{number}-{kind}")
    for number, (message, which, change) in enumerate(EXPECTED)
    for kind in ("windows", "whole")
    if which in (kind, "both")
]


@pytest.mark.parametrize(("message", "windowed", "change"), CASES)
def test_a_word_that_does_not_fit_is_refused(tmp_path: Path, message: str, windowed: bool, change: Change) -> None:
    program = every_op(windowed)
    change(program)
    with pytest.raises(CheckpointError, match=r"program\.mseg: program: ") as caught:
        program.plan(tmp_path)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("windowed", [True, False])
def test_words_of_nonsense_never_crash(tmp_path: Path, windowed: bool) -> None:
    program = every_op(windowed)
    program.plan(tmp_path)
    shots = 30 if windowed else LENGTH
    features = f"[np.ones(({shots}, 1), np.int32), np.ones(({shots}, {WIDTH}), np.float32)]"
    outputs = ["y", "y.parts", "other", "wide"]
    if not windowed:
        features = f"{features} + [np.ones((9, 3), np.float32), np.ones((9, 1), np.int32)]"
        outputs += ["crossed", "means"]
    ran, refused = run_altered(tmp_path / "program.mseg", features, outputs)
    assert ran + refused == 400
    assert refused > 100


@pytest.mark.skipif("int8" not in _C.compute_types(), reason="no int8 on this machine")
def test_int8_rows_are_made_by_casts_and_linear_layers_alone(tmp_path: Path) -> None:
    program = Program(target=_C.target())
    x = program.read("x", 6, "int8")
    program.output("y", program.step("select", program.value("latents", 6, "int8"), [x]))
    with pytest.raises(CheckpointError, match="rows on grids from casts"):
        program.plan(tmp_path)


def test_narrow_rows_are_refused_where_the_target_has_none(tmp_path: Path) -> None:
    """They would be written as float32, past the end of their memory."""
    for kind in TYPES[1:3]:
        program = Program(target="portable")
        program.output("y", program.exact(program.read("x", 6, kind)))
        with pytest.raises(CheckpointError, match="a type of the target"):
            program.plan(tmp_path)


def test_sequences_beyond_any_model_are_refused(tmp_path: Path) -> None:
    program = Program((1, 1 << 24, 0))
    program.read("x", 1)
    program.output("y", program.step("pool", program.value("sequences", 1), [1], [0, 1]))
    program.values.append([SPACES.index("tokens"), 1, 1, 0])
    with pytest.raises(ResourceLimitError, match="tokens in a sequence"):
        program.plan(tmp_path)
