"""Graphs that no shipped family has, by name: small, odd, and each with something that a rule could overlook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from megaseg.engine.backends.protocol import Backend, Excerpt
from megaseg.engine.graph import ops
from megaseg.engine.graph.graph import Graph, Node, Output, Weight
from megaseg.engine.graph.sequences import Sequences, Whole, Windows
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of

WIDTH, LENGTH, IDS = 12, 5, 7
SHOTS = (1, 4, 11)
SOURCE_WIDTH, SOURCE_ROWS = 5, (3, 1, 17)


@dataclass(frozen=True, slots=True)
class DrawnConfig(ModelConfig, family="drawn"):
    """A graph drawn by the function of a name; constants are random, seeded by their order."""

    task: str
    modalities: tuple[Modality, ...]
    drawing: str
    windowed: int
    threshold: float | None = None
    recipe: str | None = None

    @property
    def sequences(self) -> Sequences:
        return Windows(LENGTH) if self.windowed else Whole(40)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"none": (1,)}

    def build(self, tensor: Callable[[str], Weight]) -> Graph:
        return Graph(self.sequences, self.modalities, {**DRAWINGS, **STREAMS}[self.drawing](Pen(self.windowed)))


class Pen:
    """What drawings are made of."""

    def __init__(self, windowed: bool) -> None:
        self.windowed, self._count = windowed, 0

    def weight(self, *shape: int) -> Weight:
        self._count += 1
        rng = np.random.default_rng(self._count)
        return Weight(shape, lambda: np.random.default_rng(rng.bit_generator.seed_seq).standard_normal(shape) / 4)

    def features(self, index: int) -> Node:
        x = ops.features(index, (WIDTH, 1)[index], "shots" if self.windowed else "latents")
        return ops.windows(x) if self.windowed else x

    def latents(self) -> Node:
        return self.linear(self.features(0))

    def source(self) -> Node:
        """Rows of the second stream that know their place."""
        rows = self.linear(ops.features(2, SOURCE_WIDTH, "source"))
        return ops.add((rows, ops.gather(self.places(), self.weight(IDS, WIDTH))))

    def places(self) -> Node:
        return ops.features(3, 1, "source")

    def normed(self, x: Node) -> Node:
        return ops.layer_norm(x, self.weight(x.width), self.weight(x.width), 1e-5)

    def linear(self, x: Node, width: int = WIDTH, **more: Any) -> Node:
        return ops.linear(x, self.weight(width, x.width), self.weight(width), **more)

    def attended(self, q: Node, keys: Node, **more: Any) -> Node:
        return ops.attention(self.linear(q), self.linear(keys, 2 * WIDTH, **more), 3)

    def middle(self, x: Node) -> Node:
        """Rows that an output may have."""
        return ops.select(x, "sequences") if self.windowed else ops.select(x, "latents")

    def embedded(self) -> Node:
        x = ops.add_table(self.latents(), self.weight(LENGTH if self.windowed else 40, WIDTH))
        x = ops.add_table(x, self.weight(2, WIDTH), "slot")
        return ops.prepend(ops.layer_norm(x, self.weight(WIDTH), self.weight(WIDTH), 1e-5), self.weight(2, WIDTH))

    def output(self, x: Node) -> tuple[Output, ...]:
        return (Output("logits", self.linear(x, 2)),)


def plain(pen: Pen) -> tuple[Output, ...]:
    h = pen.latents()
    return pen.output(pen.middle(pen.linear(pen.attended(h, h), residual=h)))


def activated_keys(pen: Pen) -> tuple[Output, ...]:
    h = pen.latents()
    return pen.output(pen.middle(pen.linear(pen.attended(h, h, activation="tanh"), residual=h)))


def residual_keys(pen: Pen) -> tuple[Output, ...]:
    h = pen.embedded()
    kept = pen.linear(h, 2 * WIDTH)
    return pen.output(pen.middle(pen.linear(pen.attended(h, h, residual=kept), residual=h)))


def activated_queries(pen: Pen) -> tuple[Output, ...]:
    h = pen.embedded()
    a = ops.attention(pen.linear(h, activation="relu"), pen.linear(h, 2 * WIDTH), 2)
    return pen.output(pen.middle(pen.linear(a, residual=h)))


def pooled_query(pen: Pen) -> tuple[Output, ...]:
    h = ops.prepend(pen.latents(), pen.weight(3, WIDTH))
    return pen.output(pen.attended(ops.pool(h), h))


def prefix_only(pen: Pen) -> tuple[Output, ...]:
    h = ops.prepend(pen.latents(), pen.weight(2, WIDTH))
    kept = ops.select(pen.linear(pen.attended(h, h), residual=h), "prefix")
    g = ops.join(kept, pen.latents())
    return pen.output(pen.middle(pen.linear(pen.attended(g, g), residual=g)))


def ids(pen: Pen) -> tuple[Output, ...]:
    named = ops.gather(pen.features(1), pen.weight(IDS, WIDTH))
    h = ops.add((pen.latents(), named))
    first = ops.l2_normalise(ops.pool(h, "first"))
    return (*pen.output(pen.middle(pen.attended(h, h))), Output("first", first), Output("mean", ops.pool(h)))


def grouped(pen: Pen) -> tuple[Output, ...]:
    h = ops.prepend(pen.latents(), pen.weight(2, WIDTH))
    groups = ops.pool(pen.linear(pen.attended(h, h), residual=h), by=pen.features(1), groups=IDS)
    return (*pen.output(groups), Output("groups", groups))


def side_by_side(pen: Pen) -> tuple[Output, ...]:
    h = ops.concat((pen.latents(), pen.linear(pen.features(0), 7, activation="relu")))
    a = pen.attended(pen.linear(h), h)
    return pen.output(pen.middle(ops.concat((a, h, a))))


def classed(pen: Pen) -> Node:
    """Latents after a class token."""
    return ops.prepend(ops.add_table(pen.latents(), pen.weight(3, WIDTH), "slot"), pen.weight(1, WIDTH))


def own_row(x: Node) -> Node:
    """The class token's row of every sequence."""
    return ops.select(ops.select(x, "prefix"), "sequences")


