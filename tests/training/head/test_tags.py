"""Tags of films and scenes: what is learned, what a scene's mean is made of, figures by hand, and files of tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_films import FAST, WIDTH, encoder, noise
from shot_encoders import contextualizer, film, movie_encoder, scene_encoder

from megaseg import Engine, Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.pipelines.scenes import scene_vectors
from megaseg.training.recipes.head.boundary import Boundary
from megaseg.training.recipes.head.encoder import checkpoint_of, encoder_of, layout_of, new_encoder, reach_of
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.labels import Tags, read_tags
from megaseg.training.recipes.head.protocol import Drawing
from megaseg.training.recipes.head.run import Mode, evaluate_head, train_head
from megaseg.training.recipes.head.tags import Tagging

NUMBERS: dict[str, Any] = {"hidden_size": 32, "ffn_size": 32, "num_heads": 2, "num_layers": 1, "max_length": 5}


def drawn(config: Any) -> Checkpoint:
    torch.manual_seed(3)
    return checkpoint_of(new_encoder(config.replaced(modalities=(Modality("visual", WIDTH),)), 0.02).eval())


ENCODERS = {
    "contextualizer": encoder(),
    "scene_encoder": drawn(scene_encoder("video", **NUMBERS)),
    "movie_encoder": drawn(movie_encoder("video", hidden_size=32, num_layers=1)),
}


def tagged(count: int, seed: int) -> tuple[dict[str, Features], dict[str, Tags]]:
    """Films of scenes, each with its own of two tags, which are two of the features."""
    rng, films, labels = np.random.default_rng(seed), {}, {}
    for number in range(count):
        rows, own, first = [], {}, 0
        for _ in range(6):
            shots, tags = int(rng.integers(2, 9)), rng.random(2) < 0.4
            scene = noise(rng, shots)
            scene[:, :2] += 4 * tags
            own[first, first + shots - 1] = tuple(np.array(["car", "night"])[tags].tolist())
            rows.append(scene)
            first += shots
        name = f"film-{seed}-{number}"
        films[name], labels[name] = Features({"visual": np.concatenate(rows)}), own
    return films, labels


(TRAIN, OWN), (VALIDATION, OTHERS), (TEST, ASKED) = tagged(12, 0), tagged(4, 1), tagged(8, 2)
LABELS = {**OWN, **OTHERS, **ASKED}


@pytest.mark.parametrize("mode", [Mode(), Mode(fine_tune=True), Mode(from_scratch=True)], ids=str)
@pytest.mark.parametrize("family", ENCODERS)
def test_tags_of_scenes_are_learned(family: str, mode: Mode) -> None:
    trained = train_head(Tagging, ENCODERS[family], TRAIN, VALIDATION, FAST, mode, LABELS)
    figures = evaluate_head(trained, TEST, LABELS)
    assert trained.head == Tagging(("car", "night"))
    assert figures["map"] > 0.85
    assert (figures["scenes"], figures["tags"]) == (48, 2)
    assert 0.2 < figures["chance"] < 0.6


def test_shuffled_tags_are_not() -> None:
    rng = np.random.default_rng(0)
    wrong = {
        name: dict(zip(own, [list(own.values())[k] for k in rng.permutation(len(own))], strict=True))
        for name, own in {**OWN, **OTHERS}.items()
    }
    trained = train_head(Tagging, encoder(), TRAIN, VALIDATION, FAST, labels=wrong)
    figures = evaluate_head(trained, TEST, LABELS)
    assert figures["map"] < figures["chance"] + 0.2


def test_deep_heads_by_sgd() -> None:
    config = FAST.__class__(
        head_size=16, num_hidden=3, optimizer="sgd", momentum=0.0, learning_rate=1.0, weight_decay=0.0, epochs=30,
        patience=30, head_dropout=0.0, frozen_batch_size=16,
    )  # fmt: skip
    trained = train_head(Tagging, encoder(), TRAIN, VALIDATION, config, labels=LABELS)
    names = {name.split(".")[1] for name in trained.model.state_dict() if name.startswith("layers.")}
    assert names == {"hidden", "hidden2", "hidden3", "head"}
    assert evaluate_head(trained, TEST, LABELS)["map"] > 0.85


@pytest.mark.parametrize("config", [contextualizer(), scene_encoder(), movie_encoder()], ids=lambda own: own.family)
def test_a_scene_is_the_mean_that_pipelines_give(config: Any) -> None:
    torch.manual_seed(1)
    checkpoint = checkpoint_of(new_encoder(config, 0.02).eval())
    movies = {f"film-{n}": film(config, n) for n in (9, 70)}
    scenes = {"film-9": {(0, 8): ("a",), (2, 2): ()}, "film-70": {(3, 60): ("a",), (10, 13): (), (69, 69): ("b",)}}
    films = Films.of({name: Features.from_mapping(movie) for name, movie in movies.items()}, config)
    drawing = Drawing(FAST, *layout_of(config), np.random.default_rng(0), False, False, reach_of(config))
    head = Tagging(("a", "b"))
    examples = head.examples(films, scenes, drawing)
    with torch.no_grad():
        means, targets = head.read(encoder_of(checkpoint).embed(films, examples.rows), examples)
    engine = Engine.from_checkpoint(checkpoint, backend="torch", compute_type="float32")
    want = np.concatenate([scene_vectors(engine, movies[name], list(own)) for name, own in scenes.items()])
    unit = torch.nn.functional.normalize(means, dim=1)
    np.testing.assert_allclose(unit, want, atol=2e-5)
    assert targets.tolist() == [[1, 0], [0, 0], [1, 0], [0, 0], [0, 1]]


def test_whole_films_have_tags_too() -> None:
    films = dict(list(TRAIN.items())[:8])
    own = {name: {None: ("long",) if movie.num_shots > 30 else ()} for name, movie in films.items()}
    films["film-0-0"] = Features({"visual": films["film-0-0"].modalities["visual"][:3]})
    own["film-0-0"] = {None: ()}
    trained = train_head(Tagging, encoder(), films, films, FAST, labels=own)
    assert evaluate_head(trained, films, own)["scenes"] == 8


def test_figures_by_hand() -> None:
    truth = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    said = torch.tensor([[0.9, 0.8, 0.9], [0.6, 0.7, 0.1], [0.2, 0.1, 0.1]])
    figures = Tagging(("a", "b", "c")).metrics(said, truth, None)  # type: ignore[arg-type]
    assert figures == {
        "map": pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2),
        "f1": pytest.approx(2 * 2 / (5 + 3)),
        "f1_per_tag": pytest.approx((2 / 4 + 2 / 3) / 2),
        "chance": pytest.approx((2 / 3 + 1 / 3) / 2),
        "tags": 2,
        "scenes": 3,
    }
    with pytest.raises(FeatureError, match="expected tags of some scenes to evaluate on, got none"):
        Tagging(("a", "b", "c")).metrics(said, torch.zeros(3, 3), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({key: {None: ("a",)} for key in TRAIN}, "expected tags that differ in the training films, got always .'a'"),
        ({key: {None: ()} for key in TRAIN}, "expected tags that differ in the training films, got always .."),
        ({"film-1-0": {(0, 500): ("car",)}}, r"label of film-1-0: expected a scene of shots 0 to \d+, got 0 to 500"),
        ({"film-1-0": {None: ("boat",)}}, "label of film-1-0: expected one of the classes car, night, got 'boat'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(changes: dict[str, Tags], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        train_head(Tagging, encoder(), TRAIN, VALIDATION, FAST, labels={**LABELS, **changes})


def test_boundaries_need_neighbours() -> None:
    with pytest.raises(UnsupportedError, match="head boundary: expected an encoder that sees a shot's neighbours"):
        train_head(Boundary, ENCODERS["movie_encoder"], TRAIN, VALIDATION, FAST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,label\na,car|night\nb,\na, office \n", {"a": {None: ("car", "night", "office")}, "b": {None: ()}}),
        (
            "name,first,last,label\na,3,9,car\na,0,2,night|car\na,3,9,car|bar\na,10,10,\n",
            {"a": {(0, 2): ("car", "night"), (3, 9): ("bar", "car"), (10, 10): ()}},
        ),
    ],
)
def test_files_of_tags(tmp_path: Path, text: str, expected: Any) -> None:
    (tmp_path / "tags.csv").write_text(text)
    found = read_tags(tmp_path / "tags.csv")
    assert found == expected
    assert [list(own) for own in found.values()] == [list(own) for own in expected.values()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,tag\na,car\n", "expected header name,label, got 'name,tag'"),
        ("name,label\na\n", "line 2: expected name,label, got 'a'"),
        ("name,label\n,car\n", "line 2: expected name,label, got ',car'"),
        ("name,first,last,label\na,9,3,car\n", "line 2: expected the first and last shot of a scene, .*got '9,3'"),
        ("name,first,last,label\na,-1,3,car\n", "line 2: expected the first and last shot .*got '-1,3'"),
        ("name,label\n", "expected labels, got a header alone"),
    ],
)
def test_files_of_tags_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tags.csv").write_text(text)
    with pytest.raises(FeatureError, match=rf"tags\.csv: .*{message}|tags\.csv: {message}"):
        read_tags(tmp_path / "tags.csv")
