"""Excerpts on the native engine: with what neighbours share kept, the logits of the whole movie, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forked import status_of_fork
from support import logits_of, odd_config, random_checkpoint, random_features, small_config, window_logits

from megaseg import _C
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.extension import native_compute_type
from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import ResourceLimitError, UnsupportedError

Arrays = list[np.ndarray]
TARGET = _C.target()
TYPES = _C.compute_types(TARGET)


def native(checkpoint: Checkpoint, compute_type: str = "float32", **options: Any) -> NativeBackend:
    return NativeBackend.from_checkpoint(checkpoint, compute_type=compute_type, **options)


def movie_of(config: ModelConfig, shots: int, seed: int = 0) -> Arrays:
    return list(random_features(config, shots, seed).values())


def rows(movie: Arrays, begin: int, end: int) -> Arrays:
    return [array[begin:end] for array in movie]


class Pushed:
    """A movie whose shots come bit by bit, each shot's window as soon as its look-ahead is there."""

    def __init__(self, backend: NativeBackend, movie: Arrays) -> None:
        self.movie, self.kept = movie, backend.new_cache()
        self.half = backend.info.config.max_length // 2
        self.come = self.seen = self.decided = 0
        self.logits: Arrays = []

    @property
    def done(self) -> bool:
        return self.decided == len(self.movie[0])

    def push(self, shots: int, rng: np.random.Generator) -> Excerpt | None:
        """The next excerpt, of some or all windows that have their look-ahead; None while there is none."""
        total = len(self.movie[0])
        self.come = min(total, self.come + shots)
        ready = total if self.come == total else self.come - self.half
        if ready <= self.decided:
            return None
        last = ready if rng.random() < 0.7 else int(rng.integers(self.decided + 1, ready + 1))
        origin = self.seen - self.kept.shots
        end = min(self.come, last + self.half)  # no further: windows that wait need theirs among the last L - 1 shots
        excerpt = Excerpt(rows(self.movie, self.seen, end), self.decided - origin, last - origin, self.kept)
        self.seen, self.decided = end, last
        return excerpt


def play(backend: NativeBackend, movies: list[Arrays], seed: int, most: int = 40) -> None:
    """Random pushes of random streams in random batches; every stream ends with its movie's logits."""
    rng = np.random.default_rng(seed)
    streams = [Pushed(backend, movie) for movie in movies]
    while waiting := [stream for stream in streams if not stream.done]:
        chosen = rng.permutation(len(waiting))[: rng.integers(1, len(waiting) + 1)]
        asked = [(waiting[i], waiting[i].push(int(rng.integers(1, most + 1)), rng)) for i in chosen]
        runs = [(stream, excerpt) for stream, excerpt in asked if excerpt is not None]
        for (stream, excerpt), logits in zip(runs, window_logits(backend, [e for _, e in runs]), strict=True):
            assert len(logits) == excerpt.last - excerpt.first
            stream.logits.append(logits)
            assert stream.kept.shots == min(2 * stream.half, stream.seen)
    for stream, expected in zip(streams, logits_of(backend, movies), strict=True):
        assert np.array_equal(np.concatenate(stream.logits), expected)


# Weights in ten bits: rows are kept as those of the type that they are named after.
@pytest.mark.parametrize(
    ("seed", "compute_type"),
    [(seed, kind) for seed in range(0, 24, 3) for kind in TYPES if seed % 12 == 0 or not kind.startswith("int8_")],
)
def test_streams_of_odd_models_equal_their_movies(seed: int, compute_type: str) -> None:
    config = odd_config(seed)
    backend = native(random_checkpoint(config, seed), compute_type)
    play(backend, [movie_of(config, n, i) for i, n in enumerate((1, 2, 17, 40, 66, 130))], seed)


@pytest.mark.parametrize("compute_type", TYPES)
@pytest.mark.parametrize("length", [1, 3, 7, 17])
def test_streams_shot_by_shot_on_threads(length: int, compute_type: str) -> None:
    config = small_config(max_length=length, num_unimodal_layers=2)
    backend = native(random_checkpoint(config), compute_type, num_threads=2)
    play(backend, [movie_of(config, 30 + i, i) for i in range(9)], length, most=1)


