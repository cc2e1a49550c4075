"""Checked int8: float32's decisions however a movie is cut, and what happens to one that the margin does not fit."""

from __future__ import annotations

import dataclasses
import itertools
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shot_encoders import SCENE, contextualizer, film, long_range, scene_encoder
from support import random_checkpoint, random_features, small_config

from megaseg import _C, Engine, Features
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.checked import PROBES, Cache, CheckedBackend
from megaseg.engine.backends.native.margin import errors
from megaseg.engine.backends.protocol import LOGITS, Check, Excerpt, Rows
from megaseg.engine.live.scheduler import Scheduler
from megaseg.engine.model.checkpoint import save_checkpoint
from megaseg.engine.model.config import ModelConfig
from megaseg.errors import FeatureError, ResourceLimitError, UnsupportedError
from megaseg.evaluation.scene import boundary_scores

CONFIG = small_config(max_length=7)
MARGIN = 0.2
Movie = dict[str, np.ndarray]
needs_int8 = pytest.mark.skipif("int8" not in _C.compute_types(_C.target()), reason="no int8 products here")


class Wrong:
    """Float32 with errors that depend on a row's logits alone: up to ``most``, towards the threshold where that hurts.

    From row ``later`` on, told by a modality's first column, errors are up to ``far``.
    """

    def __init__(self, exact: NativeBackend, most: float, far: float = 0.0) -> None:
        self._exact, self._most, self._far = exact, most, far
        self.fail = False

    def run(self, excerpts: Sequence[Excerpt], outputs: Sequence[str] = (LOGITS,)) -> list[Rows]:
        if self.fail:
            raise FeatureError("features of movie 0: they overflow")
        found = []
        for excerpt, rows in zip(excerpts, self._exact.run(excerpts, outputs), strict=True):
            logits = rows[outputs.index(LOGITS)]
            digests = np.array([zlib.crc32(row.tobytes()) for row in logits])
            share = np.where(digests % 3 == 0, (digests % 1000) / 1000 * 2 - 1, -np.sign(logits[:, 1] - logits[:, 0]))
            late = digests % 97 == 0
            error = share * np.where(late & (self._far > 0), self._far, self._most)
            wrong = logits + (error[:, None] * np.resize([-0.999, 0.999], logits.shape[1])).astype(np.float32)
            found.append(tuple(wrong if name == LOGITS else own for name, own in zip(outputs, rows, strict=True)))
            assert excerpt.last - excerpt.first == len(logits)
        return found

    def new_cache(self) -> Any:
        return self._exact.new_cache()

    def describe(self) -> dict[str, Any]:
        return self._exact.describe()


def engines(config: ModelConfig, *levels: tuple[float, float, float], seed: int = 0) -> tuple[Engine, Engine]:
    """A checked engine of float32 and wrong backends: each level's error, far error and margin; and float32 alone."""
    exact = Engine.from_checkpoint(random_checkpoint(config, seed), compute_type="float32", num_threads=1)
    backend: Any = exact.backend
    for most, far, margin in reversed(levels):
        backend = CheckedBackend(config, Wrong(exact.backend, most, far), backend, margin)
    return Engine(config, backend), exact


def movie_of(shots: int, seed: int, config: ModelConfig = CONFIG) -> Movie:
    return random_features(config, shots, seed)


def pushed(stream: Any, movie: Movie, rng: np.random.Generator, most: int = 30) -> list[Any]:
    events, at, total = [], 0, len(movie["clip"])
    while at < total:
        step = int(rng.integers(1, most))
        events += stream.push({name: rows[at : at + step] for name, rows in movie.items()})
        at += step
    return events


