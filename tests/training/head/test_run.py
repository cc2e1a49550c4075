"""Runs of heads: seeds, resuming, what becomes of the encoder, and the file of a head."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from head_films import FAST, clips, encoder, walks

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint, save_checkpoint
from megaseg.engine.model.mega import MegaConfig
from megaseg.errors import CheckpointError, FeatureError, ResourceLimitError, UnsupportedError
from megaseg.models import Mega, to_checkpoint
from megaseg.training.recipes.head.classify import Classify
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.data import require_films, split_films
from megaseg.training.recipes.head.file import load_head, save_head
from megaseg.training.recipes.head.ordering import Ordering
from megaseg.training.recipes.head.registry import HEADS, head_of
from megaseg.training.recipes.head.run import Mode, TrainedHead, Watch, evaluate_head, train_head

(TRAIN, OWN), (VALIDATION, OTHERS) = clips(12, 0), clips(4, 1)
LABELS = {name: "low" if number < 0 else "high" for name, number in {**OWN, **OTHERS}.items()}
CONFIG = dataclasses.replace(FAST, epochs=3, batch_size=4, head_dropout=0.2)
MODES = [Mode(), Mode(fine_tune=True), Mode(from_scratch=True)]


def trained(mode: Mode = MODES[0], watch: Watch | None = None, config: HeadConfig = CONFIG) -> TrainedHead:
    return train_head(Classify, encoder(), TRAIN, VALIDATION, config, mode, LABELS, watch or Watch())


def weights(head: TrainedHead) -> dict[str, np.ndarray]:
    own = {f"head.{name}": tensor.numpy() for name, tensor in head.model.state_dict().items()}
    return own | dict(head.encoder.tensors)


def assert_same(a: TrainedHead, b: TrainedHead) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name], err_msg=name)
    assert a.history == b.history


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_seed_fixes_a_run(mode: Mode) -> None:
    assert_same(trained(mode), trained(mode))
    other = weights(trained(mode, config=dataclasses.replace(CONFIG, seed=1)))
    assert any((tensor != other[name]).any() for name, tensor in weights(trained(mode)).items())


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path: Path, mode: Mode) -> None:
    def cut(epoch: Any) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt

    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        trained(mode, Watch(state, cut))
    assert_same(trained(mode, Watch(state)), trained(mode))
    with pytest.raises(CheckpointError, match="expected the state of this configuration and these movies"):
        trained(Mode(not mode.fine_tune), Watch(state))


def test_only_a_trained_encoder_changes_and_its_projections_stay() -> None:
    own = encoder().tensors
    frozen, tuned = trained().encoder.tensors, trained(MODES[1]).encoder.tensors
    everything = trained(MODES[1], config=dataclasses.replace(CONFIG, train_projections=True)).encoder.tensors
    changed = {name for name in own if (own[name] != tuned[name]).any()}
    assert not any((own[name] != frozen[name]).any() for name in own)
    assert {name for name in own if ".proj." not in name} >= changed
    assert {"position.weight", "norm.weight", "layers.0.linear1.weight"} <= changed
    assert (everything["modalities.visual.proj.weight"] != own["modalities.visual.proj.weight"]).any()


def test_the_learning_rate_of_the_encoder_is_a_share() -> None:
    still = trained(MODES[1], config=dataclasses.replace(CONFIG, encoder_share=0.0)).encoder.tensors
    assert not any((encoder().tensors[name] != tensor).any() for name, tensor in still.items())


def test_an_encoder_drawn_anew_reads_raw_features() -> None:
    """Features of other scales and few components give a checkpoint of the features as they are."""
    movies = [
        {n: Features({"visual": 40 + 30 * film.modalities["visual"]}) for n, film in part.items()}
        for part in (TRAIN, VALIDATION)
    ]
    config = dataclasses.replace(CONFIG, components={"visual": 3}, epochs=8)
    head = train_head(Classify, encoder(), *movies, config, Mode(from_scratch=True), LABELS)
    assert head.encoder.config.modalities == encoder().config.modalities
    best = head.best.validation
    assert evaluate_head(head, movies[1], LABELS) == pytest.approx(best, abs=1e-6)


def test_embeddings_are_standardised_for_a_frozen_encoder() -> None:
    from megaseg.training.recipes.head.protocol import Standard

    rows = torch.randn(50, 4) * torch.tensor([1.0, 5.0, 0.1, 1.0]) + 3
    padded = torch.cat([rows, torch.zeros(9, 4)])
    layer = Standard(4)
    layer.fit(padded.view(1, 59, 4))
    torch.testing.assert_close(layer(rows).mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(rows).std(0, correction=0), torch.ones(4))


def test_other_families_are_refused() -> None:
    sizes = {"hidden_size": 8, "ffn_size": 8, "num_heads": 2, "num_unimodal_layers": 1, "num_fusion_layers": 1}
    numbers = {"task": "scene", "max_length": 5, "num_bottleneck": 1, "num_classes": 2, **sizes}
    config = MegaConfig(modalities=(Modality("visual", 6),), **numbers)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="families contextualizer, .*, movie_encoder, got mega"):
        train_head(Ordering, to_checkpoint(Mega(config)), TRAIN, VALIDATION, CONFIG)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_file_holds_a_head(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "encoder.safetensors", encoder())
    head, file = trained(mode), tmp_path / "run" / "head.safetensors"
    save_head(file, head, tmp_path / "encoder.safetensors", {"films": 3})
    again = load_head(file)
    assert (again.head, again.config, again.fine_tuned) == (head.head, head.config, mode.trains_encoder)
    assert evaluate_head(again, VALIDATION, LABELS) == evaluate_head(head, VALIDATION, LABELS)
    with safetensors.safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["encoder"])
        assert json.loads(opened.metadata()["head"]) == {"kind": "classify", "classes": ["high", "low"]}
        assert any(name.startswith("encoder.") for name in opened.keys()) is mode.trains_encoder  # noqa: SIM118
    assert about["sha256"] == head.encoder.weights_sha256()
    assert about.get("path") == (None if mode.trains_encoder else "../encoder.safetensors")


def test_a_frozen_head_finds_its_encoder_or_says_so(tmp_path: Path) -> None:
    file, encoder_file = tmp_path / "head.safetensors", tmp_path / "encoder.safetensors"
    save_checkpoint(encoder_file, encoder())
    save_head(file, trained(), encoder_file, {})
    moved = encoder_file.rename(tmp_path / "moved.safetensors")
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors"):
        load_head(file)
    assert load_head(file, moved).head.kind == "classify"
    other = {name: tensor + 1 for name, tensor in encoder().tensors.items()}
    save_checkpoint(encoder_file, Checkpoint(encoder().config, other))
    with pytest.raises(CheckpointError, match=r"expected the encoder of head\.safetensors, .*got other weights"):
        load_head(file)


@pytest.mark.parametrize("content", [b"", b"nonsense", safetensors.torch.save({"a": torch.ones(1)}, {"format": "x"})])
def test_other_files_are_no_heads(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.safetensors: (expected a safetensors file|metadata format)"):
        load_head(file)


def test_films_are_split_by_name() -> None:
    names = [f"film-{k}" for k in range(10)]
    train, validation = split_films(names, 0.2)
    assert sorted(train + validation) == names
    assert len(validation) == 2
    assert split_films(names[::-1], 0.2) == (train[::-1], validation[::-1])
    assert [len(part) for part in split_films(names[:2], 0.2)] == [1, 1]
    with pytest.raises(FeatureError, match="others to validate on .a share of 0.2., got 1 in all"):
        split_films(["film"], 0.2)


def test_labels_of_unknown_films_are_named() -> None:
    require_films(LABELS, {**TRAIN, **VALIDATION}, Path("labels.csv"))
    with pytest.raises(
        FeatureError, match=r"labels\.csv: .* got 4 of 16 without: clip-1-0, clip-1-1, clip-1-2, \.\.\."
    ):
        require_films(LABELS, TRAIN, Path("labels.csv"))


def test_every_kind_is_found_by_its_name() -> None:
    names = {"boundary", "classify", "regress", "tags", "attributes"}
    names |= {"relation", "roles", "ordering", "next-shot", "retrieval"}
    assert set(HEADS) == names
    with pytest.raises(UnsupportedError, match="head: expected one of boundary, .*, got 'other'"):
        head_of("other")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head_size": -1}, "head_size must be at least 0, got -1"),
        ({"head_size": 10**7}, "head_size must be at most 65536"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"frozen_batch_size": 0}, "frozen_batch_size must be at least 1"),
        ({"seed": 2**40}, "seed must be at most"),
        ({"head_dropout": 1.0}, "head_dropout must be from 0 to less than 1, got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be greater than 0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
    ],
)
def test_a_bad_config_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"head config: {message}"):
        HeadConfig(**values)


def test_what_does_not_fit_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megaseg.training.recipes.head.memory.free_bytes", lambda: 20_000)
    with pytest.raises(ResourceLimitError, match=r"batch_size: expected what fits 0\.0 GiB .* shots a batch, about"):
        trained(MODES[1], config=dataclasses.replace(CONFIG, batch_size=4000))
    with pytest.raises(ResourceLimitError, match="examples: expected what fits .* got embeddings of 6,600 examples"):
        train_head(Ordering, encoder(), walks(300, 0), walks(1, 1), CONFIG)
    monkeypatch.setattr("megaseg.training.recipes.head.memory.free_bytes", lambda: None)
    assert trained().head.kind == "classify"


def test_films_of_one_shot_do_no_harm() -> None:
    short = {f"short-{k}": Features({"visual": np.full((1, 6), k, np.float32)}) for k in range(3)}
    labels = {**LABELS, **dict.fromkeys(short, "low")}
    for mode in MODES:
        head = train_head(Classify, encoder(), {**TRAIN, **short}, {**VALIDATION, **short}, CONFIG, mode, labels)
        assert all(np.isfinite(epoch.loss) for epoch in head.history)


def test_a_constant_modality_does_no_harm() -> None:
    flat = [
        {n: Features({"visual": 0 * f.modalities["visual"] + 7}) for n, f in p.items()} for p in (TRAIN, VALIDATION)
    ]
    for mode in MODES:
        head = train_head(Classify, encoder(), *flat, CONFIG, mode, LABELS)
        assert all(np.isfinite(epoch.loss) for epoch in head.history)
