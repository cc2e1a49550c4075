"""Act training on toy movies: what sentences and scenes share is found, carried over, and runs as a checkpoint."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg import Engine, Features
from megaseg.engine.model.checkpoint import load_checkpoint
from megaseg.errors import CheckpointError, FeatureError

torch = pytest.importorskip("torch")
from megaseg.evaluation.act import act_metrics, predicted_scenes  # noqa: E402
from megaseg.training.objectives import synchronisation  # noqa: E402
from megaseg.training.recipes.act.config import ActConfig  # noqa: E402
from megaseg.training.recipes.act.data import ActMovie, read_silver  # noqa: E402
from megaseg.training.recipes.act.run import ActRun, Task  # noqa: E402

SENTENCES, WIDTH = 14, 24
CONFIG = ActConfig(
    hidden_size=16, ffn_size=16, num_heads=2, num_bottleneck=4, max_length=64, dropout=0.0, synopsis_dropout=0.0,
    noise=0.0, scene_dropout=0.1, weight_decay=0.0, batch_size=4, learning_rate=1e-2, synopsis_epochs=2, rounds=2,
    round_epochs=2, density=0.08, epochs=25, patience=25, text="said",
)  # fmt: skip
SHORT = dataclasses.replace(CONFIG, epochs=2)


def toy(seed: int) -> tuple[ActMovie, list[list[int]]]:
    """Turning points anywhere; their sentences, and the two or three scenes that tell each, carry mark k in feature k.

    What else a sentence says is its own in every movie, and is all that ties it to its scenes.
    """
    rng = np.random.default_rng(seed)
    scenes = int(rng.integers(34, 44))
    points = np.sort(rng.permutation(SENTENCES)[:5])
    sentences = rng.standard_normal((SENTENCES, WIDTH)) / WIDTH**0.5
    sentences[:, :5] = 0
    sentences[points, range(5)] = 1
    told = np.arange(scenes) * SENTENCES // scenes
    said = sentences[told] + 0.05 * rng.standard_normal((scenes, WIDTH))
    gold = [np.flatnonzero(told == point).tolist() for point in points]
    silver = np.stack([np.isin(np.arange(scenes), own) / len(own) for own in gold], 1)
    movie = ActMovie(
        f"toy {seed}",
        {"said": _tensor(said), "rhythm": _tensor(rng.standard_normal((scenes, 3)))},
        _tensor(sentences),
        _tensor(np.eye(SENTENCES)[:, points]),
        None,
        _tensor(silver),
    )
    return movie, gold


def _tensor(values: Any) -> Any:
    return torch.from_numpy(np.asarray(values, np.float32))


MOVIES = [toy(seed) for seed in range(16)]
TASK = Task(
    [movie for movie, _ in MOVIES[:12]],
    [movie for movie, _ in MOVIES[12:]],
    {movie.name: gold for movie, gold in MOVIES[12:]},
    "toy/1",
    {"command": "toy"},
)


@pytest.mark.parametrize("variant", ["mega", "mega*"])
@pytest.mark.parametrize("ordered", [True, False])
def test_it_finds_turning_points_of_movies_whose_synopsis_it_has_not_read(
    tmp_path: Path, variant: str, ordered: bool
) -> None:
    sharpness = 1.0 if ordered else 12.0
    config = dataclasses.replace(CONFIG, variant=variant, ordered=ordered, sharpness=sharpness)
    result = ActRun(config, TASK, tmp_path).run()
    for key, least in (("ta", 60), ("pa", 70)):
        assert result["validation"][key] > least > 1.9 * max(result["prior"][key], result["theory"][key])
    assert result["validation"]["d"] < min(result["prior"]["d"], result["theory"]["d"])
    # The file gives the same figures on raw features, in the engine.
    engine = Engine.from_checkpoint(tmp_path / "act.safetensors", backend="torch")
    assert engine.config.recipe == "toy/1"
    movies = {
        m.name: Features({name: rows.numpy() for name, rows in m.scenes.items()}, recipe="toy/1")
        for m in TASK.validation
    }
    peaks = predicted_scenes(engine, movies)
    lengths = {name: movie.num_shots for name, movie in movies.items()}
    assert act_metrics(TASK.gold, peaks, lengths).pa == pytest.approx(result["validation"]["pa"], abs=1e-3)


def test_the_log_tells_each_phase_and_ends_in_the_result(tmp_path: Path) -> None:
    result = ActRun(SHORT, TASK, tmp_path).run()
    events = [
        json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ]
    assert [event["event"] for event in events if "epoch" in event] == 2 * ["synopsis"] + 4 * ["round"] + 2 * ["epoch"]
    rounds = [event for event in events if "lambda" in event]
    assert [event["round"] for event in rounds] == [0, 1]
    # Scenes say what their sentences say: the first W, of the text alone, finds the turning points.
    assert rounds[0]["aligned"]["pa"] == 100
    assert all(0 < event["density"] < 0.1 for event in rounds)
    assert events[-1] == result
    assert result["movies"] == 4
    for name in ("act", "synopsis"):
        metadata = json.loads(load_checkpoint(tmp_path / f"{name}.safetensors").metadata["training"])
        assert metadata["command"] == "toy"
        assert metadata["config"] == dataclasses.asdict(SHORT)
    assert not (tmp_path / "state.safetensors").exists()


def test_without_text_the_models_start_the_synchronisation(tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT, rounds=1, text="", labels=False, reverse=True)
    result = ActRun(config, TASK, tmp_path).run()
    assert np.isfinite(list(result["validation"].values())).all()


def test_all_movies_need_no_validation(tmp_path: Path) -> None:
    task = Task([movie for movie, _ in MOVIES], [], {}, None, {})
    result = ActRun(dataclasses.replace(SHORT, rounds=1), task, tmp_path).run()
    assert "validation" not in result
    assert (tmp_path / "act.safetensors").is_file()


def test_a_silent_movie_is_named_in_the_log_and_a_silent_corpus_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = synchronisation.expectation

    def silenced(*args: Any) -> Any:
        threshold, positives = whole(*args)
        return threshold, [w & (number > 0) for number, w in enumerate(positives)]

    monkeypatch.setattr(synchronisation, "expectation", silenced)
    ActRun(dataclasses.replace(SHORT, rounds=1), TASK, tmp_path / "a").run()
    events = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    (found,) = [event for event in events if "lambda" in event]
    assert found["movies_without_pairs"] == ["toy 0"]
    monkeypatch.setattr(synchronisation, "density_threshold", lambda *_: 1e9)
    monkeypatch.setattr(synchronisation, "expectation", whole)
    with pytest.raises(FeatureError, match=r"no pair inside the band .* reaches lambda"):
        ActRun(SHORT, TASK, tmp_path / "b").run()


def test_the_threshold_keeps_the_density_asked_for() -> None:
    rng = torch.Generator().manual_seed(0)
    pairs = [(torch.randn(n, 6, generator=rng), torch.randn(m, 6, generator=rng)) for n, m in ((31, 12), (50, 9))]
    _, kept = synchronisation.expectation(pairs, 0.2, 0.3)
    _, band = synchronisation.expectation(pairs, 1.0, 0.3)
    share = sum(int(w.sum()) for w in kept) / sum(int(w.sum()) for w in band)
    assert share == pytest.approx(0.2, abs=0.01)
    assert not any((w & ~inside).any() for w, inside in zip(kept, band, strict=True))
    assert np.isfinite(synchronisation.expectation(pairs, 0.2, 1e-6)[0])  # nothing but the diagonal is left


@pytest.mark.parametrize(
    ("key", "value"),
    [("smoothing", -1.0), ("noise", -0.1), ("smoothing", float("nan")), ("warmup", -1.0), ("density", float("nan"))],
)
def test_a_config_that_would_give_nan_is_refused(key: str, value: float) -> None:
    with pytest.raises(CheckpointError, match=f"training config: {key} must be"):
        dataclasses.replace(CONFIG, **{key: value})


def test_every_annotator_of_a_silver_file_counts(tmp_path: Path) -> None:
    one, other = np.zeros((5, 4)), np.zeros((5, 8))
    one[:, 0] = other[:, 7] = 1
    np.savez(tmp_path / "silver.npz", **{"A Movie|0": one, "A Movie|1": other})
    np.testing.assert_allclose(read_silver(tmp_path / "silver.npz")["A_Movie"], [[0.5, 0, 0, 0.5]] * 5)


def test_a_silver_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "silver.npz"
    np.savez(path, **{"A|0": np.full((5, 4), 0.25)})
    for content in (b"", b"text", path.read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(FeatureError, match="silver.npz: expected a .npz of silver distributions"):
            read_silver(path)
    np.save(tmp_path / "one.npy", np.ones((5, 4)))
    with pytest.raises(FeatureError, match="one.npy: expected a .npz"):
        read_silver(tmp_path / "one.npy")
    np.savez(path, **{"A|0": np.full((5, 4), np.nan)})
    with pytest.raises(FeatureError, match=r"A\|0: expected 5 distributions"):
        read_silver(path)