LEVELS = {
    "within": ((MARGIN / 2, 0.0, MARGIN),),
    "far": ((MARGIN / 2, 0.9 * MARGIN, MARGIN),),
    "three types": ((MARGIN / 2, 0.9 * MARGIN, MARGIN), (0.03, 0.05, 0.06)),
}


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), shots=st.integers(1, 300), threshold=st.floats(0.2, 0.8))
def test_boundaries_are_exact_and_bits_the_same_however_a_movie_is_cut(
    levels: tuple[tuple[float, float, float], ...], seed: int, shots: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    checked, exact = engines(CONFIG, *levels)
    movie = movie_of(shots, seed)
    found = checked.segment(movie, threshold=threshold)
    assert found.boundaries.tolist() == exact.segment(movie, threshold=threshold).boundaries.tolist()
    stream = checked.stream(threshold=threshold, provisional=bool(seed % 2))
    events = [event for event in pushed(stream, movie, rng) if event.final] + list(stream.close())
    assert np.array_equal(np.array([event.score for event in events], np.float32), found.scores)
    assert stream.segmentation().to_json() == found.to_json()
    with Scheduler(checked, max_batch_size=int(rng.integers(1, 40))) as scheduler:
        others = [scheduler.submit(movie_of(40, seed + k)) for k in range(2)]
        assert scheduler.segment(movie, threshold=threshold).to_json() == found.to_json()
        assert all(other.result().num_shots == 40 for other in others)
    several = checked.segment_many([movie_of(9, 1), movie, movie], threshold=threshold)
    assert [one.to_json() for one in several[1:]] == [found.to_json()] * 2


def test_an_evaluation_scores_what_segment_gives() -> None:
    checked, exact = engines(CONFIG, *LEVELS["within"])
    movies = {str(seed): Features(movie_of(60, seed)) for seed in range(3)}
    scores = boundary_scores(checked, movies)
    for name, movie in movies.items():
        assert np.array_equal(scores[name], checked.segment(movie).scores)
        assert not np.array_equal(scores[name], exact.segment(movie).scores)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), shots=st.integers(20, 200))
def test_a_resumed_stream_goes_on_with_the_same_bits(seed: int, shots: int) -> None:
    rng = np.random.default_rng(seed)
    checked, _ = engines(CONFIG, *LEVELS["three types"])
    movie, cut = movie_of(shots, seed), int(rng.integers(1, shots))
    first = checked.stream()
    pushed(first, {name: rows[:cut] for name, rows in movie.items()}, rng)
    resumed = checked.resume(first.snapshot())
    pushed(resumed, {name: rows[cut:] for name, rows in movie.items()}, rng)
    resumed.close()
    assert resumed.segmentation().to_json() == checked.segment(movie).to_json()


def test_a_stream_of_several_compute_types_claims_nothing_of_what_was_not_checked() -> None:
    checked, exact = engines(CONFIG, *LEVELS["within"])
    movie = movie_of(60, 1)
    halves = [{name: rows[part] for name, rows in movie.items()} for part in (slice(30), slice(30, None))]
    told = []
    for first, second in ((checked, exact), (exact, checked)):
        stream = first.stream()
        stream.push(halves[0])
        stream = second.resume(stream.snapshot())
        stream.push(halves[1])
        stream.close()
        told.append(stream.segmentation().remarks)
    (remark,) = told[0]
    assert re.fullmatch(r"int8_checked: \d+ of the first 27 shots ran again; the other 33 are of another .*", remark)
    assert told[1] == ()
    hopeless, _ = engines(CONFIG, (50 * MARGIN, 0.0, MARGIN))
    longer, first = movie_of(100, 1), exact.stream()
    first.push({name: rows[:30] for name, rows in longer.items()})
    stream = hopeless.resume(first.snapshot())
    stream.push({name: rows[30:] for name, rows in longer.items()})
    stream = hopeless.resume(stream.snapshot())  # in doubt from shot 64 on, and still a snapshot
    stream.close()
    assert np.array_equal(stream.segmentation().scores[65:], exact.segment(longer).scores[65:])


def test_scores_compete_exactly_where_scenes_have_a_length_or_a_number() -> None:
    checked, exact = engines(CONFIG, (MARGIN / 2, 0.0, MARGIN))
    for seed in range(4):
        movie = movie_of(150, seed)
        for decision in ({"min_scene_length": 4}, {"num_scenes": 20}, {"locked": (3, 50), "barred": (9,)}):
            found, expected = checked.segment(movie, **decision), exact.segment(movie, **decision)
            assert found.boundaries.tolist() == expected.boundaries.tolist(), decision
    assert np.array_equal(checked.segment(movie, num_scenes=9).scores, exact.segment(movie).scores)


