"""Recipe video-shots/1: rows of neighbours, by hand, in any pieces, and whatever is missing."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from shot_features import BASE, film, part

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.features.video import groupings, neighbours, rhythm
from megaseg.features.video.similarity import HALF, KNOWN, MODALITIES, RAW, RECIPE, ShotRows, prepared, rows_of

WIDTHS = {modality.name: modality.feature_size for modality in MODALITIES}


def without_times(features: Features) -> Features:
    return Features(features.modalities, labels=features.labels)


def assert_equal(left: Features, right: Features) -> None:
    for name in WIDTHS:
        np.testing.assert_array_equal(left.modalities[name], right.modalities[name], name)


def test_rows_are_of_the_models_modalities_and_keep_labels_and_times() -> None:
    movie = film()
    rows = rows_of(movie)
    assert {name: array.shape for name, array in rows.modalities.items()} == {n: (60, w) for n, w in WIDTHS.items()}
    assert all(array.dtype == np.float32 for array in rows.modalities.values())
    assert rows.recipe == RECIPE
    assert rows.time_base == BASE
    np.testing.assert_array_equal(rows.labels, movie.labels)
    np.testing.assert_array_equal(rows.times, movie.times)
    assert all(np.abs(rows.modalities[name]).max() < 20 for name in WIDTHS)


def test_what_is_absent_or_zero_is_zero() -> None:
    rows = rows_of(film(names=("visual",)))
    zeros = np.zeros((60, 9), np.float32)
    same = film(names=("visual",))
    with_zeros = rows_of(Features({**same.modalities, "colour": zeros}, same.times, BASE))
    assert_equal(rows, with_zeros)
    for name in ("colour", "audio", "dialogue"):
        assert not rows.modalities[name].any()
    assert (rows.modalities["visual"][:, 0] == 1).all()
    assert (rows.modalities["rhythm"][:, 0] == 1).all()


def test_a_zero_row_is_nobody_who_speaks() -> None:
    movie = film(names=("dialogue",))
    speech = movie.modalities["dialogue"].copy()
    speech[20:50] = 0
    rows = rows_of(Features({"dialogue": speech})).modalities["dialogue"]
    assert not rows[20 + HALF - 1 : 50 - HALF].any()  # only silent shots around these gaps
    assert rows[19, 0] == 1
    assert np.isfinite(rows).all()
    assert rows[19, 1] == 1
    assert rows[19, 2] == 0


def test_boundaries_differ_from_other_gaps() -> None:
    movie = film(shots=300, seed=3)
    rows = rows_of(movie).modalities["visual"][:, : neighbours.WIDTH]
    marks = movie.labels[:-1] > 0
    margins = rows[:-1, -1]  # of the best grouping
    assert margins[marks].mean() > margins[~marks].mean() + 0.5


def test_cosines_by_hand() -> None:
    x = np.array([[4, 0], [4, 0], [0, 9], [1, 1]], np.float32)  # square roots: 2 0; 2 0; 0 3; 1 1
    rows = neighbours.similarity_rows({"visual": x}, range(4))["visual"]
    assert rows[0, 4:6].tolist() == [1, 1]  # nearest pair, best of the nearest two
    assert rows[1, 4] == 0
    assert rows[1, 5] == pytest.approx(np.sqrt(0.5))
    assert rows[3, 2] == 0  # no shot after the last


def test_margin_is_that_of_all_groupings() -> None:
    rng = np.random.default_rng(0)
    span, half = 2 * HALF, HALF
    worth = rng.standard_normal((span + 1, span + 1, 1)).astype(np.float32)
    keep = [0, 3, half, 17, span]  # all other cuts cost far too much
    for s in range(span + 1):
        for e in range(span + 1):
            if s not in keep or e not in keep:
                worth[s, e] = -1e3
    best: dict[bool, float] = {}
    for chosen in range(8):
        cuts = [0, *(cut for bit, cut in enumerate(keep[1:-1]) if chosen >> bit & 1), span]
        value = sum(float(worth[s, e, 0]) for s, e in itertools.pairwise(cuts))
        best[half in cuts] = max(best.get(half in cuts, -1e9), value)
    assert groupings.margin(worth)[0] == pytest.approx(best[True] - best[False], abs=1e-3)


@pytest.mark.parametrize("sizes", [(1,), (2, 1, 7), (60,), (13, 40)])
def test_a_stream_gives_equal_bits(sizes: tuple[int, ...]) -> None:
    movie, stream = film(names=KNOWN), ShotRows()
    parts, begin = [], 0
    while begin < movie.num_shots:
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.push(part(movie, begin, min(begin + size, movie.num_shots))))
        begin += size
        known = sum(own.num_shots for own in parts if own is not None)
        assert known == max(0, min(begin, movie.num_shots) - HALF)
    parts.append(stream.finish())
    assert stream.finish() is None
    got = [own for own in parts if own is not None]
    joined = {name: np.concatenate([own.modalities[name] for own in got]) for name in WIDTHS}
    assert_equal(rows_of(movie), Features(joined))
    assert np.concatenate([own.times for own in got]).tolist() == movie.times.tolist()


def test_rows_are_local() -> None:
    movie = film(shots=100)
    other = {name: array.copy() for name, array in movie.modalities.items()}
    other["visual"][60:] *= -3
    rows, changed = rows_of(movie), rows_of(Features(other, movie.times, BASE))
    for name in WIDTHS:
        np.testing.assert_array_equal(rows.modalities[name][: 60 - HALF], changed.modalities[name][: 60 - HALF])
    assert (rows.modalities["visual"][60 - HALF] != changed.modalities["visual"][60 - HALF]).any()


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_the_shortest_films(shots: int) -> None:
    rows = rows_of(film(shots=shots))
    assert all(np.isfinite(array).all() for array in rows.modalities.values())


def test_times_may_be_missing_and_their_origin_does_not_matter() -> None:
    movie = film()
    bare = rows_of(without_times(movie)).modalities["rhythm"]
    assert not bare[:, 1].any()
    assert not bare[:, 10:].any()
    later = Features(movie.modalities, movie.times + (1 << 50), BASE)
    assert_equal(rows_of(movie), rows_of(later))
    finer = Features(movie.modalities, movie.times * 3600, Fraction(1, 90_000))
    np.testing.assert_allclose(rows_of(finer).modalities["rhythm"], rows_of(movie).modalities["rhythm"], atol=1e-5)


def test_a_frame_between_all_shots_is_no_break() -> None:
    movie = film()
    inclusive = Features(movie.modalities, movie.times - [0, 1], BASE)  # ends that name a shot's last frame
    breaks = slice(rhythm.WIDTH - 10, rhythm.WIDTH)
    assert not rows_of(inclusive).modalities["rhythm"][:, breaks].any()
    faded = movie.times.copy()
    faded[30:, :] += 50
    rows = rows_of(Features(movie.modalities, faded, BASE)).modalities["rhythm"][:, breaks]
    assert rows[29].any()
    assert rows[29].max() == rows.max()


def test_float16_and_scale() -> None:
    movie = film()
    half = {name: array.astype(np.float16) for name, array in movie.modalities.items()}
    single = {name: array.astype(np.float32) for name, array in half.items()}
    assert_equal(rows_of(Features(half)), rows_of(Features(single)))
    large = {name: 1e4 * array for name, array in single.items()}
    np.testing.assert_allclose(
        rows_of(Features(large)).modalities["visual"], rows_of(Features(single)).modalities["visual"], atol=1e-3
    )


@pytest.mark.parametrize("scale", [1e38, 1e-38])
def test_extreme_values(scale: float) -> None:
    wild = {name: (array / 8 * scale).astype(np.float32) for name, array in film().modalities.items()}
    calm = rows_of(Features(film().modalities)).modalities["visual"]
    np.testing.assert_allclose(rows_of(Features(wild)).modalities["visual"], calm, atol=1e-2)


def test_prepared_leaves_what_is_no_raw_feature() -> None:
    movie = film()
    rows = rows_of(movie)
    assert prepared(rows, RECIPE) is rows
    assert prepared(movie, None) is movie
    assert_equal(prepared(movie, RECIPE), rows)
    named = Features(movie.modalities, movie.times, BASE, movie.labels, RAW)
    assert_equal(prepared(named, RECIPE), rows)


def test_errors_name_what_is_expected() -> None:
    array = np.ones((5, 3), np.float32)
    with pytest.raises(FeatureError, match=r"expected some of the modalities visual, colour, .* got clip"):
        rows_of(Features({"clip": array}))
    with pytest.raises(FeatureError, match="got visual, color"):
        rows_of(Features({"visual": array, "color": array}))
    with pytest.raises(FeatureError, match="got motion"):
        rows_of(Features({"motion": array}))
    with pytest.raises(FeatureError, match="expected raw features"):
        rows_of(rows_of(film()))
    with pytest.raises(FeatureError, match="visual: expected float32 or float16, got int32"):
        rows_of(Features({"visual": array.astype(np.int32)}))


def test_a_refused_push_leaves_the_stream_as_before() -> None:
    movie, stream = film(), ShotRows()
    first = stream.push(part(movie, 0, 30))
    for wrong in (part(film(names=("visual",)), 30, 40), without_times(part(movie, 30, 40)), part(movie, 0, 10)):
        with pytest.raises(FeatureError):
            stream.push(wrong)
    rest = [stream.push(part(movie, 30, 60)), stream.finish()]
    rows = np.concatenate([own.modalities["visual"] for own in (first, *rest) if own is not None])
    np.testing.assert_array_equal(rows, rows_of(movie).modalities["visual"])


def test_three_thousand_shots_take_a_moment() -> None:
    movie = Features({"visual": np.random.default_rng(0).standard_normal((3000, 512)).astype(np.float32)})
    rows_of(movie)
    begin = time.process_time()
    rows_of(movie)
    assert time.process_time() - begin < 2  # 0.2 s on an idle core
