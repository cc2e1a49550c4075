"""Streams: what they say as shots come equals the whole movie's segmentation, through snapshots too."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support import odd_config, random_checkpoint, random_features, small_config

from megaseg import Engine, Features
from megaseg.engine.live.stream import Event, Stream
from megaseg.errors import FeatureError, UnsupportedError

RNG = np.random.default_rng(41)


def engine_of(config: Any, backend: str = "native", **options: Any) -> Engine:
    if backend != "native":
        pytest.importorskip({"torch": "torch", "onnx": "onnxruntime"}[backend])
    return Engine.from_checkpoint(random_checkpoint(config), backend=backend, **options)


def parts(movie: dict[str, np.ndarray], rng: np.random.Generator, most: int = 9) -> list[dict[str, np.ndarray]]:
    """The movie cut into pushes of random sizes."""
    shots, cuts = len(next(iter(movie.values()))), [0]
    while cuts[-1] < shots:
        cuts.append(min(shots, cuts[-1] + int(rng.integers(1, most))))
    return [{name: rows[a:b] for name, rows in movie.items()} for a, b in itertools.pairwise(cuts)]


def finals(events: list[Event]) -> list[Event]:
    return [event for event in events if event.final]


def expect_equal(engine: Engine, movie: dict[str, np.ndarray], events: list[Event], **decision: Any) -> None:
    whole = engine.segment(movie, **decision)
    final = finals(events)
    assert [event.shot for event in final] == list(range(whole.num_shots))
    assert np.array_equal(np.array([event.score for event in final], np.float32), whole.scores)
    assert [event.shot for event in final if event.boundary] == whole.boundaries.tolist()


@pytest.mark.parametrize("length", [1, 3, 5, 17])
@pytest.mark.parametrize("provisional", [False, True])
def test_a_stream_equals_the_whole_movie(length: int, provisional: bool) -> None:
    engine = engine_of(small_config(max_length=length))
    for shots in (1, 2, length, 2 * length + 3, 70):
        movie = random_features(engine.config, shots, shots)
        stream = engine.stream(threshold=0.4, provisional=provisional)
        events = [event for part in parts(movie, RNG) for event in stream.push(part)] + list(stream.close())
        expect_equal(engine, movie, events, threshold=0.4)
        assert stream.segmentation().to_json() == engine.segment(movie, threshold=0.4).to_json()


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize("length", [1, 7])
def test_other_backends_run_the_windows_that_are_new(backend: str, length: int) -> None:
    engine = engine_of(small_config(max_length=length), backend)
    movie = random_features(engine.config, 40)
    stream = engine.stream(provisional=True)
    events = [event for part in parts(movie, RNG) for event in stream.push(part)] + list(stream.close())
    assert [event.shot for event in finals(events)] == list(range(40))
    np.testing.assert_allclose([e.score for e in finals(events)], engine.segment(movie).scores, atol=2e-6)


@pytest.mark.parametrize("seed", range(0, 18, 3))
@pytest.mark.parametrize("passes", [True, False])
def test_odd_models(seed: int, passes: bool) -> None:
    engine = engine_of(odd_config(seed), passes=passes)
    movie = random_features(engine.config, 37, seed)
    stream = engine.stream()
    events = [event for part in parts(movie, RNG, 40) for event in stream.push(part)] + list(stream.close())
    expect_equal(engine, movie, events)


def test_a_decision_is_final_after_the_look_ahead_and_not_before() -> None:
    engine = engine_of(small_config(max_length=17))
    movie = random_features(engine.config, 30)
    stream = engine.stream()
    for shot in range(30):
        events = stream.push({name: rows[shot : shot + 1] for name, rows in movie.items()})
        assert [event.shot for event in events] == ([shot - 8] if shot >= 8 else [])
    assert [event.shot for event in stream.close()] == list(range(22, 30))
    assert stream.close() == ()
    with pytest.raises(FeatureError, match="closed"):
        stream.push(movie)


def test_provisional_decisions_are_those_of_a_movie_that_ends_there() -> None:
    engine = engine_of(small_config(max_length=7))
    movie = random_features(engine.config, 12)
    stream = engine.stream(provisional=True)
    for shot in range(12):
        *_, last = stream.push({name: rows[shot : shot + 1] for name, rows in movie.items()})
        so_far = engine.segment({name: rows[: shot + 1] for name, rows in movie.items()})
        assert (last.shot, last.final, np.float32(last.score)) == (shot, False, so_far.scores[shot])
    assert all(event.final for event in stream.close())


def test_features_are_copied() -> None:
    engine = engine_of(small_config())
    movie = random_features(engine.config, 20)
    stream, buffer = engine.stream(), {name: np.empty_like(rows[:1]) for name, rows in movie.items()}
    events = []
    for shot in range(20):
        for name, rows in movie.items():
            buffer[name][:] = rows[shot]
        events += stream.push(buffer)
    expect_equal(engine, movie, events + list(stream.close()))


def test_times_come_back_with_events() -> None:
    engine = engine_of(small_config())
    movie = random_features(engine.config, 9)
    times = np.arange(9)[:, None] * 10 + np.array([0, 10])
    stream = engine.stream(time_base="1/24")
    events = []
    for part, own in zip(np.split(np.arange(9), [4, 7]), np.split(times, [4, 7]), strict=True):
        events += stream.push({name: rows[part] for name, rows in movie.items()}, times=own)
    events += stream.close()
    assert [(event.start_ticks, event.end_ticks) for event in events] == [tuple(row) for row in times.tolist()]
    expected = engine.segment({**movie, "times": times, "time_base": "1/24"})
    assert stream.segmentation().to_json() == expected.to_json()


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("timed", [True, False])
def test_a_snapshot_goes_on_in_another_engine(history: bool, timed: bool) -> None:
    config = small_config(max_length=7)
    engines = [engine_of(config), engine_of(config)]
    movie = random_features(config, 41)
    times = np.arange(41)[:, None] * 5 + np.array([0, 5])
    given = {**movie, "times": times, "time_base": "1/30"} if timed else movie
    stream, events = engines[0].stream(history=history, provisional=True), []
    for count, part in enumerate(parts({k: v for k, v in given.items() if k != "time_base"}, RNG, 4)):
        stream = engines[count % 2].resume(stream.snapshot())
        events += stream.push({**part, "time_base": "1/30"} if timed else part)
    stream = engines[0].resume(stream.snapshot())
    events += stream.close()
    expect_equal(engines[1], movie, events)
    closed = engines[1].resume(stream.snapshot())
    assert closed.close() == ()
    if history:
        assert closed.segmentation().to_json() == engines[0].segment(given).to_json()
    else:
        with pytest.raises(FeatureError, match="history"):
            closed.segmentation()


def test_a_snapshot_of_another_model_or_damaged_is_refused() -> None:
    engine, other = engine_of(small_config()), engine_of(small_config(max_length=7))
    stream = engine.stream()
    stream.push(random_features(engine.config, 9))
    snapshot = stream.snapshot()
    with pytest.raises(FeatureError, match="another"):
        other.resume(snapshot)
    for length in range(0, len(snapshot), 7):
        with pytest.raises(FeatureError, match="snapshot"):
            engine.resume(snapshot[:length])
    for at in RNG.integers(0, len(snapshot), 400):
        damaged = bytearray(snapshot)
        damaged[at] ^= 1 << int(RNG.integers(8))
        with pytest.raises(FeatureError, match="snapshot"):
            engine.resume(bytes(damaged))


def test_acts_of_a_live_stream() -> None:
    scene = engine_of(small_config())
    act = engine_of(small_config("act", modalities=(*scene.config.modalities[:1], *odd_config(1).modalities[:1])))
    movie = {**random_features(scene.config, 30), **random_features(act.config, 30, 7)}
    own = {modality.name: movie[modality.name] for modality in act.config.modalities}
    stream = scene.stream(acts=act)
    with pytest.raises(FeatureError, match="no shot"):
        stream.acts()
    for end, part in zip((10, 20, 30), np.split(np.arange(30), 3), strict=True):
        stream.push({name: rows[part] for name, rows in movie.items()})
        live = stream.acts()
        assert live.provisional
        assert live.segmentation.to_json() == act.segment({k: v[:end] for k, v in own.items()}).to_json()
    again = scene.resume(stream.snapshot(), acts=act)
    again.close()
    assert not again.acts().provisional
    assert again.acts().segmentation.to_json() == act.segment(own).to_json()
    with pytest.raises(FeatureError, match="acts differs"):
        scene.resume(stream.snapshot())


def test_misuse() -> None:
    scene, act = engine_of(small_config()), engine_of(small_config("act"))
    movie = random_features(scene.config, 6)
    with pytest.raises(UnsupportedError, match="scene model"):
        act.stream()
    with pytest.raises(UnsupportedError, match="act model"):
        scene.stream(acts=scene)
    snapshot = scene.stream().snapshot()
    for none in (1, "screenplay-acts", act.config):
        for call in (scene.stream, lambda acts: scene.resume(snapshot, acts=acts)):
            with pytest.raises(UnsupportedError, match=f"acts: expected the engine .* got {type(none).__name__}"):
                call(acts=none)
    with pytest.raises(UnsupportedError, match="act model"):
        scene.stream().acts()
    blocks, scenes = engine_of(small_config(recipe="blocks/1")), engine_of(small_config("act", recipe="scenes/1"))
    with pytest.raises(FeatureError, match="acts: the checkpoints read different features, blocks/1 and scenes/1"):
        blocks.stream(acts=scenes)
    assert scene.stream(acts=scenes).num_shots == 0
    for threshold in (1.5, float("nan"), "0.5"):
        with pytest.raises(FeatureError, match="threshold: expected"):
            scene.stream(threshold=threshold)
    for time_base in ("a tick", "1/0", float("nan"), (1, 0), 0.04):
        with pytest.raises(FeatureError, match="time_base: expected"):
            scene.stream(time_base=time_base)
    stream = scene.stream(time_base=Fraction(1, 25))
    with pytest.raises(FeatureError, match="no shot"):
        stream.segmentation()
    assert stream.close() == ()
    stream = scene.stream(time_base=Fraction(1, 25))
    stream.push(movie)
    with pytest.raises(FeatureError, match="times"):
        stream.push(movie, times=np.zeros((6, 2), np.int64))
    for wrong in ({}, {"clip": movie["clip"]}, {**movie, "smell": movie["clip"]}, {**movie, "clip": movie["audio"]}):
        before = stream.num_shots
        with pytest.raises(FeatureError):
            stream.push(wrong)
        assert stream.num_shots == before
    late = scene.stream(time_base="1/25")
    late.push(movie, times=np.full((6, 2), 9))
    with pytest.raises(FeatureError, match="rising"):
        late.push(movie, times=np.full((6, 2), 8))
    assert isinstance(late, Stream)
    assert late.num_shots == 6
    late.push(Features(movie, np.full((6, 2), 9), Fraction(1, 25)))
    assert late.num_shots == 12