def test_a_movie_goes_on_in_float32_after_an_error_near_the_margin() -> None:
    checked, exact = engines(CONFIG, (0.9 * MARGIN, 0.0, MARGIN))
    movie = movie_of(120, 3)
    found, expected = checked.segment(movie), exact.segment(movie)
    first = int(PROBES[0])  # the first row that is certain to be tested
    assert np.array_equal(found.scores[first + 1 :], expected.scores[first + 1 :])
    (remark,) = found.remarks
    assert "because int8 was too far off" in remark
    assert "of 120 shots ran again" in remark
    assert "for that run's decision alone" in found.redecide(threshold=0.9).remarks[0]
    own = checked.describe()["checked"][0]
    assert own["doubt"] == 1
    assert own["largest_error"] > 2 / 3 * MARGIN
    far, _ = engines(CONFIG, (50 * MARGIN, 0.0, MARGIN))  # hopeless, and found at the first probe
    assert np.array_equal(far.segment(movie).scores[first + 1 :], expected.scores[first + 1 :])


def test_what_is_no_decision_is_float32() -> None:
    checked, exact = engines(CONFIG, (MARGIN / 2, 0.0, MARGIN))
    movie = movie_of(50, 0)
    assert np.array_equal(checked.logits(movie), exact.logits(movie))
    assert np.array_equal(checked.outputs(movie)["logits"], exact.outputs(movie)["logits"])
    own, other = checked.explain(movie), exact.explain(movie)
    assert np.array_equal(own.segmentation.scores, other.segmentation.scores)
    assert own.segmentation.remarks == ()
    assert not np.array_equal(checked.segment(movie).scores, exact.segment(movie).scores)
    with Scheduler(checked) as scheduler:
        futures = [scheduler.submit_outputs(movie, ["logits"]), scheduler.submit(movie)]
        assert np.array_equal(futures[0].result()["logits"], exact.logits(movie))
        assert futures[1].result().to_json() == checked.segment(movie).to_json()


@pytest.mark.parametrize("config", [contextualizer(**SCENE), long_range(**SCENE), scene_encoder(**SCENE)], ids=str)
def test_windows_that_overlap_run_again_whole(config: Any) -> None:
    checked, exact = engines(config, (MARGIN / 2, 0.0, MARGIN))
    movie = film(config, 45)
    found = checked.segment(movie, threshold=0.4)
    assert found.boundaries.tolist() == exact.segment(movie, threshold=0.4).boundaries.tolist()
    stream = checked.stream(threshold=0.4)
    stream.push(movie)
    stream.close()
    assert stream.segmentation().to_json() == found.to_json()
    with Scheduler(checked, max_batch_size=3) as scheduler:
        assert scheduler.segment(movie, threshold=0.4).to_json() == found.to_json()


def test_turning_points_are_exact_and_movies_that_are_sure_run_once() -> None:
    config = small_config("act")
    for margin in (1e-4, 1.0):
        checked, exact = engines(config, (margin / 2, 0.0, margin))
        for seed in range(5):
            movie = random_features(config, 40, seed)
            found, expected = checked.segment(movie), exact.segment(movie)
            assert [point.shot for point in found.turning_points] == [point.shot for point in expected.turning_points]
        own = checked.describe()["checked"][0]
        assert own["rows"] == 200, own
        assert (own["again"] < 200) == (margin < 1), own
    pooled = Engine(config, checked.backend, "pool")
    movie = random_features(config, 70)
    expected = Engine(config, exact.backend, "pool").segment(movie)
    assert np.array_equal(pooled.segment(movie).scores, expected.scores)


