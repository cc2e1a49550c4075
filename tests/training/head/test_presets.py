"""Published settings of heads, and how a run's own settings go before them."""

from __future__ import annotations

from pathlib import Path

import pytest

from megaseg.errors import CheckpointError, FeatureError, UnsupportedError
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.presets import preset_of, presets
from megaseg.training.recipes.head.registry import HEADS

# Chen et al. (2023), supplementary, Table 1: learning rate, batch size, epochs, dropout.
TABLE_1 = {
    "place": (0.1, 128, 400, 0.1),
    "director": (1.0, 256, 400, 0.5),
    "relation": (0.01, 16, 400, 0.5),
    "speak": (0.1, 256, 400, 0.1),
    "writer": (0.5, 32, 400, 0.25),
    "year": (0.1, 128, 400, 0.75),
    "genre": (0.1, 256, 400, 0.1),
    "view": (0.01, 16, 500, 0.8),
    "like": (0.1, 16, 500, 0.5),
}
OTHERS = {"boundary": (0.03, 4096, 800, 0.8), "places": (5.0, 512, 200, 0.25)}  # Section 1.3


def test_settings_are_the_papers() -> None:
    published = {f"lvu-{name}": values for name, values in TABLE_1.items()} | OTHERS
    assert presets().keys() == {*published, "mature"}
    for name, values in published.items():
        own = preset_of(name).config
        assert (own.learning_rate, own.frozen_batch_size, own.epochs, own.head_dropout) == values
    for preset in presets().values():
        own = preset.config
        assert (own.head_size, own.num_hidden, own.optimizer) == (512, 2, "sgd")
        assert preset.head in HEADS
    assert [name for name, own in presets().items() if own.head == "regress"] == ["lvu-view", "lvu-like"]
    assert preset_of("places").head == "tags"


def test_mature_has_classes_of_its_own() -> None:
    mature = preset_of("mature")
    mature.check({"a": "violence", "b": "none"})
    with pytest.raises(FeatureError, match="label of b: expected one of sex, violence, drug-use, none, got 'kissing'"):
        mature.check({"a": "none", "b": "kissing"})
    preset_of("lvu-place").check({"a": "anything"})


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="preset: expected one of lvu-place, .*, mature, got 'lvu'"):
        preset_of("lvu")


def test_a_config_goes_before_the_preset(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"epochs": 3, "optimizer": "adamw"}')
    config = HeadConfig.read(tmp_path / "own.json", preset_of("places").config)
    assert (config.epochs, config.optimizer, config.learning_rate, config.num_hidden) == (3, "adamw", 5.0, 2)
    assert HeadConfig.read(tmp_path / "own.json").learning_rate == HeadConfig().learning_rate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"optimizer": "adam"}', "optimizer must be one of adamw, sgd, got 'adam'"),
        ('{"num_hidden": 0}', "num_hidden must be at least 1, got 0"),
        ('{"num_hidden": 65}', "num_hidden must be at most 64, got 65"),
        ('{"momentum": 1.0}', "momentum must be from 0 to less than 1, got 1.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"head config: {message}"):
        HeadConfig.read(tmp_path / "own.json")
