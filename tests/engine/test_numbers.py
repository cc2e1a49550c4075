"""Numbers at the edge: offsets that the function does not depend on, flat rows, and values that leave the range."""

from __future__ import annotations

import dataclasses
import importlib.util
from functools import cache
from typing import Any

import numpy as np
import pytest
from shot_encoders import contextualizer, film, long_range, movie_encoder, scene_encoder
from support import random_checkpoint, random_features, small_config

from megaseg import _C, Engine, Features
from megaseg.engine.backends.native.extension import native_target
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError
from megaseg.models import inspection

pytest.importorskip("torch")
NATIVE = [("native", kind) for kind in _C.compute_types(native_target())]
RUNS = [*NATIVE, ("torch", "float32"), *[("onnx", "float32")] * bool(importlib.util.find_spec("onnxruntime"))]
# Logit errors as a share of the logits' deviation, as seen without an offset and doubled.
ALLOWED = {"float32": 2e-5, "bfloat16": 0.12, "int8": 0.3, "int8_float32": 0.12, "int8_bfloat16": 0.12}
# What only a layer normalisation reads. The alignment table is not among them: bottleneck tokens hold it too.
SUMS = ("proj.weight", "proj.bias", "position.weight", "self_attn.out_proj.bias", "linear2.weight", "linear2.bias")

ENCODERS = (contextualizer(), long_range(), scene_encoder(), movie_encoder())


def changed(checkpoint: Checkpoint, suffix: str, change: Any) -> Checkpoint:
    tensors = {
        name: change(values).astype(np.float32) if name.endswith(suffix) and "in_proj" not in name else values
        for name, values in checkpoint.tensors.items()
    }
    return dataclasses.replace(checkpoint, tensors=tensors)


def whole(checkpoint: Checkpoint) -> Engine:
    return Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64", passes=False)


def exact(checkpoint: Checkpoint, features: dict[str, np.ndarray]) -> np.ndarray:
    return whole(checkpoint).logits(features)


def error(checkpoint: Checkpoint, features: dict[str, np.ndarray], expected: np.ndarray, **options: Any) -> float:
    got = Engine.from_checkpoint(checkpoint, num_threads=1, **options).logits(features)
    return float(np.abs(got - expected).max() / expected.std())


@cache  # what is exact is so for all backends and types
def with_offset(suffix: str, offset: int) -> tuple[Checkpoint, dict[str, np.ndarray], np.ndarray]:
    checkpoint = random_checkpoint(small_config(hidden_size=96, num_heads=4))
    features = random_features(checkpoint.config, 30)
    moved = changed(checkpoint, suffix, lambda values: values + offset)
    return moved, features, exact(moved, features)


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("suffix", SUMS)
@pytest.mark.parametrize(("backend", "kind"), RUNS)
def test_an_offset_common_to_all_channels_costs_no_digits(backend: str, kind: str, suffix: str, passes: bool) -> None:
    for offset in (100, 1000):
        assert error(*with_offset(suffix, offset), backend=backend, compute_type=kind, passes=passes) < ALLOWED[kind]


@pytest.mark.parametrize("task", ["scene", "act"])
@pytest.mark.parametrize(("backend", "kind"), RUNS)
def test_rows_that_hardly_vary_over_channels_keep_their_digits(backend: str, kind: str, task: str) -> None:
    """A flat row is all offset. A small eps makes its last digits count."""
    checkpoint = random_checkpoint(small_config(task, hidden_size=96, num_heads=4, layer_norm_eps=1e-12))
    features = random_features(checkpoint.config, 30)
    flat = changed(changed(checkpoint, "proj.weight", lambda w: 1e-3 * w), "proj.bias", lambda b: 1e-3 * b + 5)
    flat = changed(flat, "position.weight", lambda p: 1e-3 * p + 5)
    flat = changed(flat, "align.weight", lambda p: 1e-3 * p + 5)
    expected = exact(flat, features)
    for passes in (True, False):
        assert error(flat, features, expected, backend=backend, compute_type=kind, passes=passes) < ALLOWED[kind]


