"""Family long_range: the torch twin's laws, every backend against it, tokens, and configs that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shot_encoders import SCENE, expected, film, long_range
from support import random_checkpoint, small_config

torch = pytest.importorskip("torch")

from megaseg import Engine, models  # noqa: E402
from megaseg.engine.backends.torch.backend import TorchBackend  # noqa: E402
from megaseg.engine.model.config import ModelConfig  # noqa: E402
from megaseg.errors import CheckpointError  # noqa: E402
from megaseg.models import LongRangeBatch  # noqa: E402
from megaseg.models import long_range as twin  # noqa: E402

LENGTHS = (1, 6, 7, 8, 23)  # of a window of 7 shots: one shot, one less, whole, one more, many windows
ALL, SOUND, TEXT = "video audio language", "video audio", "video language"
CASES = [(ALL, {}), (ALL, SCENE), (SOUND, {}), (TEXT, {"task": "scene", "num_classes": 2}), (ALL, {"num_layers": 0})]


def batch(movie: dict[str, np.ndarray], *names: str) -> LongRangeBatch:
    shots = torch.from_numpy(movie["language.shots"])[None] if "language.shots" in movie else None
    return LongRangeBatch({name: torch.from_numpy(movie[name]).double()[None] for name in names}, token_shots=shots)


@pytest.mark.parametrize(("names", "changes"), CASES)
def test_state_dict_has_the_checkpoint_names_and_shapes(names: str, changes: dict[str, Any]) -> None:
    config = long_range(names, **changes)
    model = models.LongRange(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == config.tensor_shapes()
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_preset_has_the_sizes_of_the_paper() -> None:
    config = models.PRESETS["long-range"]
    assert [m.feature_size for m in config.modalities] == [2048, 128 + 768, 768]
    assert config.to_dict() | {"max_length": 30, "num_layers": 3} == config.to_dict()


@pytest.mark.parametrize(("names", "changes"), CASES)
@pytest.mark.parametrize("passes", [True, False])
def test_graph_is_the_twin(names: str, changes: dict[str, Any], passes: bool) -> None:
    checkpoint = random_checkpoint(long_range(names, **changes))
    engine = Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64", passes=passes)
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        want, found = expected(checkpoint, movie), engine.outputs(movie)
        assert found.keys() == want.keys()
        for name, rows in found.items():
            assert np.abs(rows - want[name]).max() < 1e-9, name


@pytest.mark.parametrize("names", [ALL, TEXT])
def test_onnx(names: str) -> None:
    pytest.importorskip("onnxruntime")
    checkpoint = random_checkpoint(long_range(names, **SCENE))
    engine = Engine.from_checkpoint(checkpoint, backend="onnx")
    for shots in LENGTHS:
        movie = film(checkpoint.config, shots)
        for name, want in expected(checkpoint, movie).items():
            assert np.abs(engine.outputs(movie)[name] - want).max() < 2e-5


def test_movies_together_are_movies_alone() -> None:
    checkpoint = random_checkpoint(long_range(**SCENE))
    engine = Engine.from_checkpoint(checkpoint)
    sizes = zip((*LENGTHS, 3), (0, 9, 1, 4, 30, 2), strict=True)
    movies = [film(checkpoint.config, shots, tokens=tokens) for shots, tokens in sizes]
    for movie, rows, whole in zip(movies, engine.embed_many(movies), engine.segment_many(movies), strict=True):
        assert np.array_equal(rows, engine.embed(movie))
        assert np.array_equal(whole.scores, engine.segment(movie).scores)


@pytest.mark.parametrize("tokens", [0, 1, 40])
def test_films_with_little_or_much_language(tokens: int) -> None:
    checkpoint = random_checkpoint(long_range())
    engine = Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float64")
    movie = film(checkpoint.config, 16, tokens=tokens)
    found, want = engine.outputs(movie), expected(checkpoint, movie)
    assert max(np.abs(rows - want[name]).max() for name, rows in found.items()) < 1e-9
    silent = np.isin(np.arange(16), movie["language.shots"], invert=True)
    assert np.array_equal(silent, ~found["context.language"].any(axis=1))


def test_language_a_row_a_shot_is_tokens() -> None:
    engine = Engine.from_checkpoint(random_checkpoint(long_range()), backend="torch")
    movie = film(engine.config, 9)
    rows = np.zeros((9, 6), np.float32)
    rows[[1, 4, 8]] = movie["language"][:3]
    tokens = {**movie, "language": movie["language"][:3], "language.shots": np.array([1, 4, 8], np.int32)}
    by_shot = {"video": movie["video"], "audio": movie["audio"], "language": rows}
    assert np.array_equal(engine.embed(by_shot), engine.embed(tokens))


@pytest.mark.parametrize("missing", ["video", "audio", "language"])
def test_an_absent_modality_is_zeros(missing: str) -> None:
    checkpoint = random_checkpoint(long_range())
    engine = Engine.from_checkpoint(checkpoint, backend="torch")
    movie = film(checkpoint.config, 10)
    given = {name: rows for name, rows in movie.items() if not name.startswith(missing)}
    zeros = {**movie, missing: np.zeros_like(movie[missing])}
    if missing == "language":
        zeros |= {"language": np.zeros((0, 6), np.float32), "language.shots": np.zeros(0, np.int32)}
    found, want = engine.outputs(given), engine.outputs(zeros)
    assert engine.absent(given) == (missing,)
    assert all(np.array_equal(rows, want[name]) for name, rows in found.items())


def test_the_decoder_reads_its_target_once_for_both_sources() -> None:
    def products(names: str, **changes: Any) -> int:
        backend = TorchBackend(random_checkpoint(long_range(names, **changes)), passes=())
        return sum(node.op == "linear" for node in backend.graph.nodes())

    layer, decoder = 5, 8  # linear layers: query, key and value, out, two hidden; in a decoder twice the first three
    own = products(ALL, num_layers=1) - products(SOUND, num_layers=1)
    assert own == 1 + layer + layer + (decoder - 3)  # projection, contextual, encoder, and decoder without its first


def test_padding_and_what_is_masked_change_nothing_else() -> None:
    model = twin.from_checkpoint(random_checkpoint(long_range()), torch.float64)
    own = batch(film(model.config, 5, tokens=4), "video", "audio", "language")
    features = {name: torch.cat([rows, torch.ones_like(rows[:, :2])], dim=1) for name, rows in own.features.items()}
    there = {name: torch.tensor([[True] * rows.shape[1] + [False] * 2]) for name, rows in own.features.items()}
    shots = torch.cat([own.token_shots, torch.tensor([[1, 4]])], dim=1)
    want = model(own)
    for name, rows in model(LongRangeBatch(features, there, shots)).items():
        assert torch.allclose(rows[:, : want[name].shape[1]], want[name], atol=1e-12), name
    masked = {
        "audio": torch.tensor([[False, True, False, True, False]]),
        "language": torch.tensor([[True] + [False] * 3]),
    }
    tokens = {name: torch.randn(24, dtype=torch.float64) for name in masked}
    changed = {
        name: torch.where(masked[name][..., None], rows + 3, rows) if name in masked else rows
        for name, rows in own.features.items()
    }
    hidden = model(LongRangeBatch(own.features, {}, own.token_shots, masked), tokens)
    again = model(LongRangeBatch(changed, {}, own.token_shots, masked), tokens)
    assert all(torch.equal(hidden[name], again[name]) for name in hidden)
    assert not torch.allclose(hidden["context.audio"], want["context.audio"])


def test_every_weight_is_trained_and_kept() -> None:
    model = models.LongRange(long_range(**SCENE, dropout=0.0)).double()
    own = batch(film(model.config, 6), "video", "audio", "language")
    outputs = model(own)
    sum(outputs[name].square().sum() for name in ("logits", "cross.language", "tokens.language")).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    copy = twin.from_checkpoint(twin.to_checkpoint(model.float()))
    single = LongRangeBatch({name: rows.float() for name, rows in own.features.items()}, token_shots=own.token_shots)
    found = copy(single)
    assert all(torch.equal(found[name], rows) for name, rows in model.eval()(single).items())
    with pytest.raises(CheckpointError, match="expected a model of family long_range, got one of mega"):
        twin.from_checkpoint(random_checkpoint(small_config()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video": "audio"}, "video must be the first modality 'video', got 'audio'"),
        ({"language": "subtitle"}, r"language must be one of the other modalities \['audio', 'language'\], got 'sub"),
        ({"audio": "video"}, r"audio must be one of the other modalities \['audio', 'language'\], got 'video'"),
        ({"audio": None, "language": None}, "audio or language must name a modality, got neither"),
        ({"audio": None}, "modalities must be those of video, audio and language"),
        ({"audio": "language"}, "modalities must be those of video, audio and language"),
        ({"step": 8}, "step must be from 1 to 7, got 8"),
        ({"step": 0}, "step must be from 1 to 7, got 0"),
        ({"head_size": 4}, "head_size must be 0 without num_classes, got 4"),
        ({"task": "synopsis"}, "task must be one of embedding, scene, got 'synopsis'"),
    ],
)
def test_configs_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    values = {**long_range().to_dict(), **changes}
    with pytest.raises(CheckpointError, match=f"config: {message}"):
        ModelConfig.from_dict(values)
