"""Pretraining on generated films: it learns, resumes to the same weights, and each loss is the equation's."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretraining import film, films, plain_film, with_tokens

from megaseg import Engine, Features, load_checkpoint
from megaseg.errors import CheckpointError, FeatureError, ResourceLimitError

torch = pytest.importorskip("torch")
from megaseg.evaluation.scene import evaluate_scenes  # noqa: E402
from megaseg.evaluation.split import held_out  # noqa: E402
from megaseg.models.long_range import LongRangeBatch  # noqa: E402
from megaseg.training.dropout import ByteDropout  # noqa: E402
from megaseg.training.memory import free_bytes  # noqa: E402
from megaseg.training.recipes.pretrain import memory  # noqa: E402
from megaseg.training.recipes.pretrain.batches import Windows  # noqa: E402
from megaseg.training.recipes.pretrain.config import LongRangePretrainConfig, PretrainConfig, config_of  # noqa: E402
from megaseg.training.recipes.pretrain.films import Films, fitted  # noqa: E402
from megaseg.training.recipes.pretrain.models import LongRangePretraining  # noqa: E402
from megaseg.training.recipes.pretrain.run import pretrain  # noqa: E402
from megaseg.training.recipes.pretrain.setup import new_model, roles_of  # noqa: E402

SIZES: dict[str, Any] = {
    "length": 8, "hidden_size": 16, "ffn_size": 32, "num_heads": 2, "num_layers": 1, "batch_size": 16, "epochs": 2,
    "learning_rate": 5e-3, "validation_share": 0.2,
}  # fmt: skip
CONFIGS = {"contextualizer": PretrainConfig(**SIZES), "long_range": LongRangePretrainConfig(**SIZES)}
FAMILIES = pytest.mark.parametrize("family", CONFIGS)
TERMS = ["intra.video", "intra.audio", "intra.language", "inter.audio", "inter.language", "cross"]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@FAMILIES
def test_it_learns(tmp_path: Path, family: str) -> None:
    config = dataclasses.replace(CONFIGS[family], epochs=6, batch_size=8)
    checkpoint = pretrain(films(10), config, tmp_path)
    log = lines(tmp_path)
    names = TERMS if family == "long_range" else ["intra.audio", "intra.language", "intra.video"]
    assert set(log[0]["train"]) == set(log[0]["validation"]) == {"loss", *names}
    assert log[0]["train"]["loss"] == pytest.approx(sum(log[0]["train"][name] for name in names))
    first, last = (log[k]["validation"] for k in (0, -1))
    assert last["loss"] < 0.92 * first["loss"]
    assert all(last[name] < first[name] for name in names)
    saved = load_checkpoint(tmp_path / "encoder.safetensors")
    training = json.loads(saved.metadata["training"])
    assert saved.config == checkpoint.config
    assert (saved.config.family, saved.config.recipe) == (family, "toy/1")
    assert {m.name: m.feature_size for m in saved.config.modalities} == {"video": 12, "audio": 9, "language": 10}
    assert len(training["data"]["held_out"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.safetensors", "log.jsonl"]


@FAMILIES
def test_an_interrupted_run_ends_in_the_same_weights(tmp_path: Path, family: str) -> None:
    config = dataclasses.replace(CONFIGS[family], epochs=3)
    whole = pretrain(films(6), config, tmp_path / "a")

    class Stop(Exception):
        pass

    def stop(line: dict[str, Any]) -> None:
        if line["epoch"] == 1:
            raise Stop

    with pytest.raises(Stop):
        pretrain(films(6), config, tmp_path / "b", stop)
    with pytest.raises(CheckpointError, match="another run"):
        pretrain(films(6), dataclasses.replace(config, seed=5), tmp_path / "b")
    told: list[int] = []
    resumed = pretrain(films(6), config, tmp_path / "b", lambda line: told.append(line["epoch"]))
    assert told == [2]
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(tensor, resumed.tensors[name], err_msg=name)
    a, b = ([{**line, "seconds": 0} for line in lines(tmp_path / run)] for run in "ab")
    assert a == b


def test_the_seed_fixes_the_weights_trained_or_not(tmp_path: Path) -> None:
    for epochs in (0, 1):
        config = dataclasses.replace(CONFIGS["contextualizer"], epochs=epochs)
        first, second = (pretrain(films(5), config, tmp_path / f"{run}{epochs}").tensors for run in "ab")
        other = pretrain(films(5), dataclasses.replace(config, seed=1), tmp_path / f"c{epochs}").tensors
        np.testing.assert_array_equal(first["layers.0.linear1.weight"], second["layers.0.linear1.weight"])
        assert (first["layers.0.linear1.weight"] != other["layers.0.linear1.weight"]).any()


def test_a_finished_run_is_not_written_over(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["contextualizer"], epochs=1)
    pretrain(films(5), config, tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for seed in (0, 1):
        with pytest.raises(CheckpointError, match="expected a new folder or an unfinished run, got a finished run"):
            pretrain(films(5), dataclasses.replace(config, seed=seed), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_no_epochs_are_the_weights_that_training_starts_from(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["long_range"], epochs=0)
    checkpoint = pretrain(films(5), config, tmp_path)
    assert lines(tmp_path) == []
    model = new_model(config, roles_of(films(5), config), {"video": 12, "audio": 9, "language": 10}, "toy/1")
    name = "cross.decoder.0.multihead_attn.in_proj_weight"
    np.testing.assert_array_equal(checkpoint.tensors[name], model.encoder.state_dict()[name].numpy())


@pytest.mark.parametrize("without", [("intra",), ("inter",), ("cross",), ("inter", "cross"), ("intra", "cross")])
def test_a_loss_left_out_is_neither_summed_nor_trained_on(tmp_path: Path, without: tuple[str, ...]) -> None:
    config = dataclasses.replace(CONFIGS["long_range"], epochs=1, without=without)
    trained = pretrain(films(6), config, tmp_path / "a").tensors
    left = {name for name in TERMS if name.split(".")[0] not in without}
    assert set(lines(tmp_path / "a")[0]["train"]) == {"loss", *left}
    random = pretrain(films(6), dataclasses.replace(config, epochs=0), tmp_path / "b").tensors
    name = "cross.decoder.0.self_attn.in_proj_bias"  # zeros, which weight decay leaves alone
    assert np.array_equal(trained[name], random[name]) == ("cross" in without)


def test_no_loss_left_is_refused_but_for_random_weights() -> None:
    with pytest.raises(CheckpointError, match="without must leave a loss"):
        dataclasses.replace(CONFIGS["contextualizer"], without=("intra",))
    assert dataclasses.replace(CONFIGS["contextualizer"], without=("intra",), epochs=0).epochs == 0


@pytest.mark.parametrize("objective", ["contrast", "cosine", "regression"])
@pytest.mark.parametrize("candidates", ["batch", "asked"])
def test_each_objective_trains(tmp_path: Path, objective: str, candidates: str) -> None:
    config = dataclasses.replace(CONFIGS["contextualizer"], objective=objective, candidates=candidates)
    pretrain(films(6), config, tmp_path)
    before, after = (line["validation"]["loss"] for line in lines(tmp_path))
    assert after < before


@FAMILIES
def test_bfloat16_trains_to_about_the_same_loss(tmp_path: Path, family: str) -> None:
    losses = []
    for compute_type in ("float32", "bfloat16"):
        pretrain(films(5), dataclasses.replace(CONFIGS[family], compute_type=compute_type), tmp_path / compute_type)
        losses.append(lines(tmp_path / compute_type)[-1]["validation"]["loss"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@FAMILIES
def test_splices_give_a_scene_model(tmp_path: Path, family: str) -> None:
    config = dataclasses.replace(CONFIGS[family], splice_share=1.0, epochs=3, without=("intra", "inter", "cross"))
    movies = films(6)
    encoder = pretrain(movies, config, tmp_path)
    log = lines(tmp_path)
    assert set(log[0]["train"]) == set(log[0]["validation"]) == {"loss", "splice"}
    assert log[-1]["validation"]["splice"] < log[0]["validation"]["splice"]
    scenes = Engine.from_checkpoint(tmp_path / "scenes.safetensors", backend="torch")
    rows = scenes.outputs(movies["film0"], ("embedding",))["embedding"]
    np.testing.assert_array_equal(rows, Engine.from_checkpoint(encoder, backend="torch").embed(movies["film0"]))
    assert 1 <= len(scenes.segment(movies["film0"]).scenes) <= movies["film0"].num_shots


@pytest.mark.slow
def test_scenes_are_found_by_splices_alone(tmp_path: Path) -> None:
    movies = {f"f{k}": plain_film(k) for k in range(10)}
    config = dataclasses.replace(
        CONFIGS["contextualizer"], splice_share=1.0, epochs=50, patience=50, without=("intra",), dropout=0.0,
        length=16, hidden_size=32, ffn_size=64, num_heads=4, learning_rate=4e-3, drop_share=0.0, ema_decay=0.9,
    )  # fmt: skip
    pretrain(movies, config, tmp_path)
    assert evaluate_scenes(Engine.from_checkpoint(tmp_path / "scenes.safetensors"), movies).ap > 0.4


@torch.no_grad()
def test_all_tokens_are_asked_for_where_the_config_says_so() -> None:
    movies = {"a": film(0, 8), "b": film(1, 8, ("video", "audio"))}
    scalings = fitted(movies, ["video", "audio", "language"], {})
    losses = []
    for asked in ("masked", "all"):
        config = dataclasses.replace(CONFIGS["contextualizer"], asked=asked, objective="regression")
        model = new_model(config, roles_of(movies, config), {"video": 12, "audio": 9, "language": 10}, None).eval()
        (batch,) = Windows(Films.scaled(movies, scalings, None), 8, 0.3, together=True).fixed(9)
        rows = model.encoder(batch.features, None, batch.masked["language"], model.mask_token)
        there = batch.said["language"] & (batch.masked["language"] if asked == "masked" else True)
        guesses = model.heads["language"](rows)[there]
        losses.append((int(there.sum()), float(model(batch)["intra.language"])))
        assert losses[-1][1] == pytest.approx(float((guesses - batch.features["language"][there]).square().mean()))
    assert losses[0][0] < losses[1][0]


def nce(a: Any, b: Any, tau: float) -> float:
    """Eq. 3 both ways, pair by pair, as means."""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    scores = unit[0] @ unit[1].T / tau
    return -sum(
        scores[i, i] - math.log(sum(math.exp(s) for s in line))
        for own in (scores, scores.T) for i, line in enumerate(own)
    ) / len(a)  # fmt: skip


@torch.no_grad()
def test_the_losses_of_a_batch_are_the_equations(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["long_range"], mask_share=0.5)
    movies = {"a": with_tokens(film(0, 8)), "b": film(1, 5), "silent": film(2, 8, ("video", "audio"))}
    roles = roles_of(movies, config)
    scalings = fitted(movies, list(roles), {})
    of = Windows(Films.scaled(movies, scalings, "language"), 8, 0.5, together=False)
    (batch,) = of.fixed(9)
    model = new_model(config, roles, {"video": 12, "audio": 9, "language": 10}, None).eval()
    assert isinstance(model, LongRangePretraining)
    terms = {name: float(term) for name, term in model(batch).items()}
    windows = LongRangeBatch(batch.features, batch.there, batch.shots, batch.masked)
    outputs = model.encoder(windows, dict(model.mask_tokens.items()))
    rows = {name: own.double().numpy() for name, own in outputs.items()}
    # Eq. 1: the audio of masked shots among the audio of all shots.
    said = batch.said["audio"].numpy()
    inputs = batch.features["audio"].double().numpy()
    head = model.heads["audio"]
    losses = []
    for place in np.argwhere(said & batch.masked["audio"].numpy()):
        guess = head.weight.double().numpy() @ rows["context.audio"][tuple(place)] + head.bias.double().numpy()
        scores = [guess @ inputs[tuple(other)] for other in np.argwhere(said)]
        losses.append(math.log(sum(map(math.exp, scores))) - guess @ inputs[tuple(place)])
    assert terms["intra.audio"] == pytest.approx(np.mean(losses), rel=1e-4)
    # Eqs. 4 and 5: shots that somebody speaks in, with the mean of their tokens.
    assert batch.shots is not None
    tokens, spoken = rows["tokens.language"], batch.said["language"].numpy()
    video, means = [], []
    for window in range(3):
        for shot in range(8):
            own = spoken[window] & (batch.shots[window].numpy() == shot)
            if own.any():
                video.append(rows["context.video"][window, shot])
                means.append(tokens[window][own].mean(0))
    assert terms["inter.language"] == pytest.approx(nce(np.array(video), np.array(means), 0.3), rel=1e-4)
    here = batch.said["video"].numpy()
    assert terms["inter.audio"] == pytest.approx(
        nce(rows["context.video"][here], rows["context.audio"][here], 0.3), rel=1e-4
    )
    # Eq. 6: shots of the windows that have a sound and a word.
    here[2] = False
    assert terms["cross"] == pytest.approx(nce(rows["cross.audio"][here], rows["cross.language"][here], 0.3), rel=1e-4)


def test_films_without_a_modality_add_nothing_to_its_losses(tmp_path: Path) -> None:
    movies = {f"m{k}": film(k, 40, ("video", "language")) for k in range(6)}
    movies |= {f"s{k}": film(k, 40, ("video", "audio")) for k in range(2)}
    pretrain(movies, dataclasses.replace(CONFIGS["long_range"], batch_size=99, epochs=1), tmp_path)
    (line,) = lines(tmp_path)
    assert "cross" not in line["train"]
    assert all(math.isfinite(value) for value in (*line["train"].values(), *line["validation"].values()))
    lost = dataclasses.replace(CONFIGS["long_range"], without=("intra", "inter"))
    with pytest.raises(FeatureError, match="films: expected some with the modalities"):
        pretrain(movies, lost, tmp_path / "b")


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["contextualizer"], learning_rate=1e30, warmup=0.0, objective="regression")
    with pytest.raises(FeatureError, match=r"loss intra\.\w+: expected a finite value"):
        pretrain(films(6), config, tmp_path)


def test_a_batch_beyond_the_memory_is_refused_with_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.training.memory.free_bytes", lambda: 10_000)
    with pytest.raises(ResourceLimitError, match=r"batch_size: .*got 16 windows of 8 shots, an estimated [\d,]+ bytes"):
        pretrain(films(6), CONFIGS["contextualizer"], tmp_path)
    monkeypatch.setattr("megaseg.training.memory.free_bytes", lambda: None)
    pretrain(films(6), dataclasses.replace(CONFIGS["contextualizer"], epochs=0), tmp_path)


def test_a_model_beyond_the_memory_is_refused_before_it_is_made(tmp_path: Path) -> None:
    huge = dataclasses.replace(CONFIGS["contextualizer"], hidden_size=65_536, ffn_size=2**20, num_layers=64)
    with pytest.raises(ResourceLimitError, match="an estimated"):
        pretrain(films(6), huge, tmp_path)  # 40 TB of weights


def test_a_state_is_of_its_films_whatever_their_names(tmp_path: Path) -> None:
    def stop(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(films(6), CONFIGS["contextualizer"], tmp_path, stop)
    others = {name: Features({m: 2 * own for m, own in movie.modalities.items()}) for name, movie in films(6).items()}
    with pytest.raises(CheckpointError, match="another run"):
        pretrain(others, CONFIGS["contextualizer"], tmp_path)


def test_films_of_two_shots_have_something_to_predict(tmp_path: Path) -> None:
    short = {name: Features({"video": movie.modalities["video"][:2]}) for name, movie in films(6).items()}
    pretrain(short, dataclasses.replace(CONFIGS["contextualizer"], epochs=1), tmp_path)
    assert lines(tmp_path)[0]["validation"]["loss"] > 0


def test_larger_batches_and_models_take_more_memory() -> None:
    small = CONFIGS["long_range"]
    widths = {"video": 12, "language": 10}
    base = memory.estimated_bytes(small, widths, 1000, 16, 30)
    assert memory.estimated_bytes(small, widths, 1000, 64, 30) > 3 * base
    assert memory.estimated_bytes(dataclasses.replace(small, hidden_size=64), widths, 1000, 16, 30) > base
    assert memory.estimated_bytes(dataclasses.replace(small, without=("cross",)), widths, 1000, 16, 30) < base
    assert free_bytes() is None or free_bytes() > 0


def test_it_stops_when_held_out_films_gain_no_more(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["contextualizer"], epochs=60, patience=2, learning_rate=3e-2, ema_decay=0.0)
    checkpoint = pretrain(films(6), config, tmp_path)
    figures = [line["validation"]["loss"] for line in lines(tmp_path)]
    best = figures.index(min(figures))
    assert len(figures) - 1 - best == 2
    assert json.loads(checkpoint.metadata["training"])["epochs"] == best + 1


def test_films_are_held_out_by_name() -> None:
    names = [f"film{k}" for k in range(20)]
    assert len(held_out(names, 0.1)) == 2
    assert held_out(names, 0.0) == []
    assert held_out(names[:2], 0.9) in (["film0"], ["film1"])
    assert set(held_out(names, 0.1)) & set(names[:10]) <= set(held_out(names[:10], 0.2))


def test_roles_are_named_or_called_so() -> None:
    movies = films(2)
    assert roles_of(movies, LongRangePretrainConfig()) == {m: m for m in ("video", "audio", "language")}
    assert roles_of(movies, LongRangePretrainConfig(video="audio", audio="video"))["video"] == "audio"
    rhythm = {"a": Features({"rhythm": np.eye(4, dtype=np.float32)})}
    for config, message in [
        (LongRangePretrainConfig(), "video: expected the name of a modality.*rhythm"),
        (LongRangePretrainConfig(video="rhythm"), "audio or language: expected"),
        (LongRangePretrainConfig(video="rhythm", audio="rhythm"), "expected different modalities"),
    ]:
        with pytest.raises(FeatureError, match=message):
            roles_of(rhythm, config)


@pytest.mark.parametrize(
    "values",
    [{"family": "mega"}, {"objective": "l1"}, {"candidates": "all"}, {"asked": "none"},
     {"splice_share": 1.5}, {"without": ["both"]}, {"without": "intra"},
     {"mask_share": 0}, {"mask_share": 1.5}, {"epochs": -1}, {"length": 1}, {"dropout": 1.0}, {"temperature": 0},
     {"batch_size": 0}, {"hidden_size": 30, "num_heads": 4}],
)  # fmt: skip
def test_a_bad_config_is_named(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=f"{next(iter(values))}|json"):
        pretrain(films(5), PretrainConfig.read(path), tmp_path)


def test_a_config_file_has_the_defaults_of_its_family(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"without": ["cross"], "tau": 1}')
    config = config_of("long_range").read(tmp_path / "c.json")
    assert (config.length, config.hidden_size, config.objective, config.without) == (30, 512, "contrast", ("cross",))


def test_byte_dropout_keeps_the_mean_and_the_share() -> None:
    torch.manual_seed(0)
    drop, ones = ByteDropout(0.1), torch.ones(1000, 101)
    out = drop(ones)
    assert (out == 0).float().mean() == pytest.approx(26 / 256, abs=2e-3)
    assert out.mean() == pytest.approx(1, abs=3e-3)
    assert (out[:, ::8] == 0).float().mean() == pytest.approx(26 / 256, abs=5e-3)
    assert torch.equal(drop.eval()(ones), ones)
