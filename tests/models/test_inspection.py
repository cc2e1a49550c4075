"""Attention, embeddings and synchronisation as arrays, against torch's own modules in float64."""

from __future__ import annotations

import numpy as np
import pytest
from support import random_checkpoint, random_features, small_config

from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError, UnsupportedError

torch = pytest.importorskip("torch")
from megaseg.models.inspection import attention_scores, fused_rows, synchronisation  # noqa: E402

SHOTS = 21


def windows(checkpoint: Checkpoint, shots: int) -> np.ndarray:
    if checkpoint.config.task != "scene":
        return np.arange(shots)[None]
    length = checkpoint.config.max_length
    return (np.arange(shots)[:, None] + np.arange(length) - length // 2).clip(0, shots - 1)


def model_and_batch(checkpoint: Checkpoint, features: dict[str, np.ndarray], rows: np.ndarray):
    from megaseg.models import from_checkpoint

    batch = {name: torch.from_numpy(array[rows]).double() for name, array in features.items()}
    return from_checkpoint(checkpoint, torch.float64), batch


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("task", "shot"), [("act", None), ("scene", 0), ("scene", 10), ("scene", SHOTS - 1)])
def test_scores_are_those_of_multihead_attention(task: str, shot: int | None, layers: int) -> None:
    checkpoint = random_checkpoint(small_config(task, num_fusion_layers=layers))
    config, features = checkpoint.config, random_features(checkpoint.config, SHOTS)
    own = windows(checkpoint, SHOTS)[[0 if shot is None else shot]]
    model, batch = model_and_batch(checkpoint, features, own)
    expected = {}
    with torch.no_grad():
        encoded = {name: model.modalities[name].encode(batch[name], model.align.weight) for name in batch}
        bottlenecks = torch.cat([tokens for tokens, _ in encoded.values()], dim=1)
        for name, (_, latents) in encoded.items():
            hidden = torch.cat([bottlenecks, latents], dim=1)
            *before, last = model.modalities[name].fusion
            for layer in before:
                hidden = layer(hidden)
            _, weights = last.self_attn(hidden, hidden, hidden, need_weights=True, average_attn_weights=True)
            expected[name] = weights[0, bottlenecks.shape[1] :].numpy()
    got = attention_scores(checkpoint, features, shot)
    tokens = len(config.modalities) * config.num_bottleneck
    for name, scores in expected.items():
        assert got[name].dtype == np.float32
        assert got[name].shape == (own.shape[1], tokens + own.shape[1])
        np.testing.assert_allclose(got[name], scores, atol=1e-6)
        np.testing.assert_allclose(got[name].sum(axis=1), 1, atol=1e-5)
    assert list(got) == ["clip", "audio"]


def test_attention_of_what_is_not_there_is_refused() -> None:
    features = random_features(small_config(), SHOTS)
    flat = random_checkpoint(small_config("act", num_fusion_layers=0))
    with pytest.raises(UnsupportedError, match="expected a model with fusion layers"):
        attention_scores(flat, features)
    scene = random_checkpoint(small_config())
    for shot in (None, -1, SHOTS):
        with pytest.raises(FeatureError, match=f"shot: expected the middle of a window, from 0 to 20, got {shot}"):
            attention_scores(scene, features, shot)
    with pytest.raises(FeatureError, match="shot: expected none for a model of task act, got 3"):
        attention_scores(random_checkpoint(small_config("act")), features, 3)


@pytest.mark.parametrize("fusion", [0, 1])
@pytest.mark.parametrize("task", ["scene", "act", "synopsis"])
def test_fused_rows_are_the_models(task: str, fusion: int) -> None:
    checkpoint = random_checkpoint(small_config(task, num_fusion_layers=fusion))
    features = random_features(checkpoint.config, SHOTS)
    model, batch = model_and_batch(checkpoint, features, windows(checkpoint, SHOTS))
    with torch.no_grad():
        expected = model.fused(batch).numpy()
    expected = expected[:, checkpoint.config.max_length // 2] if task == "scene" else expected[0]
    got = fused_rows(checkpoint, features)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-5)


def synopsis_checkpoint(width: int = 48) -> Checkpoint:
    return random_checkpoint(small_config("synopsis", modalities=(Modality("sentence", 9),), hidden_size=width), 1)


def test_w_is_the_band_and_threshold_of_equation_2() -> None:
    act, synopsis = random_checkpoint(small_config("act")), synopsis_checkpoint()
    shots, sentences = random_features(act.config, 40), random_features(synopsis.config, 13)
    rows = [fused_rows(model, x).astype(float) for model, x in ((act, shots), (synopsis, sentences))]
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows)
    similarity = u @ v.T
    i, j = np.arange(40)[:, None], np.arange(13)
    ranked = np.sort(similarity.ravel())
    gap = 200 + int(np.argmax(np.diff(ranked[200:320])))  # no rounding moves a pair across its middle
    for band, twentieths in ((0.3, 6), (0.05, 1)):
        inside = 20 * np.abs(13 * i - 40 * j) < twentieths * 13 * 40  # both inequalities times L_syn or L_sh
        for threshold in (-1.0, ranked[gap : gap + 2].mean(), 1.0):
            got = synchronisation(act, shots, synopsis, sentences, threshold, band)
            assert got.dtype == bool
            assert np.array_equal(got, (similarity >= threshold) & inside)
            assert (threshold == 1.0) == (not got.any())


def test_models_that_cannot_be_synchronised_are_refused() -> None:
    act, synopsis = random_checkpoint(small_config("act")), synopsis_checkpoint()
    shots, sentences = random_features(act.config, 40), random_features(synopsis.config, 13)
    with pytest.raises(UnsupportedError, match="synopsis_checkpoint: expected a model of task synopsis, got act"):
        synchronisation(act, shots, act, shots, 0.5)
    with pytest.raises(UnsupportedError, match="act_checkpoint: expected a model of task act, got synopsis"):
        synchronisation(synopsis, sentences, synopsis, sentences, 0.5)
    with pytest.raises(UnsupportedError, match="expected embeddings 48 wide, got 24"):
        synchronisation(act, shots, synopsis_checkpoint(24), sentences, 0.5)
