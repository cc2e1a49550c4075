"""Streams against the whole movie, bit for bit, on the native engine; and snapshots of them, whole and damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from stress.findings import Finding, expect
from support import random_checkpoint, random_features, small_config

from megaseg import _C, Engine, Segmentation
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.live.stream import Event, Stream
from megaseg.errors import FeatureError, MegasegError

Movie = dict[str, np.ndarray]


def trial(rng: np.random.Generator, broken: bool = False) -> None:
    """Streams of one model side by side, in random pushes, through snapshots, with refused pushes in between.

    The control loses the first event of every push.
    """
    engine = random_engine(rng)
    kept = slice(1, None) if broken else slice(None)
    played = [_Played(engine, rng, kept) for _ in range(rng.integers(1, 5))]
    while waiting := [stream for stream in played if not stream.ended]:
        waiting[rng.integers(len(waiting))].step()
    for stream in played:
        stream.expect_equal_to_the_movie()


def snapshots(rng: np.random.Generator, broken: bool = False) -> None:
    """A snapshot that is cut is refused; so is one with flipped bits, unless they say nothing (blanks).

    The control reads a snapshot without turning its library's errors into ``MegasegError``.
    """
    engine = random_engine(rng)
    movie = random_features(engine.config, int(rng.integers(2, 40)), int(rng.integers(1 << 30)))
    resume = _careless(engine) if broken else engine.resume
    stream = engine.stream(provisional=bool(rng.integers(2)), history=bool(rng.integers(2)))
    cut = int(rng.integers(1, len(movie["m0"])))
    stream.push(_part(movie, 0, cut))
    data = stream.snapshot()
    rest = _rest(resume, data, movie, cut)
    expect(rest == _rest(lambda _: stream, data, movie, cut), "a resumed stream goes on differently")
    for _ in range(8):
        short = data[: rng.integers(len(data))]
        expect(_rest(resume, short, movie, cut) is None, f"a snapshot cut to {len(short)} of {len(data)} bytes resumes")
        flipped = bytearray(data)
        limit = len(data) if rng.integers(2) else 8 + int.from_bytes(data[:8], "little")
        for bit in rng.integers(8 * limit, size=rng.choice([1, 1, 2, 8])):
            flipped[bit // 8] ^= 1 << (bit % 8)
        again = _rest(resume, bytes(flipped), movie, cut)
        expect(again is None or again == rest, "a snapshot with flipped bits goes on differently")


def random_engine(rng: np.random.Generator) -> Engine:
    """A small scene model on the native engine, of any compute type, with and without passes."""
    heads = int(rng.integers(1, 4))
    config = small_config(
        modalities=tuple(Modality(f"m{i}", int(rng.choice([1, 7, 13, 33]))) for i in range(rng.integers(1, 4))),
        max_length=int(rng.choice([1, 3, 5, 9, 17, 33])),
        num_bottleneck=int(rng.integers(1, 4)),
        hidden_size=heads * int(rng.choice([4, 5, 8, 16])),
        num_heads=heads,
        num_unimodal_layers=int(rng.integers(0, 3)),
        num_fusion_layers=int(rng.integers(0, 3)),
    )
    kind = str(rng.choice(_C.compute_types(_C.target())))
    checkpoint = random_checkpoint(config, int(rng.integers(1 << 30)))
    threads = int(rng.integers(1, 3))
    return Engine.from_checkpoint(checkpoint, compute_type=kind, num_threads=threads, passes=bool(rng.random() < 0.8))


class _Played:
    """One movie's stream, pushed step by step, with the events that came."""

    def __init__(self, engine: Engine, rng: np.random.Generator, kept: slice) -> None:
        self._engine, self._rng, self._kept = engine, rng, kept
        self._shots = int(rng.choice([1, 2, rng.integers(3, 80)]))
        self._movie: Movie = random_features(engine.config, self._shots, int(rng.integers(1 << 30)))
        self._times = np.cumsum(rng.integers(1, 9, 2 * self._shots)).reshape(-1, 2) if rng.integers(2) else None
        self._threshold, self._history = float(rng.random()), bool(rng.integers(2))
        self._provisional = bool(rng.integers(2))
        self._stream = engine.stream(
            threshold=self._threshold, provisional=self._provisional, time_base="1/24", history=self._history
        )
        self._come, self._events, self.ended = 0, list[Event](), False

    def step(self) -> None:
        """Push some shots or what must be refused, go through a snapshot, or close."""
        rng = self._rng
        if self._come == self._shots:
            self._take(self._stream.close())
            self.ended = True
        elif (kind := rng.random()) < 0.1:
            self._stream = self._engine.resume(self._stream.snapshot())
        elif kind < 0.2:
            self._refused()
        else:
            end = min(self._shots, self._come + int(rng.choice([1, 1, 2, rng.integers(1, 40)])))
            times = None if self._times is None else self._times[self._come : end]
            begin, self._come = self._come, end
            self._take(self._stream.push(_part(self._movie, begin, end), times))

    def _refused(self) -> None:
        wrong = {name: rows[:, :0] for name, rows in self._movie.items()}
        try:
            self._stream.push(wrong)
        except FeatureError:
            return
        raise Finding("a push of no columns was taken")

    def _take(self, events: Sequence[Event]) -> None:
        self._events += [event for event in events if event.final][self._kept]
        if provisional := [event for event in events if not event.final]:
            scores = self._segment(self._come).scores
            same = all(event.score == scores[event.shot] for event in provisional)
            expect(same, f"provisional scores are not those of the {self._come} shots so far; {self._engine.config}")

    def _segment(self, shots: int) -> Segmentation:
        movie = dict(_part(self._movie, 0, shots))
        times = {} if self._times is None else {"times": self._times[:shots], "time_base": "1/24"}
        return self._engine.segment({**movie, **times}, threshold=self._threshold)

    def expect_equal_to_the_movie(self) -> None:
        whole, config = self._segment(self._shots), self._engine.config
        expect([event.shot for event in self._events] == list(range(self._shots)), f"events are missing; {config}")
        scores = np.array([event.score for event in self._events], np.float32)
        expect(np.array_equal(scores, whole.scores), f"scores are not the movie's; {self._engine.describe()}; {config}")
        ends = [event.shot for event in self._events if event.boundary]
        expect(ends == list(whole.boundaries), f"boundaries are not the movie's; {config}")
        if self._history:
            same = self._stream.segmentation().to_json() == whole.to_json()
            expect(same, f"the segmentation is not the movie's; {config}")


def _part(movie: Movie, begin: int, end: int) -> Movie:
    return {name: rows[begin:end] for name, rows in movie.items()}


def _rest(resume: Callable[[bytes], Stream], data: bytes, movie: Movie, cut: int) -> list[Event] | None:
    """Final events from a snapshot to the movie's end; None where something was refused."""
    try:
        stream = resume(data)
        first = stream.num_decided
        events = (*stream.push(_part(movie, cut, len(movie["m0"]))), *stream.close())
        events = [event for event in events if event.final]
    except MegasegError:
        return None
    except Exception as error:
        raise Finding(f"a snapshot of {len(data)} bytes: {type(error).__name__}: {error}") from error
    expect([event.shot for event in events] == list(range(first, stream.num_shots)), "events are missing after resume")
    expect(all(0 <= event.score <= 1 for event in events), "scores after resume are no probabilities")
    return events


def _careless(engine: Engine) -> Callable[[bytes], Stream]:
    from safetensors.numpy import load

    def resume(data: bytes) -> Stream:
        load(data)
        return engine.resume(data)

    return resume
