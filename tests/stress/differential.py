"""Random models, weights and movies on every backend, target, compute type and choice of passes, against NumPy.

The promise: logits err no more than twice as much as a naive model of the same compute type, whose projections are
centred (what a normalisation takes away costs no digits), or the movie is refused because its values leave the type's
range. An error beyond twice the naive model's own worst draw is held against more draws before it is reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from stress.findings import Finding, expect
from stress.reference import SIGNIFICAND, Array, Exact, Naive, NaiveInt8, centred, logits
from support import logits_of, random_checkpoint, small_config

from megaseg import _C, Engine
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.protocol import Backend
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import MegasegError

PROMISED = 2.0  # times the naive model's error
DRAWS = (4, 16, 96)
FLOOR = 16.0  # units in the last place of a logit, for models with next to no arithmetic
# A value within is never refused: squares and their sums over channels still fit the type.
RANGE = {"float16": 2.0**6}  # of other types: WIDE
WIDE = 2.0**56
ROWS = 1500  # of tokens in a movie, all windows and modalities together
Movie = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A way to run a model: its name, compute type, the type of other values beside int8, and how to load it."""

    name: str
    compute_type: str
    storage: str
    load: Callable[[Checkpoint], Backend]


def trial(rng: np.random.Generator, broken: bool = False) -> float:
    """One model on every subject; the largest error in naive errors (twice is allowed)."""
    checkpoint = random_model(rng)
    movies = [random_movie(checkpoint.config, rng) for _ in range(int(rng.choice([1, 1, 1, 3])))]
    naive = NaiveErrors(checkpoint, movies, rng)
    return max(_compare(subject, checkpoint, movies, naive, broken) for subject in subjects(rng))


def random_model(rng: np.random.Generator) -> Checkpoint:
    """A small model of odd sizes, some of its weights as LayerNorm likes them least."""
    heads, head_size = int(rng.integers(1, 5)), int(rng.choice([1, 3, 4, 5, 8, 12, 16, 17, 24, 32]))
    task = str(rng.choice(["scene", "scene", "act", "synopsis"]))
    config = small_config(
        task,
        modalities=tuple(Modality(f"m{i}", int(rng.choice([1, 2, 7, 13, 33, 64]))) for i in range(rng.integers(1, 5))),
        max_length=int(rng.choice([1, 3, 5, 9, 17, 33])) if task == "scene" else int(rng.integers(1, 41)),
        num_bottleneck=int(rng.choice([1, 2, 3, 7, 12])),
        hidden_size=heads * head_size,
        num_heads=heads,
        ffn_size=int(rng.choice([1, 7, 30, 65, 128])),
        num_unimodal_layers=int(rng.integers(0, 4)),
        num_fusion_layers=int(rng.integers(0, 3)),
        layer_norm_eps=float(rng.choice([1e-5, 1e-5, 1e-12, 1e-8, 1e-3, 0.5])),
    )
    tensors = dict(random_checkpoint(config, int(rng.integers(1 << 30))).tensors)
    for name in tensors:
        if rng.random() < 0.3:
            tensors[name] = _twisted(name, tensors[name], rng)
    return Checkpoint(config, tensors)


def _twisted(name: str, values: Array, rng: np.random.Generator) -> Array:
    """Offsets common to all channels, projections that hardly vary over them or not at all, and sharp attention."""
    amount = np.float32(10 ** rng.uniform(-1, 4))
    if name.endswith("proj.bias") and "attn" not in name:
        return values + amount if rng.random() < 0.7 else np.full_like(values, amount)
    if name.endswith("proj.weight") and "attn" not in name:
        flat = rng.choice([1, 1, 1e-2, 1e-5, 0])
        return np.float32(flat) * values + amount * rng.standard_normal(values.shape[1]).astype(np.float32)
    if name.endswith(("position.weight", "align.weight", "bottleneck")):
        return values * np.float32(rng.choice([0, 1e-4, 10])) if rng.random() < 0.7 else np.full_like(values, 0.25)
    if name.endswith(("in_proj_weight", "linear1.weight", "head.weight")):
        return values * np.float32(rng.choice([0.1, 2, 4]))
    return values


