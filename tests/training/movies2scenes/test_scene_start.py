"""What a scene encoder begins with, and what of it is contrasted."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402

from megaseg.engine.inputs.modality import Modality  # noqa: E402
from megaseg.engine.model.scene_encoder import SceneEncoderConfig  # noqa: E402
from megaseg.errors import CheckpointError  # noqa: E402
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig  # noqa: E402
from megaseg.training.recipes.scene_contrast.models import SceneProjection  # noqa: E402
from megaseg.training.recipes.scene_contrast.start import keep_layers  # noqa: E402

CONFIG = SceneEncoderConfig(
    "embedding", (Modality("description", 12),), max_length=5, hidden_size=16, ffn_size=8, num_heads=2, num_layers=2
)


def test_an_encoder_begins_as_the_mean_of_its_shots() -> None:
    torch.manual_seed(3)
    model = SceneProjection(CONFIG, 8, 0, "mean").eval()
    rows = torch.randn(6, 5, 12)
    projected = functional.layer_norm(model.encoder.modalities["description"].proj(rows), (16,))
    expected = functional.layer_norm(5 / 6 * projected.mean(1), (16,))  # the class token is a sixth row, of zeros
    got = model.encoder({"description": rows})
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        model({"description": rows}), functional.normalize(expected, dim=1), atol=1e-5, rtol=1e-4
    )


def test_an_encoder_that_begins_as_the_mean_learns_in_every_weight() -> None:
    torch.manual_seed(4)
    model = SceneProjection(CONFIG, 8, 0, "mean")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    for _ in range(4):
        optimizer.zero_grad()
        (model({"description": torch.randn(6, 5, 12)}) @ torch.randn(16, 1)).square().sum().backward()
        optimizer.step()
    still = [name for name, weight in model.named_parameters() if torch.equal(weight, before[name])]
    assert not still


def test_kept_layers_leave_projections_of_features_and_the_norm_to_be_trained() -> None:
    model = SceneProjection(CONFIG, 8, 0, "mean")
    keep_layers(model.encoder)
    trained = {name for name, weight in model.encoder.named_parameters() if weight.requires_grad}
    assert trained == {
        f"{part}.{kind}" for part in ("modalities.description.proj", "norm") for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(("layers", "size", "weights"), [(0, 16, 0), (1, 8, 2), (2, 8, 4)])
def test_layers_between_the_embedding_and_what_is_contrasted(layers: int, size: int, weights: int) -> None:
    model = SceneProjection(CONFIG, 8, layers)
    assert model({"description": torch.zeros(3, 5, 12)}).shape == (3, size)
    assert model.size == size
    assert len(list(model.projection.parameters())) == weights


@pytest.mark.parametrize("wrong", [{"start": "median"}, {"projection_layers": 3}, {"projection_layers": -1}])
def test_a_start_or_a_projection_that_is_not_known_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=next(iter(wrong))):
        SceneContrastConfig(**wrong)  # type: ignore[arg-type]
