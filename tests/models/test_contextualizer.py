"""Family contextualizer: the torch twin's laws, every backend against it, and configs that are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from shot_encoders import SCENE, contextualizer, expected, film
from support import random_checkpoint, small_config

torch = pytest.importorskip("torch")

from megaseg import Engine, models  # noqa: E402
from megaseg.engine.model.config import ModelConfig  # noqa: E402
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError  # noqa: E402
from megaseg.models import contextualizer as twin  # noqa: E402

LENGTHS = (1, 6, 7, 8, 23)  # of a window of 7 shots: one shot, one less, whole, one more, many windows


@pytest.mark.parametrize("changes", [{}, SCENE, {**SCENE, "head_size": 0}, {"num_layers": 0}], ids=str)
def test_state_dict_has_the_checkpoint_names_and_shapes(changes: dict[str, Any]) -> None:
    config = contextualizer(**changes)
    model = models.Contextualizer(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == config.tensor_shapes()
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_preset() -> None:
    config = models.PRESETS["contextualizer"]
    assert dataclasses.asdict(config) | {"max_length": 64, "hidden_size": 256, "num_layers": 3, "num_heads": 4} == (
        dataclasses.asdict(config)
    )
    assert models.preset("contextualizer", modalities=[("clip", 512)]).modalities[0].feature_size == 512


@pytest.mark.parametrize("changes", [{}, SCENE, {**SCENE, "head_size": 0}, {"num_layers": 0, "step": 7}], ids=str)
@pytest.mark.parametrize("names", ["video audio", "video"])
@pytest.mark.parametrize("passes", [True, False])
def test_graph_is_the_twin(changes: dict[str, Any], names: str, passes: bool) -> None:
    checkpoint = random_checkpoint(contextualizer(names, **changes))
    engine = Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64", passes=passes)
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        want, found = expected(checkpoint, movie), engine.outputs(movie)
        assert found.keys() == want.keys()
        for name, rows in found.items():
            assert np.abs(rows - want[name]).max() < 1e-9


def test_onnx() -> None:
    pytest.importorskip("onnxruntime")
    checkpoint = random_checkpoint(contextualizer(**SCENE))
    engine = Engine.from_checkpoint(checkpoint, backend="onnx")
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        for name, want in expected(checkpoint, movie).items():
            assert np.abs(engine.outputs(movie)[name] - want).max() < 2e-5


def test_movies_together_are_movies_alone() -> None:
    checkpoint = random_checkpoint(contextualizer(**SCENE))
    engine = Engine.from_checkpoint(checkpoint)
    movies = [film(checkpoint.config, shots) for shots in (*LENGTHS, 3)]
    for movie, rows, whole in zip(movies, engine.embed_many(movies), engine.segment_many(movies), strict=True):
        assert np.array_equal(rows, engine.embed(movie))
        assert np.array_equal(rows, engine.outputs(movie)["embedding"])
        assert np.array_equal(whole.scores, engine.segment(movie).scores)


def test_padding_and_what_is_masked_change_nothing_else() -> None:
    model = twin.from_checkpoint(random_checkpoint(contextualizer()), torch.float64)
    movie = {name: torch.from_numpy(rows).double()[None] for name, rows in film(model.config, 5).items()}
    padded = {name: torch.cat([rows, torch.ones_like(rows[:, :2])], dim=1) for name, rows in movie.items()}
    there = torch.tensor([[True] * 5 + [False] * 2])
    assert torch.allclose(model(padded, there)[:, :5], model(movie), atol=1e-12)
    masked = torch.tensor([[False, True, False, False, True]])
    token = torch.randn(model.config.hidden_size, dtype=torch.float64)
    changed = {name: torch.where(masked[..., None], rows + 5, rows) for name, rows in movie.items()}
    hidden = model(movie, masked=masked, mask_token=token)
    assert torch.equal(hidden, model(changed, masked=masked, mask_token=token))
    assert not torch.allclose(hidden, model(movie))


def test_trains_and_round_trips_through_a_checkpoint() -> None:
    torch.manual_seed(0)
    config = contextualizer(**SCENE, dropout=0.0)
    model = models.Contextualizer(config)
    movie = {name: torch.from_numpy(rows)[None] for name, rows in film(config, 6).items()}
    labels = torch.tensor([0, 1, 0, 0, 1, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model.logits(model(movie))[0], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(weight.grad is not None for weight in model.parameters())
    copy = twin.from_checkpoint(twin.to_checkpoint(model))
    assert torch.equal(copy(movie), model.eval()(movie))
    with pytest.raises(CheckpointError, match="expected a model of family contextualizer, got one of mega"):
        twin.from_checkpoint(random_checkpoint(small_config()))


def test_an_absent_modality_is_zeros() -> None:
    checkpoint = random_checkpoint(contextualizer())
    engine = Engine.from_checkpoint(checkpoint)
    movie = film(checkpoint.config, 11)
    zeros = {**movie, "audio": np.zeros_like(movie["audio"])}
    alone = {"video": movie["video"], "subtitles": movie["audio"]}  # another one is not read
    assert np.array_equal(engine.embed(alone), engine.embed(zeros))
    assert engine.absent(alone) == ("audio",)
    assert engine.absent(movie) == ()
    with pytest.raises(FeatureError, match=r"at least one of the modalities \['video', 'audio'\], got \['subtitles'\]"):
        engine.embed({"subtitles": movie["audio"]})
    with pytest.raises(FeatureError, match="video: expected 7 features"):
        engine.embed({"video": movie["audio"]})


def test_an_encoder_decides_nothing_and_a_scene_model_does() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(contextualizer()))
    movie = film(engine.config, 9)
    assert engine.embed(movie).shape == (9, 24)
    with pytest.raises(UnsupportedError, match="segment: expected a .*scene.* model, got one of task embedding"):
        engine.segment(movie)
    with pytest.raises(UnsupportedError, match="outputs: expected some of embedding, got 'logits'"):
        engine.logits(movie)
    scenes = Engine.from_checkpoint(random_checkpoint(contextualizer(**SCENE)))
    assert len(scenes.segment(movie, num_scenes=3).scenes) == 3
    mega = Engine.from_checkpoint(random_checkpoint(small_config()))
    with pytest.raises(UnsupportedError, match="embed: expected a model with output embedding, got one with logits"):
        mega.embed({"clip": np.ones((3, 13), np.float32), "audio": np.ones((3, 7), np.float32)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 8}, "step must be from 1 to 7, got 8"),
        ({"step": 0}, "step must be from 1 to 7, got 0"),
        ({"task": "act"}, "task must be one of embedding, scene, got 'act'"),
        ({"head_size": 4}, "head_size must be 0 without num_classes, got 4"),
        ({"num_classes": 2}, "num_classes of task embedding must be 0, got 2"),
        ({"task": "scene", "num_classes": 3}, "num_classes of task scene must be 2, got 3"),
        ({"task": "scene"}, "num_classes of task scene must be 2, got 0"),
        ({"num_heads": 5}, "hidden_size must be a multiple of num_heads, got 24 and 5"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"layer_norm_eps": 0.0}, r"layer_norm_eps must be in \(0, 1\), got 0.0"),
        ({"num_layers": 1000}, "num_layers must be from 0 to 256, got 1000"),
        ({"max_length": 0}, "max_length must be from 1"),
    ],
)
def test_configs_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    values = {**contextualizer().to_dict(), **changes}
    with pytest.raises(CheckpointError, match=f"config: {message}"):
        ModelConfig.from_dict(values)