def random_movie(config: ModelConfig, rng: np.random.Generator) -> Movie:
    """Features of a movie; some rows zero or of one value, some of a scale that leaves float32's squares behind."""
    shots = int(rng.choice([1, 2, rng.integers(3, 41)]))
    if config.task == "scene":
        tokens = len(config.modalities) * config.num_bottleneck + config.max_length
        shots = min(shots, max(1, ROWS // (tokens * len(config.modalities))))
    else:
        shots = min(shots, config.max_length)
    movie = {m.name: rng.standard_normal((shots, m.feature_size)).astype(np.float32) for m in config.modalities}
    for name, values in movie.items():
        kind = rng.choice(["plain", "plain", "plain", "rows", "scaled", "huge"])
        if kind == "rows":
            values[rng.random(shots) < 0.5] = rng.choice([0, 1, 1e-30, 50])
        elif kind == "scaled":
            movie[name] = values * np.float32(10 ** rng.uniform(-6, 4))
        elif kind == "huge" and rng.random() < 0.3:
            largest = 10 ** rng.uniform(15, 38.5)
            values[rng.integers(shots)] *= np.float32(largest / np.abs(values).max())
    return movie


def subjects(rng: np.random.Generator) -> Iterator[Subject]:
    """Every backend, target and compute type of this machine, with all passes, without any, and with some."""
    some = tuple(str(name) for name in rng.permutation(list(PASSES))[: rng.integers(1, len(PASSES))])
    threads = int(rng.choice([1, 1, 1, 2]))
    for passes in ((), tuple(PASSES), some):
        for kind in ("float32", "bfloat16", "float64"):
            yield Subject(f"torch {kind} {passes}", kind, kind, _torch(kind, passes))
        for target in _C.available_targets():
            offered = _C.compute_types(target)
            wide = "bfloat16" if "bfloat16" in offered else "float32"
            for kind in offered:
                load = _native(target, kind, passes, threads)
                # Weights in ten bits are no worse than rounding to bfloat16.
                storage = wide if kind == "int8" else "bfloat16" if kind.startswith("int8_") else kind
                yield Subject(f"native {target} {kind} {passes}", kind, storage, load)
    if (onnx := _onnx()) is not None:
        for kind, passes in (("float32", ()), ("float32", tuple(PASSES)), ("float16", tuple(PASSES))):
            yield Subject(f"onnx {kind} {passes}", kind, kind, onnx(kind, passes))


def _torch(kind: str, passes: tuple[str, ...]) -> Callable[[Checkpoint], Backend]:
    return lambda checkpoint: TorchBackend(checkpoint, compute_type=kind, passes=passes)


def _native(target: str, kind: str, passes: tuple[str, ...], threads: int) -> Callable[[Checkpoint], Backend]:
    return lambda checkpoint: NativeBackend.from_checkpoint(
        checkpoint, target=target, compute_type=kind, passes=passes, num_threads=threads
    )


def _onnx() -> Callable[..., Callable[[Checkpoint], Backend]] | None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return None
    from megaseg.engine.backends.onnx.backend import OnnxBackend

    return lambda kind, passes: (
        lambda checkpoint: OnnxBackend.from_checkpoint(checkpoint, compute_type=kind, passes=passes, num_threads=1)
    )


class NaiveErrors:
    """The exact logits of some movies, and the naive model's errors, drawn as they are asked for."""

    def __init__(self, checkpoint: Checkpoint, movies: list[Movie], rng: np.random.Generator) -> None:
        self._config, self._movies, self._rng = checkpoint.config, movies, rng
        self._tensors: Mapping[str, Array] = centred(checkpoint.tensors)
        self._draws: dict[tuple[str, str], list[Array]] = {}
        exact = Exact()
        self.exact = self._run(checkpoint.tensors, exact)
        self.largest = exact.largest

    def _run(self, tensors: Mapping[str, Array], sums: Exact) -> Array:
        return np.concatenate([logits(self._config, tensors, movie, sums) for movie in self._movies])

    def ratio(self, got: Array, subject: Subject) -> float:
        """The error of a subject's logits in worst errors of its naive model, by root mean square and by largest."""
        bits = SIGNIFICAND["float64" if subject.compute_type == "float64" else "float32"]  # of logits
        floor = FLOOR * 2.0**-bits * max(1.0, float(np.abs(self.exact).max()))
        error = np.abs(got - self.exact)
        for count in DRAWS:
            naive = self._drawn(subject, count)
            ratio = max(
                float(measure(error)) / (max(map(measure, naive)) + floor)
                for measure in (np.max, lambda e: np.sqrt(np.mean(e**2)))
            )
            if ratio <= PROMISED:
                break
        return ratio

    def _drawn(self, subject: Subject, count: int) -> list[Array]:
        arithmetic = NaiveInt8 if subject.compute_type == "int8" else Naive
        errors = self._draws.setdefault((subject.compute_type, subject.storage), [])
        while len(errors) < count:
            errors.append(np.abs(self._run(self._tensors, arithmetic(subject.storage, self._rng)) - self.exact))
        return errors


def _compare(subject: Subject, checkpoint: Checkpoint, movies: list[Movie], naive: NaiveErrors, broken: bool) -> float:
    try:
        engine = Engine(checkpoint.config, subject.load(_nudged(checkpoint) if broken else checkpoint))
        alone = [engine.logits(movie) for movie in movies]
        _expect_scores(engine, movies[0])
    except MegasegError as error:
        expect(
            naive.largest > RANGE.get(subject.compute_type, WIDE),
            f"{subject.name}: refused ({error}); {checkpoint.config}",
        )
        return 0.0
    except Exception as error:
        raise Finding(f"{subject.name}: {type(error).__name__}: {error}; {checkpoint.config}") from error
    packed = logits_of(engine.backend, [[movie[m.name] for m in checkpoint.config.modalities] for movie in movies])
    ratio = 0.0
    for got in (np.concatenate(alone), np.concatenate(packed)):
        expect(bool(np.isfinite(got).all()), f"{subject.name}: logits that are not finite; {checkpoint.config}")
        ratio = max(ratio, naive.ratio(got, subject))
    if subject.name.startswith("native"):
        same = all(map(np.array_equal, alone, packed))
        expect(same, f"{subject.name}: movies together differ from each alone; {checkpoint.config}")
    message = f"{subject.name}: {ratio:.1f} naive errors, {PROMISED} promised; values to {naive.largest:.1e}"
    expect(ratio <= PROMISED, f"{message}; {checkpoint.config}")
    return ratio


def _expect_scores(engine: Engine, movie: Movie) -> None:
    if engine.config.task != "synopsis":
        scores = engine.segment(movie).scores
        expect(bool(np.isfinite(scores).all()), f"{engine.describe()}: scores that are not finite")


def _nudged(checkpoint: Checkpoint) -> Checkpoint:
    """The control: another bias of the head, by a thousandth of it."""
    bias = checkpoint.tensors["head.bias"] + np.float32(1e-3)
    return Checkpoint(checkpoint.config, {**checkpoint.tensors, "head.bias": bias})
