"""Networks that ship in a distribution of their own."""

from __future__ import annotations

import sys

import pytest

from megaseg.errors import UnsupportedError
from megaseg.features.visual.efficientnet import EfficientNetMeasure
from megaseg.media.shots.transnet import TransNetMeasure
from megaseg.weights import weights_file


@pytest.mark.parametrize("name", ["transnetv2.onnx", "efficientnet_lite0.onnx", "reader.safetensors"])
def test_a_clone_has_every_network(name: str) -> None:
    assert weights_file(name, extra="video").stat().st_size > 1_000_000


@pytest.mark.parametrize("make", [TransNetMeasure, EfficientNetMeasure])
def test_the_error_says_what_brings_them(make: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "megaseg_weights", None)
    with pytest.raises(
        UnsupportedError, match=r"onnx: expected the package megaseg-weights: pip install 'megaseg\[video\]'"
    ):
        make()
