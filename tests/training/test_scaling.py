"""Scalings of raw features: what a model of scaled rows says is what its folded checkpoint says of raw ones."""

from __future__ import annotations

import numpy as np
import pytest
from shot_encoders import contextualizer, film, long_range
from support import random_checkpoint

torch = pytest.importorskip("torch")

from megaseg import Engine  # noqa: E402
from megaseg.engine.inputs.features import Features  # noqa: E402
from megaseg.engine.model.config import ModelConfig  # noqa: E402
from megaseg.errors import FeatureError  # noqa: E402
from megaseg.training.corpus import Corpus  # noqa: E402
from megaseg.training.scaling import fit_scalings, unscaled  # noqa: E402


@pytest.mark.parametrize("config", [contextualizer(), long_range()], ids=lambda config: config.family)
def test_a_folded_checkpoint_reads_raw_rows(config: ModelConfig) -> None:
    raw = {name: rows * 3 + 2 if rows.dtype == np.float32 else rows for name, rows in film(config, 40).items()}
    rows = {m.name: torch.from_numpy(raw[m.name]) for m in config.modalities}
    scalings = fit_scalings(rows, {"audio": 3})
    narrow = config.replaced(
        modalities=tuple(type(m)(m.name, 3 if m.name == "audio" else m.feature_size) for m in config.modalities)
    )
    model = random_checkpoint(narrow)
    scaled = {**raw, **{name: scalings[name](own).numpy() for name, own in rows.items()}}
    want = Engine.from_checkpoint(model, backend="torch", compute_type="float64").embed(scaled)
    folded = unscaled(model, scalings)
    assert folded.config == config
    got = Engine.from_checkpoint(folded, backend="torch", compute_type="float64").embed(raw)
    assert np.abs(got - want).max() < 1e-4


def test_a_corpus_of_shots_takes_no_tokens() -> None:
    movie = Features.from_mapping({**film(long_range(), 4), "labels": np.zeros(4, np.uint8)})
    with pytest.raises(FeatureError, match="language: expected a row a shot, got tokens"):
        Corpus.from_movies({"film": movie})
