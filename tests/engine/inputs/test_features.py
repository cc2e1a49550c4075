"""The edge where features are checked: what passes, what is refused, and how it is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from support import random_features, small_config

from megaseg import Features, load_features, save_features
from megaseg.engine.inputs.feature_files import as_features
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import FeatureError

CONFIG = small_config()


def features(shots: int = 6, **changes: Any) -> dict[str, Any]:
    return {**random_features(CONFIG, shots), **changes}


def test_npz_round_trip(tmp_path: Path) -> None:
    times = np.array([[k * 100, k * 100 + 99] for k in range(6)], dtype=np.int64)
    labels = np.array([0, 0, 1, 0, 0, 1], dtype=np.uint8)
    saved = Features(random_features(CONFIG, 6), times, Fraction(1, 1000), labels, "screenplay-blocks/1")
    save_features(tmp_path / "movie.npz", saved)
    loaded = load_features(tmp_path / "movie.npz")
    assert loaded.time_base == Fraction(1, 1000)
    assert loaded.recipe == "screenplay-blocks/1"
    np.testing.assert_array_equal(loaded.times, times)
    np.testing.assert_array_equal(loaded.labels, labels)
    for name, array in saved.modalities.items():
        np.testing.assert_array_equal(loaded.modalities[name], array)


def test_safetensors_file(tmp_path: Path) -> None:
    arrays = {**features(), "labels": np.array([0, 1, 0, 0, 0, 1], dtype=np.uint8)}
    safetensors.numpy.save_file(arrays, tmp_path / "movie.safetensors", metadata={"recipe": "mine/1"})
    loaded = load_features(tmp_path / "movie.safetensors")
    assert loaded.num_shots == 6
    assert loaded.recipe == "mine/1"


def test_strided_and_half_precision_arrays_are_taken_exactly() -> None:
    wide = np.random.default_rng(0).standard_normal((12, 26)).astype(np.float16)
    source = as_features(features(clip=wide[::2, ::2]))
    clip, audio = source.ordered_for(CONFIG.modalities)
    assert clip.dtype == np.float32
    assert clip.flags.c_contiguous
    np.testing.assert_array_equal(clip, wide[::2, ::2].astype(np.float32))
    assert audio.shape == (6, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": np.zeros((6, 13))}, "clip: expected float32, float16, or int32 ids, got float64"),
        ({"clip": np.zeros((6, 13), np.int64)}, "clip: expected float32, float16, or int32 ids, got int64"),
        ({"clip": [[0.0] * 13] * 6}, "clip: expected a NumPy array .* got list"),
        ({"clip": np.zeros(13, np.float32)}, r"clip: expected \(shots, feature_size\).*got \(13,\)"),
        ({"clip": np.zeros((0, 13), np.float32)}, r"got \(0, 13\)"),
        (
            {"clip": np.full((6, 13), np.nan, np.float32)},
            "clip: expected finite values, got NaN or Inf at shot 0",
        ),
        ({"clip": np.zeros((5, 13), np.float32)}, "same number of shots in every modality"),
        ({"labels": np.array([0, 1])}, "labels: expected 6 uint8 values"),
        ({"labels": np.array([0, 2, 0, 0, 0, 1])}, "labels: expected 0 or 1"),
        ({"labels": np.zeros(6)}, "labels: expected integers, got float64"),
        ({"times": np.zeros((6, 2), np.int64)}, "time_base: expected a positive fraction"),
        ({"times": np.zeros((5, 2), np.int64), "time_base": (1, 24)}, r"times: expected int64 \(6, 2\)"),
        ({"times": np.arange(12).reshape(6, 2)[::-1], "time_base": (1, 24)}, "rising starts"),
        ({"times": np.zeros((6, 2)), "time_base": (1, 24)}, "times: expected integers"),
        ({"time_base": "1/0", "times": np.zeros((6, 2), int)}, "time_base: expected"),
    ],
)
def test_bad_features_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        as_features(features(**changes))


def test_labels_of_the_class_are_bytes() -> None:
    with pytest.raises(FeatureError, match=r"labels: expected 6 uint8 values 0 or 1, got bool \(6,\)"):
        Features(random_features(CONFIG, 6), labels=np.zeros(6, np.bool_))  # type: ignore[arg-type]


def test_features_that_do_not_fit_the_model() -> None:
    for arrays, message in (
        (features(video=np.zeros((6, 2), np.float32)), r"expected the modalities \['clip', 'audio'\]"),
        ({"clip": features()["clip"]}, r"got \['clip'\]"),
        (features(clip=np.zeros((6, 12), np.float32)), "clip: expected 13 features a shot, got 12"),
        (features(clip=np.zeros((6, 13), np.int32)), "clip: expected float32 or float16, got int32"),
    ):
        with pytest.raises(FeatureError, match=message):
            as_features(arrays).ordered_for(CONFIG.modalities)
    act = small_config("act")
    with pytest.raises(FeatureError, match="takes up to 40 shots, got 41"):
        as_features(random_features(act, 41)).ordered_for(act.modalities, most=40)
    with pytest.raises(FeatureError, match="recipe: the checkpoint expects 'a/1', the features are 'b/1'"):
        as_features(features(recipe="b/1")).ordered_for(CONFIG.modalities, "a/1")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 not a zip")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 40)
    np.savez(tmp_path / "pickled.npz", clip=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "movie.csv").write_text("1,2")
    for name in ("cut.npz", "cut.safetensors", "pickled.npz", "movie.csv", "missing.npz"):
        with pytest.raises(FeatureError, match=name):
            load_features(tmp_path / name)
    (tmp_path / "movie.fountain").write_text("INT. ROOM - DAY")
    with pytest.raises(FeatureError, match=r"got '\.fountain'; screenplays go through megaseg\.pipelines\.Pipeline"):
        load_features(tmp_path / "movie.fountain")


def test_words_ride_along_and_are_checked(tmp_path: Path) -> None:
    words = np.eye(4, 9, dtype=np.uint8)
    clip = np.ones((4, 3), np.float32)
    save_features(tmp_path / "a.npz", Features({"clip": clip}, words=words))
    found = load_features(tmp_path / "a.npz")
    assert list(found.modalities) == ["clip"]
    assert found.words is not None
    np.testing.assert_array_equal(found.words, words)
    for bad in (words[:3], words.astype(np.int64), words[0]):
        with pytest.raises(FeatureError, match="words: expected uint8"):
            Features.from_mapping({"clip": clip, "words": bad})


@pytest.mark.parametrize("data", [b"", b"junk", b"\x80\x04N."])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "movie.npz"
    path.write_bytes(data)
    with pytest.raises(FeatureError, match=r"movie\.npz: .*zip") as refused:
        load_features(path)
    assert "pickle" not in str(refused.value)


def test_ids_are_taken_as_they_are_where_the_model_asks_for_them() -> None:
    ids = np.arange(12, dtype=np.int32).reshape(12, 1)
    words = Modality("words", 1, "int32")
    (taken,) = Features({"words": ids[::2]}).ordered_for([words])
    assert taken.dtype == np.int32
    assert taken.flags.c_contiguous
    assert taken.tolist() == ids[::2].tolist()
    with pytest.raises(FeatureError, match="words: expected int32 ids, got float32; cast with .astype.'int32'"):
        Features({"words": ids.astype(np.float32)}).ordered_for([words])
    with pytest.raises(FeatureError, match="words: expected float32 or float16 to average"):
        Features({"words": ids}).pooled(2)


@pytest.mark.parametrize("name", ["labels", "words", "times"])
def test_the_class_names_what_is_no_array(name: str) -> None:
    own: dict[str, Any] = {name: [0] * 6}
    with pytest.raises(FeatureError, match=f"{name}: expected a NumPy array, got list"):
        Features(random_features(CONFIG, 6), **own)