def test_a_run_that_fails_leaves_no_trace() -> None:
    """Its cache is empty, its counts are as before, and its rows run again give the same bits."""
    checked, _ = engines(CONFIG, (MARGIN / 2, 0.0, MARGIN))
    backend, movie = checked.backend, movie_of(60, 2)
    assert isinstance(backend, CheckedBackend)
    backend._exact, exact = Wrong(backend._exact, 0.0), backend._exact  # type: ignore[arg-type]
    stream = checked.stream()
    stream.push({name: rows[:10] for name, rows in movie.items()})
    backend._exact.fail = True  # type: ignore[attr-defined]
    with pytest.raises(FeatureError, match="overflow"):
        stream.push({name: rows[10:] for name, rows in movie.items()})
    backend._exact = exact
    stream.close()
    assert stream.segmentation().to_json() == checked.segment(movie).to_json()


def test_a_doubt_of_a_run_that_fails_is_found_again() -> None:
    """A snapshot after the failure is whole, and the movie in doubt is counted once, when its rows are given."""
    checked, _ = engines(CONFIG, (50 * MARGIN, 0.0, MARGIN))
    backend, movie = checked.backend, movie_of(60, 2)
    assert isinstance(backend, CheckedBackend)
    exact = backend._exact

    class FailsSecond:
        calls = 0

        def run(self, *asked: Any) -> list[Rows]:
            self.calls += 1
            if self.calls > 1:
                raise MemoryError
            return exact.run(*asked)

    backend._exact = FailsSecond()  # type: ignore[assignment]
    stream = checked.stream()
    with pytest.raises(MemoryError):
        stream.push(movie)
    backend._exact = exact
    stream = checked.resume(stream.snapshot())
    stream.close()
    assert stream.segmentation().to_json() == checked.segment(movie).to_json()
    own = backend.describe()["checked"][0]
    assert (own["rows"], own["doubt"]) == (120, 2)


def test_provisional_decisions_of_a_movie_in_doubt_are_float32() -> None:
    checked, exact = engines(CONFIG, (50 * MARGIN, 0.0, MARGIN))
    movie = movie_of(60, 3)
    told = []
    for engine in (checked, exact):
        stream = engine.stream(provisional=True)
        events = [stream.push({name: rows[at : at + 10] for name, rows in movie.items()}) for at in range(0, 60, 10)]
        told.append([event for event in itertools.chain(*events) if not event.final])
    late = [(a, b) for a, b in zip(*told, strict=True) if a.shot >= 30]  # shot 16 is the first to be tested
    assert len(late) > 5
    assert all(a == b for a, b in late)


def test_counts_are_of_what_was_checked_whatever_shares_the_run() -> None:
    checked, _ = engines(CONFIG, *LEVELS["within"])
    plain = Excerpt.whole(list(movie_of(30, 0).values()))
    asked = dataclasses.replace(plain, check=Check(lambda logits, margin: np.zeros(len(logits), np.bool_)), row=0)
    checked.backend.run([asked])
    own = checked.backend.describe()["checked"][0]
    assert (own["rows"], own["again"]) == (30, 1)  # shot 16
    checked.backend.run([asked, plain])
    own = checked.backend.describe()["checked"][0]
    assert (own["rows"], own["again"]) == (60, 2)


def test_caches_are_this_models_own() -> None:
    checked, _ = engines(CONFIG, (MARGIN / 2, 0.0, MARGIN))
    rows = list(movie_of(9, 0).values())
    cache = checked.backend.new_cache()
    assert isinstance(cache, Cache)
    assert cache.shots == 0
    with pytest.raises(ValueError, match="cache"):
        checked.backend.run([Excerpt(rows, 0, 1, object())])
    ((logits,),) = checked.backend.run([Excerpt(rows, 0, 4, cache)])  # no check: exact
    assert np.array_equal(logits, Engine(CONFIG, checked.backend).logits(movie_of(9, 0))[:4])
    assert cache.shots == 6
    assert cache.nbytes > 6 * 20 * 4


