"""Tokens of shots: what is taken, what is refused, files, and the rows that a model gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from support import random_checkpoint, small_config

from megaseg import Engine, Features, load_features, save_features
from megaseg.engine.inputs.feature_files import read_features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.inputs.tokens import tokens_within
from megaseg.errors import FeatureError

SHOTS = [0, 0, 2, 4, 4]
MODALITIES = (Modality("video", 3), Modality("lines", 2))


def film(**changes: Any) -> dict[str, Any]:
    rows = {"video": np.ones((5, 3), np.float32), "lines": np.arange(10, dtype=np.float32).reshape(5, 2) + 1}
    return {**rows, "lines.shots": np.array(SHOTS, np.int32), **changes}


def test_a_modality_may_have_rows_that_are_no_shots() -> None:
    features = Features.from_mapping(film(**{"lines": np.ones((2, 2), np.float16), "lines.shots": [1, 4]}))
    assert features.num_shots == 5
    assert list(features.modalities) == ["video", "lines"]
    assert features.token_shots["lines"].dtype == np.int32
    tokens_first = Features.from_mapping({name: film()[name] for name in ("lines.shots", "lines", "video")})
    assert tokens_first.num_shots == 5


def test_no_tokens_at_all_are_tokens_too() -> None:
    empty = film(**{"lines": np.zeros((0, 2), np.float32), "lines.shots": np.zeros(0, np.int32)})
    assert Features.from_mapping(empty).num_shots == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lines.shots": [0, 1, 2, 1, 3]}, "lines.shots: expected shots that never fall, got 1 after 2 at token 3"),
        ({"lines.shots": [0, 1, 2, 3, 5]}, "lines.shots: expected shots from 0 to 4, got 5 of token 4"),
        ({"lines.shots": [-1, 1, 2, 3, 4]}, "lines.shots: expected shots from 0 to 4, got -1 of token 0"),
        ({"lines.shots": [0, 1, 2]}, r"lines.shots: expected int32 \(5,\), a shot a token, got int32 \(3,\)"),
        ({"lines.shots": [[0]] * 5}, r"lines.shots: expected int32 \(5,\), .* got int32 \(5, 1\)"),
        ({"lines.shots": np.zeros(5)}, "lines.shots: expected integers, got float64"),
        ({"lines.shots": [0, 0, 0, 0, 2**32]}, "lines.shots: expected values of int32, got 4294967296"),
        ({"words.shots": [0]}, r"words.shots: expected the shots of a modality's tokens \(video, lines\), got no"),
        ({"lines.shots": np.ma.masked_array(SHOTS, [1, 0, 0, 0, 0])}, "lines.shots: expected a plain array"),
        ({"lines": np.zeros((5, 0), np.float32)}, "lines: expected"),
        ({"video": np.ones((4, 3), np.float32)}, "lines.shots: expected shots from 0 to 3, got 4"),
        ({"video.shots": [0, 0, 0, 0, 0]}, "features: expected a modality with a row a shot, got tokens of"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        Features.from_mapping(film(**changes))


def test_arrays_given_directly_are_checked_as_well() -> None:
    rows = {name: film()[name] for name in ("video", "lines")}
    for shots, message in (([0] * 5, "NumPy array, got list"), (np.zeros(5, np.int64), "expected int32")):
        with pytest.raises(FeatureError, match=f"lines.shots: .*{message}"):
            Features(rows, token_shots={"lines": shots})  # type: ignore[dict-item]


def test_files_keep_the_shots_of_tokens(tmp_path: Path) -> None:
    save_features(tmp_path / "a.npz", Features.from_mapping(film()))
    safetensors.numpy.save_file(film(), tmp_path / "b.safetensors")
    for path in tmp_path.iterdir():
        for loaded in (load_features(path), read_features(path.read_bytes())):
            assert loaded.token_shots["lines"].tolist() == SHOTS
            assert list(loaded.modalities) in (["video", "lines"], ["lines", "video"])
            np.testing.assert_array_equal(loaded.modalities["lines"], film()["lines"])


def test_a_file_is_named_in_what_is_wrong_with_its_tokens(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **film(**{"lines.shots": np.array([0, 0, 0, 0, 9])}))
    with pytest.raises(FeatureError, match=r"a.npz: lines.shots: expected shots from 0 to 4, got 9"):
        load_features(tmp_path / "a.npz")


def test_a_model_of_shots_takes_no_tokens() -> None:
    features = Features.from_mapping(film())
    with pytest.raises(FeatureError, match=r"lines: expected a row a shot, got tokens \(lines.shots says"):
        features.ordered_for(MODALITIES)
    with pytest.raises(FeatureError, match="lines: expected a row a shot, got tokens"):
        features.pooled(2)
    video, lines = features.ordered_for(MODALITIES, tokens="lines")
    assert (len(video), len(lines)) == (5, 5)
    config = small_config(modalities=MODALITIES)
    with pytest.raises(FeatureError, match="lines: expected a row a shot"):
        Engine.from_checkpoint(random_checkpoint(config)).segment(film())


def test_what_is_not_there_is_zeros_and_what_is_not_asked_for_is_left_out() -> None:
    found = Features.from_mapping({"lines": np.ones((4, 2), np.float32), "more": np.ones((4, 1), np.float32)})
    completed = found.completed(MODALITIES)
    assert list(completed.modalities) == ["video", "lines"]
    assert not completed.modalities["video"].any()
    assert completed.modalities["video"].shape == (4, 3)
    without = Features.from_mapping({"video": np.ones((4, 3), np.float32)}).completed(MODALITIES, "lines")
    assert without.modalities["lines"].shape == (0, 2)
    with pytest.raises(
        FeatureError, match=r"expected at least one of the modalities \['video', 'lines'\], got \['m'\]"
    ):
        Features.from_mapping({"m": np.ones((4, 3), np.float32)}).completed(MODALITIES)


def test_rows_of_shots_are_tokens_but_for_zeros() -> None:
    lines = np.array([[0, 0], [1, 2], [0, 0], [0, 3]], np.float32)
    features = Features.from_mapping({"video": np.ones((4, 3), np.float32), "lines": lines})
    completed = features.completed(MODALITIES, "lines")
    assert completed.token_shots["lines"].tolist() == [1, 3]
    np.testing.assert_array_equal(completed.modalities["lines"], lines[[1, 3]])


def test_tokens_of_a_window_have_its_own_shots() -> None:
    tokens, shots = film()["lines"], film()["lines.shots"]
    for begin in range(5):
        for end in range(begin + 1, 6):
            rows, own = tokens_within(tokens, shots, begin, end, 9)
            within = [k for k, shot in enumerate(SHOTS) if begin <= shot < end]
            assert own.shape == (len(own), 1)
            assert own.dtype == np.int32
            assert own[:, 0].tolist() == ([SHOTS[k] - begin for k in within] or [9])
            np.testing.assert_array_equal(rows, tokens[within] if within else np.zeros((1, 2)))
