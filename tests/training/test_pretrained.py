"""What a pretraining run leaves: an encoder that the engine runs on raw features, and scene models on top of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretraining import film, films, with_tokens
from support import Run

from megaseg import Engine, Features, load_checkpoint, load_features, save_features

torch = pytest.importorskip("torch")
from megaseg.evaluation.split import held_out  # noqa: E402
from megaseg.models.long_range import LongRangeBatch  # noqa: E402
from megaseg.training.recipes.pretrain.batches import Windows  # noqa: E402
from megaseg.training.recipes.pretrain.config import LongRangePretrainConfig, PretrainConfig  # noqa: E402
from megaseg.training.recipes.pretrain.films import Films, fitted  # noqa: E402
from megaseg.training.recipes.pretrain.run import pretrain  # noqa: E402
from megaseg.training.recipes.pretrain.setup import new_model, roles_of  # noqa: E402

SIZES: dict[str, Any] = {
    "length": 20, "hidden_size": 16, "ffn_size": 32, "num_heads": 2, "num_layers": 1, "batch_size": 8, "epochs": 0,
    "components": {"audio": 4},
}  # fmt: skip
CONFIGS = {"contextualizer": PretrainConfig(**SIZES), "long_range": LongRangePretrainConfig(**SIZES)}
MOVIES = {
    "whole": film(0, 20),
    "short": film(1, 13),
    "silent": film(2, 20, ("video", "audio")),
    "mute": film(3, 9, ("video", "language")),
}


@pytest.mark.parametrize("family", CONFIGS)
@torch.no_grad()
def test_the_engine_embeds_raw_films_as_training_saw_them(tmp_path: Path, family: str) -> None:
    """Scalings are folded into the projections: also those of what a film does not have, and of padding."""
    config, movies = CONFIGS[family], dict(MOVIES)
    if family == "long_range":
        movies["whole"] = with_tokens(movies["whole"])
    language = "language" if family == "long_range" else None
    engine = Engine.from_checkpoint(pretrain(movies, config, tmp_path), backend="torch")
    roles = roles_of(movies, config)
    validating = held_out(list(movies), config.validation_share)
    scalings = fitted({n: m for n, m in movies.items() if n not in validating}, list(roles), config.components)
    widths = {name: own.basis.shape[1] for name, own in scalings.items()}
    model = new_model(config, roles, widths, "toy/1").eval().encoder
    (batch,) = Windows(Films.scaled(movies, scalings, language), 20, 0.0, together=language is None).fixed(9)
    if family == "contextualizer":
        rows = model(batch.features, batch.there["video"])
    else:
        rows = model(LongRangeBatch(batch.features, batch.there, batch.shots))["embedding"]
    for movie, own in zip(movies.values(), rows, strict=True):
        np.testing.assert_allclose(engine.embed(movie), own[: movie.num_shots], atol=2e-4)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "films"
    path.mkdir()
    for name, movie in films(10).items():
        save_features(path / f"{name}.npz", movie)
    return path


SMALL = {"max_length": 5, "hidden_size": 16, "ffn_size": 16, "num_heads": 2, "epochs": 1, "window_stride": 5}


def test_a_scene_model_learns_from_the_embeddings(run: Run, labelled: Path, tmp_path: Path) -> None:
    pretrain(films(10), dataclasses.replace(CONFIGS["contextualizer"], epochs=1), tmp_path / "run")
    (tmp_path / "scene.json").write_text(json.dumps(SMALL))
    model = tmp_path / "scene.safetensors"
    shared = ("train", "scene", labelled, "-o", model, "--config", tmp_path / "scene.json", "--folds", "2", "--json")
    code, out, err = run(*shared, "--features-from", tmp_path / "run", "--keep", "video")
    assert code == 0, err
    checkpoint = load_checkpoint(model)
    digest = load_checkpoint(tmp_path / "run/encoder.safetensors").content_sha256()[:12]
    assert {m.name: m.feature_size for m in checkpoint.config.modalities} == {"embedding": 16, "video": 12}
    assert checkpoint.config.recipe == f"embedding/{digest}"
    encoder, made = tmp_path / "run" / "encoder.safetensors", tmp_path / "embeddings"
    code, _, err = run("embed", labelled, "-c", encoder, "-o", made, "--keep", "video")
    assert code == 0, err
    code, scored, err = run("eval", "scene", made, "--checkpoint", model, "--fold", "0", "--folds", "2", "--json")
    assert code == 0, err
    assert json.loads(scored)["ap"] == pytest.approx(json.loads(out)["ap"], abs=2e-3)
    assert load_features(made / "film1.npz").recipe == f"embedding/{digest}"


def test_films_that_the_encoder_cannot_read_are_named(run: Run, labelled: Path, tmp_path: Path) -> None:
    pretrain(films(10), CONFIGS["contextualizer"], tmp_path / "run")
    save_features(labelled / "odd.npz", Features({"smell": np.eye(9, dtype=np.float32)}, labels=np.ones(9, np.uint8)))
    shared = ("train", "scene", labelled, "-o", tmp_path / "m.safetensors")
    code, _, err = run(*shared, "--features-from", tmp_path / "run")
    assert (code, "odd: features: expected at least one of the modalities" in err) == (2, True)
    code, _, err = run(*shared, "--keep", "video")
    assert (code, "--keep: expected --features-from" in err) == (2, True)
