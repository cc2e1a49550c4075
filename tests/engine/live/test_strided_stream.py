"""Scene models of encoders of shots, live: decisions of the whole movie, through snapshots and the scheduler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shot_encoders import SCENE, Config, contextualizer, film, long_range, parts, scene_encoder
from support import random_checkpoint, small_config

from megaseg import Engine
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.live.scheduler import Scheduler
from megaseg.engine.live.state import Event
from megaseg.errors import FeatureError, UnsupportedError

CONFIGS = (
    contextualizer(**SCENE),
    long_range(**SCENE),
    scene_encoder(**SCENE),
    contextualizer(max_length=1, step=1, **SCENE),
)
RNG = np.random.default_rng(6)


def engine_of(config: Config) -> Engine:
    return Engine.from_checkpoint(random_checkpoint(config))


def timed(pushes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    at, found = 0, []
    for own in pushes:
        shots = len(own["video"])
        found.append({**own, "times": np.arange(at, at + shots)[:, None] * 10 + [0, 10], "time_base": "1/24"})
        at += shots
    return found


def expect_equal(engine: Engine, movie: dict[str, np.ndarray], events: list[Event], **decision: Any) -> None:
    whole = engine.segment(movie, **decision)
    assert [event.shot for event in events] == list(range(whole.num_shots))
    assert all(event.final for event in events)
    assert np.array_equal(np.array([event.score for event in events], np.float32), whole.scores)
    assert [event.shot for event in events if event.boundary] == whole.boundaries.tolist()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.family}-{config.max_length}")
def test_a_stream_equals_the_whole_movie(config: Config) -> None:
    engine = engine_of(config)
    for shots in (1, 2, config.max_length, config.max_length + 1, 45):
        movie = film(config, shots)
        for most in (2, 10, 60):
            stream = engine.stream(threshold=0.4)
            events = [event for own in parts(movie, RNG, most) for event in stream.push(own)]
            expect_equal(engine, movie, [*events, *stream.close()], threshold=0.4)
            assert stream.segmentation().to_json() == engine.segment(movie, threshold=0.4).to_json()
            assert stream.close() == ()


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("config", CONFIGS[:3], ids=lambda config: config.family)
def test_a_snapshot_goes_on_in_another_engine(config: Config, history: bool) -> None:
    engines = [engine_of(config), engine_of(config)]
    movie = film(config, 41)
    stream, events = engines[0].stream(history=history), []
    for count, own in enumerate(timed(parts(movie, RNG, 4))):
        stream = engines[count % 2].resume(stream.snapshot())
        events += stream.push(own)
    events += engines[0].resume(stream.snapshot()).close()
    expect_equal(engines[1], movie, events)
    assert [event.start_ticks for event in events] == list(range(0, 410, 10))
    stream.close()
    assert engines[1].resume(stream.snapshot()).close() == ()


def test_acts_of_the_shots_so_far() -> None:
    config = contextualizer(**SCENE)
    act = small_config("act", modalities=(Modality("audio", 5),), num_classes=5)
    engine, acts = engine_of(config), Engine.from_checkpoint(random_checkpoint(act))
    movie = film(config, 20)
    stream = engine.stream(acts=acts)
    for own in parts(movie, RNG, 6):
        stream.push(own)
    stream.close()
    assert stream.acts().segmentation.to_json() == acts.segment({"audio": movie["audio"]}).to_json()


@pytest.mark.parametrize("config", CONFIGS[:3], ids=lambda config: config.family)
def test_a_stream_without_a_modality_reads_zeros(config: Config) -> None:
    engine = engine_of(config)
    movie = {"video": film(config, 20)["video"]}
    stream = engine.stream()
    events = [event for own in parts(movie, RNG, 6) for event in stream.push(own)]
    expect_equal(engine, movie, [*events, *stream.close()])
    with pytest.raises(FeatureError, match="expected at least one of the modalities"):
        engine.stream().push({"colour": movie["video"]})


def test_provisional_decisions_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="provisional: expected a model of windows around each shot, got family"):
        engine_of(CONFIGS[0]).stream(provisional=True)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.family}-{config.max_length}")
@pytest.mark.parametrize("most", [1, 3, 64])
def test_a_scheduler_gives_the_same(config: Config, most: int) -> None:
    engine = engine_of(config)
    movies = [film(config, shots) for shots in (1, 9, 45)]
    with Scheduler(engine, max_batch_size=most) as scheduler:
        asked = [scheduler.submit(movie) for movie in movies]
        outputs = [scheduler.submit_outputs(movie, ("embedding",)) for movie in movies]
        streams = [scheduler.stream() for _ in movies]
        events = [
            [event for own in parts(movie, RNG, 8) for event in stream.push(own)] + list(stream.close())
            for stream, movie in zip(streams, movies, strict=True)
        ]
        for movie, result, output, own in zip(movies, asked, outputs, events, strict=True):
            assert result.result().to_json() == engine.segment(movie).to_json()
            assert np.array_equal(output.result()["embedding"], engine.embed(movie))
            expect_equal(engine, movie, own)


def test_pushes_that_do_not_wait_for_each_other() -> None:
    """Shots come while windows run; each decision comes once, also those that need no window of their own."""
    config = contextualizer(max_length=9, step=9, **SCENE)
    engine = engine_of(config)
    movie = film(config, 70)
    with Scheduler(engine) as scheduler:
        stream = scheduler.stream()
        futures = [stream.submit(own) for own in parts(movie, RNG, 4)]
        events = [event for future in (*futures, stream.submit_close()) for event in future.result()]
        expect_equal(engine, movie, events)
        snapshot = scheduler.stream()
        for own in parts(movie, RNG, 4)[:5]:
            snapshot.push(own)
        assert engine.resume(snapshot.snapshot()).num_shots == snapshot.num_shots


def test_outputs_of_a_scheduler() -> None:
    config = long_range()
    engine = engine_of(config)
    movie = film(config, 30)
    names = ("cross.audio", "context.video", "embedding")
    with Scheduler(engine) as scheduler:
        both = [scheduler.submit_outputs(movie, names[:1]), scheduler.submit_outputs(movie, names)]
        whole = engine.outputs(movie, names)
        for asked, future in zip((names[:1], names), both, strict=True):
            found = future.result()
            assert tuple(found) == asked
            assert all(np.array_equal(found[name], whole[name]) for name in asked)
        with pytest.raises(UnsupportedError, match="outputs: expected some of context.video, .*, got 'logits'"):
            scheduler.submit_outputs(movie, ("logits",))
        with pytest.raises(FeatureError, match="expected at least one of the modalities"):
            scheduler.submit_outputs({"colour": movie["video"]}, names)
        with pytest.raises(UnsupportedError, match="segment: expected a scene or act model, got one of task embedding"):
            scheduler.submit(movie)
    mega = Engine.from_checkpoint(random_checkpoint(small_config()))
    with Scheduler(mega, max_batch_size=4) as scheduler:
        rows = {m.name: np.ones((11, m.feature_size), np.float32) for m in mega.config.modalities}
        found = scheduler.submit_outputs(rows, ("logits",)).result()
        assert np.array_equal(found["logits"], mega.logits(rows))