@pytest.mark.parametrize("passes", [("project_once",), ("project_once", "window_tables")])
def test_streams_after_some_passes(passes: tuple[str, ...]) -> None:
    config = small_config(max_length=7)
    play(native(random_checkpoint(config), passes=passes), [movie_of(config, 50, i) for i in range(3)], 0)


@pytest.mark.parametrize("share", [0, 0.2, 0.4, 0.6, 0.8])
def test_a_memory_limit_changes_no_bit(share: float) -> None:
    """From the least that is accepted, one window a chunk, to all windows but not the rows of as many streams."""
    config = small_config(max_length=17)
    checkpoint = random_checkpoint(config)
    with pytest.raises(ResourceLimitError, match=r"expected at least \d+ bytes") as refused:
        native(checkpoint, memory_limit=1)
    least = int(str(refused.value).split("at least ")[1].split()[0])
    report = native(checkpoint).describe()
    limit = least + int(share * (report["weight_bytes"] + report["workspace_bytes"] - least))
    backend = native(checkpoint, memory_limit=limit)
    report = backend.describe()
    assert report["weight_bytes"] + report["workspace_bytes"] <= limit
    play(backend, [movie_of(config, n, n) for n in (3, 40, 90, 1)], 0)
    play(backend, [movie_of(config, 20, i) for i in range(80 if share else 8)], 1, most=12)


@pytest.mark.parametrize("passes", [True, False])
def test_excerpts_without_a_cache_and_any_windows_of_them(passes: bool) -> None:
    config = small_config(max_length=7)
    backend = native(random_checkpoint(config), **({} if passes else {"passes": ()}))
    rng = np.random.default_rng(5)
    movies = [movie_of(config, int(n), i) for i, n in enumerate((1, 5, 33, 33, 200, 90))]
    excerpts, expected = [], []
    for movie, whole in zip(movies, logits_of(backend, movies), strict=True):
        first = int(rng.integers(0, len(whole)))
        last = int(rng.integers(first + 1, len(whole) + 1))
        excerpts.append(Excerpt(movie, first, last))
        expected.append(whole[first:last])
    for got, own in zip(window_logits(backend, excerpts), expected, strict=True):
        assert np.array_equal(got, own)
    assert window_logits(backend, []) == []


def test_a_cache_holds_the_last_shots_whatever_windows_were_asked_for() -> None:
    """Also shots that no window saw: before the first one asked for, and far behind the last."""
    config = small_config(max_length=7)
    backend = native(random_checkpoint(config))
    movie = movie_of(config, 240)
    (whole,) = logits_of(backend, [movie])
    for first, last, end in [(0, 1, 5), (4, 5, 5), (0, 1, 100), (99, 100, 100), (30, 110, 200), (150, 200, 200)]:
        kept = backend.new_cache()
        window_logits(backend, [Excerpt(rows(movie, 0, end), first, last, kept)])
        held = min(6, end)
        assert kept.shots == held
        centre = end - 3 - (end - held)  # the first window that sees shots to come
        (logits,) = window_logits(backend, [Excerpt(rows(movie, end, 240), centre, held + 240 - end, kept)])
        assert np.array_equal(logits, whole[end - 3 :])
        assert kept.shots == 6


def test_a_pushed_shot_is_the_only_one_given_and_memory_is_constant() -> None:
    """All that a window needs of earlier shots comes from the cache: their features are not there any more."""
    config = small_config(max_length=17)
    backend = native(random_checkpoint(config))
    movie = movie_of(config, 60)
    kept = backend.new_cache()
    size = kept.nbytes
    assert kept.shots == 0
    # A projection and a table of queries, keys and values in float32, of each of the two modalities.
    assert 16 * 2 * 4 * config.hidden_size * 4 <= size < 16 * 2 * 4 * config.hidden_size * 4 + 64
    (logits,) = window_logits(backend, [Excerpt(rows(movie, 0, 16), 0, 8, kept)])
    got = [logits]
    for shot in range(16, 60):
        (one,) = window_logits(backend, [Excerpt(rows(movie, shot, shot + 1), 8, 9, kept)])
        got.append(one)
        assert (kept.shots, kept.nbytes) == (16, size)
    got += window_logits(backend, [Excerpt(rows(movie, 60, 60), 8, 16, kept)])
    assert np.array_equal(np.concatenate(got), logits_of(backend, [movie])[0])


