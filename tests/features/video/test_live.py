"""Streams of raw shots: the decisions of the whole film, some shots later."""

from __future__ import annotations

import numpy as np
import pytest
from shot_features import BASE, additive_checkpoint, film, part
from support import random_checkpoint, small_config

from megaseg import Engine
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.video.live import RawStream
from megaseg.features.video.similarity import HALF, rows_of


@pytest.mark.parametrize("size", [1, 7, 60])
def test_a_stream_of_raw_shots_equals_segment(size: int) -> None:
    engine = Engine.from_checkpoint(additive_checkpoint(), compute_type="float32", num_threads=1)
    movie = film(names=("visual", "audio"))
    stream = RawStream(engine, time_base=BASE)
    events = []
    for begin in range(0, 60, size):
        events += stream.push(part(movie, begin, begin + size))
        assert len(events) == max(0, min(begin + size, 60) - HALF - 1)
    events += stream.close()
    assert stream.close() == ()
    whole, live = engine.segment(rows_of(movie)), stream.segmentation()
    np.testing.assert_array_equal(live.tracks["scenes"].scores, whole.tracks["scenes"].scores)
    assert live.tracks["scenes"].segments == whole.tracks["scenes"].segments
    assert 1 < len(whole.tracks["scenes"].segments) < 60
    assert [event.shot for event in events] == list(range(60))


def test_times_of_a_mapping_are_in_the_base_of_the_stream() -> None:
    stream = RawStream(Engine.from_checkpoint(additive_checkpoint(), num_threads=1), time_base=BASE)
    movie = film()
    stream.push({**movie.modalities, "times": movie.times})
    stream.close()
    assert stream.segmentation().time_base == BASE


def test_a_closed_stream_takes_no_shots() -> None:
    stream = RawStream(Engine.from_checkpoint(additive_checkpoint(), num_threads=1))
    stream.push(film().modalities)
    stream.close()
    with pytest.raises(FeatureError, match="push: the stream is closed"):
        stream.push(film().modalities)


def test_an_engine_says_what_makes_its_rows_of_raw_features() -> None:
    engine = Engine.from_checkpoint(additive_checkpoint(), num_threads=1)
    with pytest.raises(FeatureError, match="Pipeline.segment makes those of recipe video-shots/1"):
        engine.segment(film())


def test_a_model_of_another_recipe_is_refused() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(small_config("scene")))
    with pytest.raises(UnsupportedError, match=r"expected a model of recipe video-shots/1"):
        RawStream(engine)
