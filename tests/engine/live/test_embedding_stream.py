"""Embeddings of shots that come one by one: those of the whole movie, bit for bit, from a bounded number of shots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shot_encoders import Config, contextualizer, film, long_range, movie_encoder, part, parts, scene_encoder
from support import random_checkpoint, small_config

from megaseg import Engine
from megaseg.errors import FeatureError, UnsupportedError

CONFIGS = (
    contextualizer(),
    long_range(),
    long_range("video language"),
    contextualizer(max_length=5, step=5),
    scene_encoder(),
    scene_encoder("video", max_length=1),
    movie_encoder(),
)
RNG = np.random.default_rng(5)


def streamed(engine: Engine, pushes: list[dict[str, np.ndarray]]) -> np.ndarray:
    stream = engine.embed_stream()
    return np.concatenate([*(stream.push(own) for own in pushes), stream.finish()])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.family}-{len(config.modalities)}")
def test_a_stream_equals_the_whole_movie(config: Config) -> None:
    engine = Engine.from_checkpoint(random_checkpoint(config))
    for shots in (1, config.max_length, config.max_length + 1, 41):
        movie = film(config, shots)
        whole = engine.embed(movie)
        for most in (2, 9, 50):
            assert np.array_equal(streamed(engine, parts(movie, RNG, most)), whole)


def test_other_backends_run_the_same_windows() -> None:
    pytest.importorskip("torch")
    engine = Engine.from_checkpoint(random_checkpoint(long_range()), backend="torch")
    movie = film(long_range(), 30)
    np.testing.assert_allclose(streamed(engine, parts(movie, RNG, 9)), engine.embed(movie), atol=2e-5)


def test_modalities_that_are_not_there_and_language_as_rows_of_shots() -> None:
    config = long_range()
    engine = Engine.from_checkpoint(random_checkpoint(config))
    movie = film(contextualizer("video language"), 30)
    movie["language"][[0, 7, 8, 20]] = 0  # no tokens
    movie["video"] = movie["video"].astype(np.float16)
    assert np.array_equal(streamed(engine, parts(movie, RNG, 6)), engine.embed(movie))


def test_rows_come_after_length_less_one_more_shots_at_most_and_few_shots_are_kept() -> None:
    config = long_range()
    engine = Engine.from_checkpoint(random_checkpoint(config))
    movie, stream = film(config, 60), engine.embed_stream()
    for shot in range(60):
        stream.push(part(movie, shot, shot + 1))
        assert stream.num_shots == shot + 1
        assert stream.num_shots - stream.num_final <= config.max_length - 1
        kept = stream._buffer.end - stream._buffer.begin
        assert kept <= config.max_length + config.step
    left = stream.num_shots - stream.num_final
    assert (len(stream.finish()), stream.num_final) == (left, 60)
    long = engine.embed_stream()
    long.push(film(config, 500))
    assert long._buffer.end - long._buffer.begin <= config.max_length + config.step, "also of one long push"


def test_rows_of_centred_windows_come_after_half_a_window_and_few_shots_are_kept() -> None:
    config = scene_encoder()
    engine = Engine.from_checkpoint(random_checkpoint(config))
    movie, stream = film(config, 40), engine.embed_stream()
    for shot in range(40):
        assert len(stream.push(part(movie, shot, shot + 1))) == (shot >= 3)
        assert stream.num_final == max(0, shot - 2)
        assert stream._buffer.end - stream._buffer.begin <= config.max_length
    assert (len(stream.finish()), stream.num_final) == (3, 40)
    alone = {"video": movie["video"]}
    assert np.array_equal(streamed(engine, parts(alone, RNG, 5)), engine.embed(alone))


def test_features_are_copied() -> None:
    config = contextualizer()
    engine = Engine.from_checkpoint(random_checkpoint(config))
    movie = film(config, 20)
    stream, buffer = engine.embed_stream(), {name: np.empty_like(rows[:1]) for name, rows in movie.items()}
    found = []
    for shot in range(20):
        for name, rows in movie.items():
            buffer[name][:] = rows[shot]
        found.append(stream.push(buffer))
    assert np.array_equal(np.concatenate([*found, stream.finish()]), engine.embed(movie))


def test_what_does_not_fit_leaves_the_stream_as_it_was() -> None:
    config = long_range()
    engine = Engine.from_checkpoint(random_checkpoint(config))
    movie = film(config, 20)
    stream = engine.embed_stream()
    found = [stream.push(part(movie, 0, 12))]

    def refused(match: str, **changes: Any) -> None:
        pushed = {name: rows for name, rows in {**part(movie, 12, 20), **changes}.items() if rows is not None}
        with pytest.raises(FeatureError, match=match):
            stream.push(pushed)

    refused(r"expected the modalities \['audio', 'language', 'video'\] as before, got \['language', 'vid", audio=None)
    refused("modalities with tokens", **{"language.shots": None, "language": np.ones((8, 6), np.float32)})
    refused("video: expected 7 features a shot, got 8", video=np.zeros((8, 8), np.float32))
    found += [stream.push(part(movie, 12, 20)), stream.finish()]
    assert np.array_equal(np.concatenate(found), engine.embed(movie))
    assert stream.finish().shape == (0, 72)
    with pytest.raises(FeatureError, match="push: the stream is finished"):
        stream.push(part(movie, 0, 1))
    assert engine.embed_stream().finish().shape == (0, 72)


def test_a_model_that_cannot_stream_embeddings_is_refused() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config()))
    with pytest.raises(
        UnsupportedError, match="embed_stream: expected an encoder of windows of shots.*got family mega"
    ):
        engine.embed_stream()
