"""Act training on small synthetic movies: each phase, whole runs, resuming, ablations, and data that does not fit."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from megaseg.engine.engine import Engine
from megaseg.engine.model.checkpoint import load_checkpoint
from megaseg.errors import CheckpointError, FeatureError
from megaseg.features.text.synopsis import read_synopses
from megaseg.features.text.words import BINS
from megaseg.models import from_checkpoint
from megaseg.training.objectives import synchronisation
from megaseg.training.objectives.distillation import transferred
from megaseg.training.objectives.order import ordered_attention
from megaseg.training.recipes.act.config import ActConfig
from megaseg.training.recipes.act.data import ActMovie, labels_of, load_movies, read_silver, resample, silver_gold
from megaseg.training.recipes.act.embeddings import batch, text_embeddings
from megaseg.training.recipes.act.model import shot_model
from megaseg.training.recipes.act.run import ActRun, Task

WIDTH = 12
SMALL = ActConfig(
    max_length=100,
    num_bottleneck=6,
    hidden_size=16,
    ffn_size=16,
    num_heads=2,
    synopsis_epochs=2,
    rounds=2,
    round_epochs=1,
    epochs=2,
    batch_size=4,
    text="clip",
    density=0.1,
)


def movie(name: str, seed: int, scenes: int = 60, sentences: int = 15) -> ActMovie:
    """One scene shows what a sentence tells, somewhere in its part; those of turning points bear a flag."""
    rng = np.random.default_rng(seed)
    told = rng.standard_normal((sentences, WIDTH)).astype(np.float32)
    edges = np.arange(sentences + 1) * scenes // sentences
    where = [int(rng.integers(low, high)) for low, high in itertools.pairwise(edges)]
    clip = rng.standard_normal((scenes, WIDTH)).astype(np.float32)
    clip[where] = told + 0.3 * clip[where]
    points = [3 * k + int(rng.integers(3)) for k in range(5)]
    labels = np.zeros((sentences, 5), np.float32)
    labels[points, range(5)] = 1
    peaks = [where[point] for point in points]
    flag = 0.1 * rng.standard_normal((scenes, 3)).astype(np.float32)
    flag[peaks, 0] += 3
    silver = np.full((scenes, 5), 0.1 / scenes, np.float32)
    silver[peaks, range(5)] += 0.9
    return ActMovie(
        name,
        {"clip": torch.from_numpy(clip), "flag": torch.from_numpy(flag)},
        torch.from_numpy(told),
        torch.from_numpy(labels),
        None,
        torch.from_numpy(silver / silver.sum(0)),
    )


def task(train: int = 6, validation: int = 3) -> Task:
    movies = [movie(f"m{i}", i, scenes=50 + i) for i in range(train + validation)]
    held_out = movies[train:]
    return Task(movies[:train], held_out, silver_gold(held_out), "test/1", {"data": "synthetic"})


def run(config: ActConfig, folder: Path, **sizes: int) -> dict[str, Any]:
    return ActRun(config, task(**sizes), folder).run()


def test_a_run_leaves_checkpoints_and_a_log(tmp_path: Path) -> None:
    result = run(SMALL, tmp_path)
    assert set(result["validation"]) == {"ta", "pa", "d"}
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events[-1] == result
    assert [e["round"] for e in events if "lambda" in e] == [0, 1]
    assert all(0 < e["density"] < 0.2 for e in events if "lambda" in e)
    kept = load_checkpoint(tmp_path / "act.safetensors")
    assert kept.config.recipe == "test/1"
    assert [m.feature_size for m in kept.config.modalities] == [WIDTH, 3]
    pair = {name: load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("synchronised", "synopsis")}
    assert [own.config.task for own in pair.values()] == ["act", "synopsis"]
    assert not (tmp_path / "state.safetensors").exists()
    features = {name: rows.numpy() for name, rows in movie("new", 99).scenes.items()}
    found = Engine.from_checkpoint(tmp_path / "act.safetensors", compute_type="float32").segment(features)
    assert len(found.turning_points) == 5


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_and_another_another(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(dataclasses.replace(SMALL, seed=seed), tmp_path / name)
    a, b, c = (load_checkpoint(tmp_path / name / "act.safetensors").tensors["head.weight"] for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    run(SMALL, tmp_path / "whole")
    saved = 0
    save = ActRun._save

    def save_and_stop(self: ActRun, *args: Any) -> None:
        nonlocal saved
        save(self, *args)
        saved += 1
        if saved == at + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ActRun, "_save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(SMALL, tmp_path / "parts")
    run(SMALL, tmp_path / "parts")
    for name in ("act", "synopsis"):
        whole, parts = (load_checkpoint(tmp_path / folder / f"{name}.safetensors") for folder in ("whole", "parts"))
        for key, tensor in whole.tensors.items():
            np.testing.assert_array_equal(tensor, parts.tensors[key])
    logs = [(tmp_path / folder / "log.jsonl").read_text().splitlines()[:-1] for folder in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_a_state_of_another_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: ActRun, *args: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ActRun, "_distil", stop)
        with pytest.raises(KeyboardInterrupt):
            run(SMALL, tmp_path)
    with pytest.raises(CheckpointError, match="another run's"):
        run(dataclasses.replace(SMALL, density=0.2), tmp_path)


@pytest.mark.slow
def test_training_finds_turning_points_that_are_there(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, synopsis_epochs=10, round_epochs=3, epochs=40, patience=40)
    result = run(config, tmp_path, train=24, validation=8)
    assert result["validation"]["pa"] > result["prior"]["pa"] + 20
    assert result["validation"]["d"] < result["prior"]["d"]


@pytest.mark.slow
def test_mega_star_learns_from_the_teacher_alone(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, variant="mega*", epochs=100, patience=100, learning_rate=5e-3)
    result = run(config, tmp_path, train=24, validation=8)
    assert result["validation"]["pa"] > result["prior"]["pa"] + 20
    assert not (tmp_path / "synopsis.safetensors").exists()
    without = dataclasses.replace(task().train[0], silver=None)
    with pytest.raises(FeatureError, match="expected silver distributions of every movie, got none of m0"):
        ActRun(config, Task([without], [], {}, None, {}), tmp_path / "none")


@pytest.mark.parametrize("shots", [True, False])
@pytest.mark.parametrize("bottlenecks", [True, False])
def test_ablated_models_are_ordinary_checkpoints(shots: bool, bottlenecks: bool) -> None:
    config = dataclasses.replace(SMALL, align_in_shots=shots, align_in_bottlenecks=bottlenecks)
    torch.manual_seed(0)
    model = shot_model(config, {"clip": WIDTH, "flag": 3}, None).eval()
    scenes = batch(movie("a", 0).scenes)
    with torch.inference_mode():
        torch.testing.assert_close(model(scenes), from_checkpoint(model.checkpoint())(scenes), rtol=1e-5, atol=1e-5)
    if not shots and not bottlenecks:
        assert not model.checkpoint().tensors["align.weight"].any()


def test_late_fusion_lets_no_modality_see_another() -> None:
    torch.manual_seed(0)
    for late, sees in ((True, False), (False, True)):
        model = shot_model(dataclasses.replace(SMALL, late_fusion=late), {"clip": WIDTH, "flag": 3}, None).eval()
        scenes = batch(movie("a", 0).scenes)
        with torch.inference_mode():
            rows = model.fused(scenes)[..., :16]
            other = model.fused({**scenes, "flag": scenes["flag"] + 1})[..., :16]
        assert bool((rows != other).any()) is sees


def test_the_reading_order_settles_what_sentences_leave_open() -> None:
    scores = torch.zeros(40, 8)
    scores[5, 1] = scores[25, 5] = 12.0
    scores[35, 3] = 3.0  # against the order: sentence 3 lies between 1 and 5
    a = ordered_attention(scores)
    torch.testing.assert_close(a.sum(0), torch.ones(8))
    assert a[:, 1].argmax() == 5
    assert a[:, 5].argmax() == 25
    assert 5 < int(a[:, 3].argmax()) < 25
    assert a.isfinite().all()
    assert ordered_attention(torch.full((3, 5), -1e4)).isfinite().all()


def test_knowledge_transfer_is_as_printed_without_order() -> None:
    rng = torch.Generator().manual_seed(0)
    u, v, q = torch.randn(7, 4, generator=rng), torch.randn(6, 4, generator=rng), torch.rand(6, 5, generator=rng)
    a = ((u @ v.T) / 0.5).exp()
    a = a / a.sum(1, keepdim=True)
    p = (a @ q).exp()
    found = transferred(u @ v.T / 0.5, q, ordered=False, sharpness=1.0, smoothing=0.0)
    torch.testing.assert_close(found, p / p.sum(0))


def test_an_all_zero_matrix_has_no_loss_and_never_a_nan() -> None:
    u, v = torch.randn(5, 4), torch.randn(6, 4)
    assert synchronisation.contrastive(u, v, torch.zeros(5, 6, dtype=torch.bool), 0.1) is None
    some = torch.zeros(5, 6, dtype=torch.bool)
    some[2, 3] = True
    loss = synchronisation.contrastive(u, v, some, 0.1)
    assert loss is not None
    assert loss.isfinite()


def test_no_pair_at_all_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synchronisation, "density_threshold", lambda *_: 1e9)
    with pytest.raises(FeatureError, match="no pair inside the band 0.3"):
        run(SMALL, tmp_path)


def test_a_movie_too_long_or_text_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="m8: expected at most max_length = 50 scenes, got 58"):
        run(dataclasses.replace(SMALL, max_length=50), tmp_path)
    with pytest.raises(FeatureError, match="text: expected modalities of 12 features, got flag"):
        run(dataclasses.replace(SMALL, text="flag"), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "omega"}, "variant must be one of mega"),
        ({"density": 0.0}, "density must be above 0"),
        ({"density": 1.5}, "density must be a share"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"dropout": 1.0}, "dropout must be in"),
    ],
)
def test_a_config_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        dataclasses.replace(SMALL, **change)


def test_a_config_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"ordered": false, "rounds": 3, "text": "clip"}')
    assert ActConfig.read(file) == ActConfig(ordered=False, rounds=3, text="clip")
    for text, message in (('{"ordered": 1}', "ordered must be bool"), ('{"epoch": 1}', "unknown key 'epoch'")):
        file.write_text(text)
        with pytest.raises(CheckpointError, match=message):
            ActConfig.read(file)


GOOD = {
    "name": "A film",
    "sentences": ["One.", "Two.", "Three.", "Four.", "Five."],
    "annotations": [{"tp": [0, 1, 2, 3, 4]}],
}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"s\.jsonl:1: expected a JSON object"),
        ({"name": "A"}, "expected an object with name, sentences"),
        ({**GOOD, "annotations": []}, "A film: expected at least one annotation"),
        ({**GOOD, "sentences": ["One.", "Two."]}, "A film: expected at least 5 sentences, got 2"),
        ({**GOOD, "annotations": [{"tp": [0, 1, 2, 3]}]}, "expected 5 sentences from 0 to 4"),
        ({**GOOD, "annotations": [{"tp": [0, 1, 2, 3, 5]}]}, "expected 5 sentences from 0 to 4"),
        ({**GOOD, "annotations": [{"tp": [0, 1, 2, 3, True]}]}, "expected 5 sentences"),
        ({**GOOD, "annotations": ["x"]}, "expected 5 sentences"),
    ],
)
def test_a_synopsis_that_does_not_fit_is_refused(tmp_path: Path, row: Any, message: str) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(row if isinstance(row, str) else json.dumps(row))
    with pytest.raises(FeatureError, match=message):
        read_synopses(file)


def test_synopses_meet_features_by_file_name(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(json.dumps({**GOOD, "annotations": [{"tp": [0, 1, 2, 3, 4]}, {"tp": [0, 1, 1, 3, 4]}]}) + "\n")
    found = read_synopses(file)
    assert list(found) == ["A_film"]
    np.testing.assert_allclose(labels_of(found["A_film"])[:, 2], [0, 0.5, 0.5, 0, 0])
    file.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD))
    with pytest.raises(FeatureError, match=r"s\.jsonl:2: expected each movie once"):
        read_synopses(file)


def test_movies_without_synopsis_or_scenes_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(json.dumps(GOOD))
    synopses = read_synopses(file)
    vectors = {"A_film": np.ones((5, WIDTH), np.float32)}
    folder = tmp_path / "features"
    folder.mkdir()
    np.savez(folder / "other.npz", clip=np.ones((30, 4), np.float32))
    with pytest.raises(FeatureError, match="found none such in 1 files"):
        load_movies(folder, synopses, vectors)
    np.savez(folder / "A_film.npz", clip=np.ones((30, 4), np.float32), recipe="r/1")
    movies, recipe, left_out = load_movies(folder, synopses, vectors)
    assert ([m.name for m in movies], recipe, left_out) == (["A_film"], "r/1", ["other"])
    with pytest.raises(FeatureError, match="A_film: expected 5 sentence vectors, got 4"):
        load_movies(folder, synopses, {"A_film": vectors["A_film"][:4]})


def test_sentences_are_compared_with_text_that_the_model_does_not_read(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(json.dumps(GOOD))
    synopses, vectors = read_synopses(file), {"A_film": np.ones((5, WIDTH), np.float32)}
    for folder, rows in (("own", 30), ("text", 30), ("other", 29)):
        (tmp_path / folder).mkdir()
        words = {} if folder == "own" else {"words": np.ones((rows, BINS), np.uint8)}
        np.savez(tmp_path / folder / "A_film.npz", **{folder: np.full((rows, WIDTH), 2, np.float32)}, **words)
    (film,), _, _ = load_movies(tmp_path / "own", synopses, vectors, text=tmp_path / "text")
    assert list(film.scenes) == ["own"]
    assert film.words is not None
    scenes, _ = text_embeddings(film, ["text"])
    assert len(scenes) == 30
    with pytest.raises(FeatureError, match="text: expected modalities of 12 features, got own"):
        text_embeddings(film, ["own"])
    with pytest.raises(FeatureError, match=r"other/A_film\.npz: expected the 30 scenes .*, got 29"):
        load_movies(tmp_path / "own", synopses, vectors, text=tmp_path / "other")


def test_silver_is_averaged_and_resampled(tmp_path: Path) -> None:
    rows = np.zeros((5, 4))
    rows[:, 1] = 1
    np.savez(tmp_path / "s.npz", **{"A film|0": rows, "A film|1": rows[:, ::-1]})
    found = read_silver(tmp_path / "s.npz")
    np.testing.assert_allclose(found["A_film"][0], [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(resample(rows, 8)[0], [0, 0, 0.5, 0.5, 0, 0, 0, 0])
    np.testing.assert_allclose(resample(rows, 2)[0], [1, 0])
    np.savez(tmp_path / "bad.npz", **{"A film|0": 2 * rows})
    with pytest.raises(FeatureError, match=r"bad\.npz: A film\|0: expected 5 distributions"):
        read_silver(tmp_path / "bad.npz")