@cache
def of_size(task: str, exponent: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    checkpoint = random_checkpoint(small_config(task))
    features = random_features(checkpoint.config, 9)
    features["clip"][4] *= np.float32(10**exponent / np.abs(features["clip"][4]).max())
    return features, exact(checkpoint, features)


@pytest.mark.skipif(("native", "int8") not in NATIVE, reason="no int8 products here")
@pytest.mark.parametrize("passes", [True, False])
def test_wide_layers_in_int8_keep_their_digits(passes: bool) -> None:
    """Offsets, flat rows and features of any size where rows of shots and of windows are int8 too."""
    checkpoint = random_checkpoint(small_config(hidden_size=256, num_heads=4, ffn_size=260, layer_norm_eps=1e-12))
    features = random_features(checkpoint.config, 12)
    models = [changed(checkpoint, suffix, lambda values: values + 1000) for suffix in SUMS]
    models.append(changed(changed(checkpoint, "proj.weight", lambda w: 1e-3 * w), "proj.bias", lambda b: 1e-3 * b + 5))
    large = [{**features, "clip": features["clip"] * np.float32(10**exponent)} for exponent in (3, 9, 15)]
    for model, movie in [*((model, features) for model in models), *((checkpoint, movie) for movie in large)]:
        found = error(model, movie, exact(model, movie), backend="native", compute_type="int8", passes=passes)
        assert found < ALLOWED["int8"]


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("task", ["scene", "act"])
@pytest.mark.parametrize(("backend", "kind"), RUNS)
def test_features_of_any_size_give_right_logits_or_an_error(backend: str, kind: str, task: str, passes: bool) -> None:
    checkpoint = random_checkpoint(small_config(task))
    model = Engine.from_checkpoint(checkpoint, backend=backend, compute_type=kind, passes=passes)
    refused = set()
    for exponent in (*range(15, 38), 38.4):
        features, expected = of_size(task, exponent)
        try:
            got = model.logits(features)
        except FeatureError:
            refused.add(exponent)
        else:
            assert np.abs(got - expected).max() / expected.std() < ALLOWED[kind], exponent
    assert refused >= set(range(20, 38))
    assert 15 not in refused


@cache
def encoder_with_offset(config: Any, suffix: str) -> tuple[Checkpoint, np.ndarray]:
    moved = changed(random_checkpoint(config), suffix, lambda values: values + 300)
    return moved, whole(moved).embed(film(config, 9))


@cache
def film_of_size(config: Any, exponent: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    movie = film(config, 9)
    video = movie["video"].copy()
    video[4] *= np.float32(10**exponent / np.abs(video[4]).max())
    large = {**movie, "video": video}
    return large, whole(random_checkpoint(config)).embed(large)


@pytest.mark.parametrize("config", ENCODERS, ids=lambda config: config.family)
@pytest.mark.parametrize(("backend", "kind"), RUNS)
def test_encoders_of_shots_keep_their_digits(backend: str, kind: str, config: Any) -> None:
    """Offsets common to all channels of the rows that pre-norm layers add to, and features of any size."""
    for suffix in (*SUMS, "class_token"):
        moved, want = encoder_with_offset(config, suffix)
        got = Engine.from_checkpoint(moved, backend=backend, compute_type=kind).embed(film(config, 9))
        assert np.abs(got - want).max() / want.std() < ALLOWED[kind], suffix
    model = Engine.from_checkpoint(random_checkpoint(config), backend=backend, compute_type=kind)
    refused = set()
    for exponent in (*range(12, 38, 3), 38.4):
        large, want = film_of_size(config, exponent)
        try:
            got = model.embed(large)
        except FeatureError:
            refused.add(exponent)
        else:
            assert np.abs(got - want).max() / want.std() < ALLOWED[kind], exponent
    assert refused >= set(range(21, 38, 3))
    assert 15 not in refused


@pytest.mark.parametrize("config", ENCODERS, ids=lambda config: config.family)
@pytest.mark.parametrize(("backend", "kind"), RUNS)
def test_no_modality_overflows_unseen(backend: str, kind: str, config: Any) -> None:
    model, movie = (
        Engine.from_checkpoint(random_checkpoint(config), backend=backend, compute_type=kind),
        film(config, 9),
    )
    for modality in config.modalities:
        large = {**movie, modality.name: movie[modality.name].copy()}
        large[modality.name][4] *= np.float32(1e24)
        with pytest.raises(FeatureError, match="expected values that give finite"):
            model.outputs(large)


@pytest.mark.parametrize("backend", sorted({backend for backend, _ in RUNS}))
def test_what_overflows_names_its_movie_and_leaves_the_engine_as_it_was(backend: str) -> None:
    checkpoint = random_checkpoint(small_config())
    model = Engine.from_checkpoint(checkpoint, backend=backend, compute_type="float32")
    movies = [random_features(checkpoint.config, shots) for shots in (3, 40, 5)]
    before = model.segment_many(movies)
    movies[1]["audio"][30] = 1e30
    with pytest.raises(FeatureError, match="of movie 1: .* in row 28:"):  # two shots before: its window reaches so far
        model.segment_many(movies)
    for call in (model.segment, model.logits, model.explain):
        with pytest.raises(FeatureError, match="of movie 0: .* in row 28:"):
            call(movies[1])
    for movie, segmentation in zip(movies, before, strict=True):
        if movie is not movies[1]:
            assert np.array_equal(model.segment(movie).scores, segmentation.scores)


def test_a_stream_refuses_what_overflows() -> None:
    checkpoint = random_checkpoint(small_config())
    features = random_features(checkpoint.config, 12)
    features["clip"][6] = 1e30
    stream = Engine.from_checkpoint(checkpoint).stream()
    events = stream.push({name: rows[:6] for name, rows in features.items()})
    with pytest.raises(FeatureError, match="expected values that give finite logits"):
        stream.push({name: rows[6:] for name, rows in features.items()})
    assert [event.shot for event in events] == [0, 1, 2, 3]
    assert stream.num_decided == 4


def test_inspection_refuses_what_overflows() -> None:
    checkpoint = random_checkpoint(small_config())
    features = random_features(checkpoint.config, 6)
    features["clip"][3] = 1e30
    for call in (inspection.fused_rows, lambda *given: inspection.attention_scores(*given, shot=3)):
        with pytest.raises(FeatureError, match="they overflow float32"):
            call(checkpoint, features)


def test_a_mask_hides_nothing() -> None:
    checkpoint = random_checkpoint(small_config())
    features = random_features(checkpoint.config, 6)
    features["clip"][3] = np.nan
    masked = {**features, "clip": np.ma.masked_invalid(features["clip"])}
    with pytest.raises(FeatureError, match=r"clip: expected a plain array, got a MaskedArray; .*filled"):
        Engine.from_checkpoint(checkpoint).segment(masked)
    plain, times = random_features(checkpoint.config, 6), np.ma.masked_less(np.arange(12).reshape(6, 2), 3)
    engine, labels = Engine.from_checkpoint(checkpoint), np.ma.masked_equal(np.zeros(6, np.uint8), 0)
    for name, call in (
        ("times", lambda: engine.segment({**plain, "times": times})),
        ("times", lambda: engine.stream(time_base="1/24").push(plain, times=times)),
        ("labels", lambda: Features(plain, labels=labels)),
        ("words", lambda: Features.from_mapping({**plain, "words": labels[:, None]})),
    ):
        with pytest.raises(FeatureError, match=f"{name}: expected a plain array, got a MaskedArray"):
            call()