def test_programs_that_read_features_window_by_window_keep_nothing() -> None:
    assert native(random_checkpoint(small_config()), passes=()).new_cache() is None
    assert native(random_checkpoint(small_config("act"))).new_cache() is None
    assert native(random_checkpoint(small_config())).new_cache() is not None


def test_misuse_is_refused_and_leaves_caches_as_they_were() -> None:
    config = small_config()
    backend, other = native(random_checkpoint(config)), native(random_checkpoint(config))
    movie = movie_of(config, 9)
    kept, foreign = backend.new_cache(), other.new_cache()
    window_logits(backend, [Excerpt(rows(movie, 0, 4), 0, 2, kept)])
    none = rows(movie, 0, 0)
    for match, bad in [
        ("of its own", [Excerpt(movie, 0, 1, kept), Excerpt(movie, 0, 1, kept)]),
        ("of this model", [Excerpt(movie, 0, 1, foreign)]),
        ("first < last", [Excerpt(movie, 0, 0, kept)]),
        ("first < last", [Excerpt(movie, -1, 1, kept)]),
        ("first < last", [Excerpt(movie, 3, 2, kept)]),
        ("first < last <= 13 .* last 14", [Excerpt(movie, 0, 14, kept)]),
        ("first < last <= 9", [Excerpt(movie, 0, 10)]),
        ("from 1 to", [Excerpt(none, 0, 1)]),
        ("from 1 to", [Excerpt(none, 0, 1, backend.new_cache())]),
        ("features", [Excerpt([movie[0], movie[1][:3]], 0, 1, kept)]),
        ("features", [Excerpt([movie[0], movie[1][:, :2]], 0, 1, kept)]),
        ("features", [Excerpt(movie[:1], 0, 1, kept)]),
    ]:
        with pytest.raises(ValueError, match=match):
            window_logits(backend, bad)
    with pytest.raises(TypeError):
        window_logits(backend, [Excerpt(movie, 0, 1, object())])
    with pytest.raises(TypeError):
        window_logits(backend, [Excerpt([array.astype(np.float64) for array in movie], 0, 1)])
    assert (kept.shots, foreign.shots) == (4, 0)
    (logits,) = window_logits(backend, [Excerpt(rows(movie, 4, 9), 2, 9, kept)])
    assert np.array_equal(logits, logits_of(backend, [movie])[0][2:])


def test_an_act_model_has_no_windows() -> None:
    config = small_config("act")
    backend = native(random_checkpoint(config))
    movie = movie_of(config, 9)
    with pytest.raises(ValueError, match="whole movie"):
        window_logits(backend, [Excerpt(movie, 0, 8)])
    assert np.array_equal(window_logits(backend, [Excerpt(movie, 0, 9)])[0], logits_of(backend, [movie])[0])


def test_a_cache_outlives_the_engine_that_made_it() -> None:
    kept = native(random_checkpoint(small_config())).new_cache()
    assert kept.shots == 0
    other = native(random_checkpoint(small_config()))
    with pytest.raises(ValueError, match="of this model"):
        window_logits(other, [Excerpt(movie_of(small_config(), 3), 0, 1, kept)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_it_is_an_error() -> None:
    config = small_config()
    backend = native(random_checkpoint(config), num_threads=2)
    kept = backend.new_cache()
    excerpt = Excerpt(movie_of(config, 9), 0, 4, kept)
    window_logits(backend, [excerpt])

    def child() -> int:
        with pytest.raises(UnsupportedError):
            window_logits(backend, [excerpt])
        return kept.shots

    assert status_of_fork(child) == 4


def test_the_default_type_of_this_target_streams() -> None:
    """What an engine takes by itself, with all defaults."""
    config = small_config(max_length=9)
    assert native_compute_type("auto", TARGET) in TYPES
    play(native(random_checkpoint(config), "auto"), [movie_of(config, 44, i) for i in range(4)], 1, most=4)
