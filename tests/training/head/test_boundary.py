"""Boundary heads: what they learn, and that they are scene models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from head_films import FAST, encoder, scenes, shuffled_labels

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import load_checkpoint, save_checkpoint
from megaseg.engine.model.scene_encoder import SceneEncoderConfig
from megaseg.errors import FeatureError
from megaseg.evaluation.scene import evaluate_scenes
from megaseg.training.recipes.head.boundary import Boundary, scene_checkpoint, train_boundary
from megaseg.training.recipes.head.encoder import checkpoint_of, new_encoder
from megaseg.training.recipes.head.run import evaluate_head, train_head

TRAIN, VALIDATION, TEST = scenes(10, 0), scenes(4, 1), scenes(6, 2)
MODES = [(False, False), (True, False), (False, True)]


@pytest.mark.parametrize(("fine_tune", "from_scratch"), MODES)
def test_the_checkpoint_finds_scenes_of_other_films(tmp_path: Path, fine_tune: bool, from_scratch: bool) -> None:
    made, history = train_boundary(encoder(), TRAIN, VALIDATION, FAST, fine_tune, from_scratch)
    save_checkpoint(tmp_path / "scenes.safetensors", made)
    engine = Engine.from_checkpoint(tmp_path / "scenes.safetensors", backend="torch")
    assert engine.config.task == "scene"
    assert evaluate_scenes(engine, TEST).ap > 0.9
    best = max(history, key=lambda epoch: epoch.validation["ap"])  # type: ignore[index]
    found = evaluate_scenes(engine, VALIDATION)
    assert best.validation is not None
    assert found.ap == pytest.approx(best.validation["ap"], abs=1e-3)
    assert found.f1 == pytest.approx(best.validation["f1"], abs=1e-3)


def test_shuffled_labels_teach_nothing() -> None:
    shuffled = shuffled_labels(TRAIN, 5), shuffled_labels(VALIDATION, 6)
    made, _ = train_boundary(encoder(), *shuffled, FAST, fine_tune=False)
    assert evaluate_scenes(Engine.from_checkpoint(made, backend="torch"), TEST).ap < 0.6


def test_a_hidden_layer_and_the_inputs_scale_are_in_the_checkpoint() -> None:
    config = FAST.__class__(head_size=8, epochs=2, frozen_batch_size=64)
    trained = train_head(Boundary, encoder(), TRAIN, VALIDATION, config)
    made = scene_checkpoint(trained)
    assert made.config.head_size == 8  # type: ignore[attr-defined]
    film = next(iter(TEST.values()))
    logits = Engine.from_checkpoint(made, backend="torch").logits(film)
    rows = torch.from_numpy(Engine.from_checkpoint(encoder(), backend="torch").embed(film))
    with torch.no_grad():
        np.testing.assert_allclose(logits, trained.model(rows).numpy(), atol=2e-5)


@pytest.mark.parametrize("windows", [False, True])
def test_deep_heads_and_scene_encoders_are_scene_models(tmp_path: Path, windows: bool) -> None:
    config = FAST.__class__(head_size=8, num_hidden=3, epochs=4, frozen_batch_size=64, learning_rate=1e-2)
    torch.manual_seed(3)
    sizes = {"max_length": 5, "hidden_size": 16, "ffn_size": 16, "num_heads": 2, "num_layers": 1}
    own = SceneEncoderConfig("embedding", encoder().config.modalities, **sizes)
    used = checkpoint_of(new_encoder(own, 0.02).eval()) if windows else encoder()
    trained = train_head(Boundary, used, TRAIN, VALIDATION, config)
    save_checkpoint(tmp_path / "scenes.safetensors", scene_checkpoint(trained))
    made = load_checkpoint(tmp_path / "scenes.safetensors")
    assert (made.config.head_size, made.config.head_layers) == (8, 3)  # type: ignore[attr-defined]
    film = next(iter(TEST.values()))
    rows = torch.from_numpy(Engine.from_checkpoint(used, backend="torch").embed(film))
    with torch.no_grad():
        want = trained.model(rows).numpy()
    for backend in ("torch", "native"):
        engine = Engine.from_checkpoint(made, backend=backend, compute_type="float32")
        np.testing.assert_allclose(engine.logits(film), want, atol=5e-5)
        found = evaluate_scenes(engine, VALIDATION).ap
        assert found == pytest.approx(trained.best.validation["ap"], abs=1e-3)  # type: ignore[index]
    again = train_head(Boundary, made, TRAIN, VALIDATION, config)
    assert again.encoder.weights_sha256() == used.weights_sha256()


def test_labels_that_teach_nothing_are_refused() -> None:
    flat = {n: Features(film.modalities, labels=np.zeros(film.num_shots, np.uint8)) for n, film in TRAIN.items()}
    bare = {n: Features(film.modalities) for n, film in TRAIN.items()}
    with pytest.raises(FeatureError, match="labels: expected 0 and 1 in the training films, got only 0"):
        train_boundary(encoder(), flat, VALIDATION, FAST, fine_tune=False)
    with pytest.raises(FeatureError, match="got films without labels"):
        train_boundary(encoder(), bare, VALIDATION, FAST, fine_tune=False)
    with pytest.raises(FeatureError, match="expected every film to have labels"):
        train_boundary(encoder(), TRAIN, bare, FAST, fine_tune=False)
    with pytest.raises(FeatureError, match="at least one boundary"):
        train_boundary(encoder(), TRAIN, flat, FAST, fine_tune=False)


def test_a_checkpoint_with_classes_is_an_encoder_too() -> None:
    made, _ = train_boundary(encoder(), TRAIN, VALIDATION, FAST, fine_tune=False)
    trained = train_head(Boundary, made, TRAIN, VALIDATION, FAST)
    assert trained.encoder.config.task == "embedding"
    assert trained.encoder.weights_sha256() == encoder().weights_sha256()
    assert evaluate_head(trained, TEST)["ap"] > 0.9
