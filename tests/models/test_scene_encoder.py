"""Family scene_encoder: the torch twin's laws, every backend against it, streams, and configs that are refused."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from shot_encoders import SCENE, expected, film, scene_encoder
from support import random_checkpoint, small_config

torch = pytest.importorskip("torch")

from megaseg import Engine, models  # noqa: E402
from megaseg.engine.graph.passes import rewrite  # noqa: E402
from megaseg.engine.model.config import ModelConfig  # noqa: E402
from megaseg.engine.model.family import graph_of  # noqa: E402
from megaseg.errors import CheckpointError  # noqa: E402
from megaseg.models import scene_encoder as twin  # noqa: E402

LENGTHS = (1, 3, 7, 8, 23)  # of a window of 7 shots


@pytest.mark.parametrize("changes", [{}, SCENE, {**SCENE, "head_size": 0}, {"num_layers": 0}], ids=str)
def test_state_dict_has_the_checkpoint_names_and_shapes(changes: dict[str, Any]) -> None:
    config = scene_encoder(**changes)
    model = models.SceneEncoder(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == config.tensor_shapes()
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_preset_is_the_papers() -> None:
    config = dataclasses.asdict(models.PRESETS["scene-encoder"])
    assert config | {"max_length": 9, "num_classes": 0} == config
    assert models.preset("scene-encoder", modalities=[("clip", 7)]).modalities[0].feature_size == 7


@pytest.mark.parametrize("changes", [{}, SCENE, {**SCENE, "head_size": 0}, {"num_layers": 0}, {"max_length": 1}])
@pytest.mark.parametrize("names", ["video audio", "video"])
@pytest.mark.parametrize("passes", [True, False])
def test_graph_is_the_twin(changes: dict[str, Any], names: str, passes: bool) -> None:
    checkpoint = random_checkpoint(scene_encoder(names, **changes))
    engine = Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64", passes=passes)
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        want, found = expected(checkpoint, movie), engine.outputs(movie)
        assert found.keys() == want.keys()
        for name, rows in found.items():
            assert np.abs(rows - want[name]).max() < 1e-9


def test_onnx() -> None:
    pytest.importorskip("onnxruntime")
    checkpoint = random_checkpoint(scene_encoder(**SCENE))
    engine = Engine.from_checkpoint(checkpoint, backend="onnx")
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        for name, want in expected(checkpoint, movie).items():
            assert np.abs(engine.outputs(movie)[name] - want).max() < 2e-5


def test_the_last_layer_is_computed_for_the_class_token_alone() -> None:
    graph = rewrite(graph_of(random_checkpoint(scene_encoder(num_layers=3))))
    spaces = Counter(node.space for node in graph.nodes() if node.op in ("attention", "query_attention"))
    assert spaces == {"tokens": 2, "sequences": 1}
    assert all(node.space == "shots" for node in graph.nodes() if node.op == "features")
    assert not any(node.op == "windows" for node in graph.nodes())


def test_what_is_left_out_changes_nothing() -> None:
    model = twin.from_checkpoint(random_checkpoint(scene_encoder()), torch.float64)
    movie = {name: torch.from_numpy(rows).double()[None] for name, rows in film(model.config, 7).items()}
    there = torch.tensor([[True] * 5 + [False] * 2])
    others = {name: torch.where(there[..., None], rows, rows + 3) for name, rows in movie.items()}
    assert torch.allclose(model(others, there), model(movie, there), atol=1e-12)
    assert not torch.allclose(model(movie), model(movie, there))
    assert model(movie).shape == (1, 24)


def test_trains_and_round_trips_through_a_checkpoint() -> None:
    torch.manual_seed(0)
    config = scene_encoder(**SCENE, dropout=0.0)
    model = models.SceneEncoder(config)
    scenes = {name: torch.from_numpy(rows.reshape(6, 7, -1)) for name, rows in film(config, 42).items()}
    labels = torch.tensor([0, 1, 0, 0, 1, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model.logits(model(scenes)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(weight.grad is not None for weight in model.parameters())
    copy = twin.from_checkpoint(twin.to_checkpoint(model))
    assert torch.equal(copy(scenes), model.eval()(scenes))
    with pytest.raises(CheckpointError, match="expected a model of family scene_encoder, got one of mega"):
        twin.from_checkpoint(random_checkpoint(small_config()))


def test_streams_of_scenes_are_the_whole_movie() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(scene_encoder(**SCENE)))
    movie = film(engine.config, 30)
    stream = engine.stream()
    for begin in range(0, 30, 4):
        stream.push({name: rows[begin : begin + 4] for name, rows in movie.items()})
    stream.close()
    assert np.array_equal(stream.segmentation().scores, engine.segment(movie).scores)
    assert np.array_equal(engine.embed_many([movie, film(engine.config, 3)])[0], engine.embed(movie))


def test_an_absent_modality_is_zeros() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(scene_encoder()))
    movie = film(engine.config, 11)
    alone = {"video": movie["video"]}
    assert np.array_equal(engine.embed(alone), engine.embed({**movie, "audio": np.zeros_like(movie["audio"])}))
    assert engine.absent(alone) == ("audio",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 8}, r"max_length must be odd \(a centred window\), got 8"),
        ({"max_length": 0}, "max_length must be from 1"),
        ({"task": "act"}, "task must be one of embedding, scene, got 'act'"),
        ({"head_size": 4}, "head_size must be 0 without num_classes, got 4"),
        ({"task": "scene"}, "num_classes of task scene must be 2, got 0"),
        ({"num_heads": 5}, "hidden_size must be a multiple of num_heads, got 24 and 5"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"num_layers": 1000}, "num_layers must be from 0 to 256, got 1000"),
    ],
)
def test_configs_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"config: {message}"):
        ModelConfig.from_dict({**scene_encoder().to_dict(), **changes})
