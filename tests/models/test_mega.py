"""The reference model against independently computed logits, and its own laws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import random_checkpoint, random_features, small_config

torch = pytest.importorskip("torch")

from megaseg import Engine, models  # noqa: E402
from megaseg.engine.model.config import ModelConfig  # noqa: E402

VECTORS = ("scene-small", "scene-deep", "act-small", "act-one-modality")


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize(("compute_type", "tolerance"), [("float64", 1e-9), ("float32", 2e-5)])
def test_matches_the_vectors(shared: Path, name: str, compute_type: str, tolerance: float) -> None:
    path = shared / "vectors" / f"{name}.safetensors"
    with np.load(path.with_suffix(".npz")) as vector:
        features = {key.removeprefix("features/"): vector[key] for key in vector if key != "logits"}
        expected = vector["logits"]
    engine = Engine.from_checkpoint(path, backend="torch", compute_type=compute_type)
    error = np.abs(engine.logits(features) - expected) / np.maximum(1, np.abs(expected))
    assert error.max() <= tolerance


@pytest.mark.parametrize("task", ["scene", "act", "synopsis"])
def test_state_dict_has_the_checkpoint_names_and_shapes(task: str) -> None:
    config = small_config(task)
    state = models.Mega(config).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == config.tensor_shapes()


def test_presets_have_the_sizes_of_the_paper() -> None:
    def parameters(config: ModelConfig) -> int:
        with torch.device("meta"):
            return sum(weight.numel() for weight in models.Mega(config).parameters())

    scene = models.PRESETS["scene"]
    assert parameters(scene) == pytest.approx(67.57e6, rel=0.005)  # Table 4 prints 67.57 M
    assert parameters(models.preset("scene", num_heads=8)) == parameters(scene)
    assert models.PRESETS["synopsis"].hidden_size == 128 * len(models.PRESETS["act"].modalities)
    assert models.preset("act", modalities=[("subtitle", 768)]).modalities[0].feature_size == 768


def test_alignment_slot_is_the_progress_through_the_input() -> None:
    # With position and content removed, shots of one slot have equal latents, and slots change at floor(i L_n / n).
    config = small_config("act", modalities=small_config().modalities[:1], num_bottleneck=3, num_unimodal_layers=0)
    model = models.Mega(config).eval()
    encoder = model.modalities["clip"]
    with torch.no_grad():
        encoder.position.weight.zero_()
        encoder.proj.weight.zero_()
        model.align.weight.normal_()
        _, latents = encoder.encode(torch.zeros(1, 7, 13), model.align.weight)
    changes = [i for i in range(1, 7) if not torch.allclose(latents[0, i], latents[0, i - 1])]
    assert changes == [3, 5]  # floor(i 3 / 7) = 0 0 0 1 1 2 2


def test_trains_and_round_trips_through_a_checkpoint() -> None:
    torch.manual_seed(0)
    config = small_config(dropout=0.0)
    model = models.Mega(config)
    features = {name: torch.from_numpy(array)[None] for name, array in random_features(config, 5).items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model(features)[:, 2], torch.tensor([1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(weight.grad is not None for weight in model.parameters())
    copy = models.from_checkpoint(models.to_checkpoint(model))
    assert torch.equal(copy(features), model.eval()(features))


def test_modalities_exchange_only_through_bottleneck_tokens() -> None:
    # Without unimodal layers a bottleneck token has seen no shot, so no modality reaches another's latents.
    config = small_config("act", num_unimodal_layers=0, num_fusion_layers=2)
    model = models.from_checkpoint(random_checkpoint(config), torch.float64)
    features = {name: torch.from_numpy(array).double()[None] for name, array in random_features(config, 9).items()}
    changed = {**features, "clip": features["clip"] + 1}
    audio = slice(config.hidden_size, 2 * config.hidden_size)
    assert torch.equal(model.fused(features)[..., audio], model.fused(changed)[..., audio])
    deeper = models.from_checkpoint(random_checkpoint(small_config("act")), torch.float64)
    assert not torch.allclose(deeper.fused(features)[..., audio], deeper.fused(changed)[..., audio])
