"""Family additive: every backend against NumPy, absent modalities, and the torch twin's members as one network."""

from __future__ import annotations

import numpy as np
import pytest
from shot_features import additive_checkpoint, film

from megaseg import Engine
from megaseg.engine.model.additive import AdditiveConfig
from megaseg.engine.model.checkpoint import Checkpoint, Modality
from megaseg.errors import CheckpointError
from megaseg.features.video.similarity import rows_of

MODALITIES = (Modality("a", 7), Modality("b", 4))


def expected(checkpoint: Checkpoint, rows: dict[str, np.ndarray]) -> np.ndarray:
    weights = {name: np.asarray(value, np.float64) for name, value in checkpoint.tensors.items()}
    total = weights["bias"]
    for name, own in rows.items():
        hidden = np.maximum(own.astype(np.float64) @ weights[f"modalities.{name}.hidden.weight"].T, 0)
        total = total + hidden @ weights[f"modalities.{name}.head.weight"].T
    return total


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"backend": "native", "compute_type": "float32"}, 1e-4),
        ({"backend": "native", "compute_type": "float32", "passes": False}, 1e-4),
        ({"backend": "torch"}, 1e-4),
        ({"backend": "onnx"}, 1e-4),
    ],
)
def test_backends_match_numpy(options: dict[str, object], tolerance: float) -> None:
    if options["backend"] != "native":
        pytest.importorskip({"onnx": "onnxruntime"}.get(str(options["backend"]), "torch"))
    checkpoint, rows = additive_checkpoint(), rows_of(film(names=("visual", "audio"))).modalities
    logits = Engine.from_checkpoint(checkpoint, **options).logits(rows)
    np.testing.assert_allclose(logits, expected(checkpoint, rows), atol=tolerance)


def test_an_absent_modality_has_no_part() -> None:
    engine = Engine.from_checkpoint(additive_checkpoint(), compute_type="float32")
    parts = engine.outputs(rows_of(film(names=("colour",))), ["logits.parts"])["logits.parts"]
    names = [modality.name for modality in engine.config.modalities]
    for name in ("visual", "audio", "dialogue"):
        assert not parts[:, names.index(name)].any()
    for name in ("colour", "pictures", "rhythm"):
        assert parts[:, names.index(name)].any()
    explanation = engine.explain(rows_of(film(names=("colour",))))
    assert explanation.modalities == tuple(names)


def test_a_config_says_what_is_wrong() -> None:
    with pytest.raises(CheckpointError, match="task must be scene, got 'act'"):
        AdditiveConfig("act", MODALITIES, 3)
    with pytest.raises(CheckpointError, match="type of b must be float32, got ids"):
        AdditiveConfig("scene", (MODALITIES[0], Modality("b", 1, "int32")), 3)
    with pytest.raises(CheckpointError, match="hidden_size must be from 1"):
        AdditiveConfig("scene", MODALITIES, 0)


def test_members_are_one_network() -> None:
    torch = pytest.importorskip("torch")
    from megaseg.models.additive import Additive

    torch.manual_seed(0)
    model = Additive(MODALITIES, members=5, size=3, dropout=0.5, hidden_dropout=0.5).eval()
    rows = {
        m.name: np.random.default_rng(0).standard_normal((9, m.feature_size)).astype(np.float32) for m in MODALITIES
    }
    with torch.no_grad():
        log_odds = model({name: torch.from_numpy(own) for name, own in rows.items()})[:, 1:4].mean(1).numpy()
    checkpoint = Checkpoint(AdditiveConfig("scene", MODALITIES, 9), model.tensors(slice(1, 4)))
    logits = Engine.from_checkpoint(checkpoint, compute_type="float32").logits(rows)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], log_odds, atol=1e-4)