def class_token(pen: Pen) -> tuple[Output, ...]:
    """Two layers with norms before, of whose last nobody reads more than the class token's row."""
    h = classed(pen)
    for _ in range(2):
        h = pen.linear(pen.attended(pen.normed(h), pen.normed(h)), residual=h)
        h = pen.linear(pen.linear(pen.normed(h), 20, activation="gelu"), residual=h)
    return (*pen.output(own_row(pen.normed(h))), Output("token", own_row(h)))


def class_token_and_others(pen: Pen) -> tuple[Output, ...]:
    """The class token's row of an attention that others read as well, and of a selection that is an output's part."""
    h = classed(pen)
    attended = pen.attended(h, h)
    token, first = own_row(attended), own_row(pen.linear(h))
    means = ops.pool(pen.linear(attended, residual=h))
    return (*pen.output(ops.concat((token, means))), Output("token", token), Output("both", ops.add((first, token))))


def class_token_alone(pen: Pen) -> tuple[Output, ...]:
    """A class token's attention to latents of its own without it, and its row as a query of tokens again."""
    h = classed(pen)
    token = own_row(pen.linear(h, activation="relu"))
    return pen.output(pen.linear(pen.attended(token, ops.select(h, "latents")), residual=pen.attended(token, h)))


def joined_class_token(pen: Pen) -> tuple[Output, ...]:
    """A class token that is joined to other latents; its row before and after."""
    h = pen.linear(classed(pen))
    g = ops.join(ops.select(h, "prefix"), pen.latents())
    return (*pen.output(own_row(pen.linear(pen.attended(g, g), residual=g))), Output("before", own_row(g)))


ONE_STREAM = (
    plain,
    activated_keys,
    residual_keys,
    activated_queries,
    pooled_query,
    prefix_only,
    ids,
    grouped,
    side_by_side,
    class_token,
    class_token_and_others,
    class_token_alone,
    joined_class_token,
)
DRAWINGS: dict[str, Callable[[Pen], tuple[Output, ...]]] = {drawing.__name__: drawing for drawing in ONE_STREAM}


def crossed(pen: Pen) -> tuple[Output, ...]:
    """Layers of both streams, then latents that attend to the other stream."""
    h, rows = pen.latents(), pen.source()
    rows = pen.linear(pen.attended(pen.normed(rows), pen.normed(rows)), residual=rows)
    return pen.output(pen.linear(pen.attended(pen.normed(h), pen.normed(rows)), residual=h))


def crossed_back(pen: Pen) -> tuple[Output, ...]:
    """The second stream attends to latents; its rows are averaged by place, some of which have none."""
    rows = pen.source()
    met = pen.linear(pen.attended(rows, pen.latents()), residual=rows, activation="gelu")
    means = ops.scatter_mean(met, pen.places())
    return (*pen.output(means), Output("means", means), Output("pooled", ops.pool(means)))


def three_side_by_side(pen: Pen) -> tuple[Output, ...]:
    h, rows = pen.latents(), pen.source()
    both = ops.concat((rows, pen.linear(rows, 3)))
    x = ops.concat((pen.linear(h, 7, activation="tanh"), ops.scatter_mean(both, pen.places()), pen.attended(h, rows)))
    return (*pen.output(x), Output("embedding", x))


def plain_means(pen: Pen) -> tuple[Output, ...]:
    """Features as they are, averaged and beside others; a pooled query over the second stream."""
    tokens = ops.features(2, SOURCE_WIDTH, "source")
    means = ops.scatter_mean(tokens, pen.places())
    pooled = pen.attended(ops.pool(pen.latents()), pen.source())
    return (*pen.output(ops.concat((pen.features(0), means))), Output("means", means), Output("pooled", pooled))


# Of whole sequences alone: they read a second stream.
STREAMS: dict[str, Callable[[Pen], tuple[Output, ...]]] = {
    drawing.__name__: drawing for drawing in (crossed, crossed_back, three_side_by_side, plain_means)
}


def checkpoint_of(drawing: str, windowed: bool) -> Checkpoint:
    modalities = (Modality("clip", WIDTH), Modality("place", 1, "int32"))
    if drawing in STREAMS:
        modalities = (*modalities, Modality("token", SOURCE_WIDTH), Modality("token_place", 1, "int32"))
    return Checkpoint(DrawnConfig("embedding", modalities, drawing, int(windowed)), {"none": np.zeros(1, np.float32)})


def movies(streams: int = 1) -> list[Excerpt]:
    """Movies of features and ids, and with two streams of such of another number of rows."""
    rng = np.random.default_rng(1)

    def pair(rows: int, width: int) -> list[np.ndarray]:
        return [rng.standard_normal((rows, width)).astype(np.float32), rng.integers(0, IDS, (rows, 1)).astype(np.int32)]

    first = [pair(n, WIDTH) for n in SHOTS]
    second = [pair(n, SOURCE_WIDTH) for n in SOURCE_ROWS]
    return [Excerpt.whole([*x, *y][: 2 * streams]) for x, y in zip(first, second, strict=True)]


def results_of(backend: Backend, config: ModelConfig) -> Iterator[np.ndarray]:
    names = [output.name for output in structure_of(config).outputs]
    for own in backend.run(movies(len(config.modalities) // 2), names):
        yield from own