@needs_int8
@pytest.mark.parametrize("config", [CONFIG, small_config("act"), contextualizer(**SCENE)], ids=lambda own: own.family)
def test_int8_with_its_own_margin(config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGASEG_CACHE", str(tmp_path / "kept"))
    save_checkpoint(path := tmp_path / "model.safetensors", random_checkpoint(config))
    checked, exact = (Engine.from_checkpoint(path, compute_type=kind) for kind in ("int8_checked", "float32"))
    for seed in range(3):
        movie = film(config, 40, seed) if config.family == "contextualizer" else random_features(config, 40, seed)
        assert checked.segment(movie).boundaries.tolist() == exact.segment(movie).boundaries.tolist()
    own = checked.describe()
    assert own["compute_type"] == "int8_checked"
    assert own["weight_bytes"] > exact.describe()["weight_bytes"]
    margin = own["checked"][0]["margin"]
    assert 0 < margin < 1
    assert own["checked"][0]["largest_error"] <= margin
    (kept,) = (tmp_path / "kept").glob("*-int8.margin.json")
    for text in ("{", '{"margin": -1.0}', '{"margin": "a"}', "[]", '{"margin": NaN}'):
        kept.write_text(text)
        again = Engine.from_checkpoint(path, compute_type="int8_checked").describe()
        assert again["checked"][0]["margin"] == margin, text
    monkeypatch.setenv("MEGASEG_CACHE", "")
    assert Engine.from_checkpoint(path, compute_type="int8_checked").describe()["checked"][0]["margin"] == margin


def test_a_target_without_int8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.engine.backends.native.checked.native_target", lambda: "portable")
    with pytest.raises(UnsupportedError, match=r"'int8_checked'.*'portable'.*float32"):
        Engine.from_checkpoint(random_checkpoint(CONFIG), compute_type="int8_checked")


@needs_int8
def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="int8_checked"):
        Engine.from_checkpoint(random_checkpoint(contextualizer()), compute_type="int8_checked")
    with pytest.raises(ResourceLimitError):
        Engine.from_checkpoint(random_checkpoint(CONFIG), compute_type="int8_checked", memory_limit=20_000)
    with pytest.raises(UnsupportedError, match="int8_checked"):
        Engine.from_checkpoint(random_checkpoint(CONFIG), compute_type="int8_checked", backend="onnx")


@needs_int8
def test_a_memory_limit_is_shared_by_the_models() -> None:
    checkpoint, kind, movie = (
        random_checkpoint(CONFIG),
        {"compute_type": "int8_checked", "num_threads": 1},
        movie_of(90, 0),
    )
    free = Engine.from_checkpoint(checkpoint, **kind)  # type: ignore[arg-type]
    weights, workspace = (free.describe()[name] for name in ("weight_bytes", "workspace_bytes"))
    for share in (1.0, 0.6, 0.3):
        limit = int(weights + share * workspace)
        limited = Engine.from_checkpoint(checkpoint, **kind, memory_limit=limit)  # type: ignore[arg-type]
        own = limited.describe()
        assert own["weight_bytes"] + own["workspace_bytes"] <= limit
        assert limited.segment(movie).to_json() == free.segment(movie).to_json()
    with pytest.raises(ResourceLimitError, match=rf"{weights} bytes of weights.* got {weights + 9}$"):
        Engine.from_checkpoint(checkpoint, **kind, memory_limit=weights + 9)  # type: ignore[arg-type]


def test_errors_are_of_what_a_decision_sees() -> None:
    fast, exact = np.array([[1.5, 1.0]], np.float32), np.array([[0.5, 0.2]], np.float32)
    assert errors(CONFIG, fast, exact) == pytest.approx([0.1])
    assert errors(small_config("act"), fast, exact) == pytest.approx([1.0])


def test_a_check_is_asked_once_an_excerpt() -> None:
    checked, _ = engines(CONFIG, (MARGIN / 2, 0.0, MARGIN))
    asked: list[int] = []

    def unsure(logits: np.ndarray, margin: float) -> np.ndarray:
        asked.append(len(logits))
        return np.zeros(len(logits), np.bool_)

    excerpt = dataclasses.replace(Excerpt.whole(list(movie_of(30, 0).values())), check=Check(unsure))
    checked.backend.run([excerpt, excerpt])
    assert asked == [30, 30]
