"""Graphs that no shipped family has: passes leave them as they are, and every backend runs them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawings import DRAWINGS, IDS, STREAMS, WIDTH, Pen, checkpoint_of, movies, results_of

from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph import ops
from megaseg.engine.graph.graph import Node, Output
from megaseg.engine.graph.passes import PASSES
from megaseg.engine.model.family import structure_of
from megaseg.errors import CheckpointError, FeatureError, UnsupportedError

drawn = pytest.mark.parametrize(
    ("drawing", "windowed"),
    [*[(name, windowed) for name in DRAWINGS for windowed in (True, False)], *[(name, False) for name in STREAMS]],
)


@drawn
def test_backends_and_passes_agree(drawing: str, windowed: bool) -> None:
    checkpoint = checkpoint_of(drawing, windowed)
    expected = list(results_of(TorchBackend(checkpoint, compute_type="float64", passes=()), checkpoint.config))
    for passes in (*[(name,) for name in PASSES], tuple(PASSES)):
        exact = TorchBackend(checkpoint, compute_type="float64", passes=passes)
        native = NativeBackend.from_checkpoint(checkpoint, compute_type="float32", passes=passes)
        for backend, tolerance in ((exact, 1e-12), (native, 1e-5)):
            for got, want in zip(results_of(backend, checkpoint.config), expected, strict=True):
                np.testing.assert_allclose(got, want, atol=tolerance, err_msg=str(passes))


@drawn
def test_onnx_agrees(drawing: str, windowed: bool) -> None:
    pytest.importorskip("onnxruntime")
    from megaseg.engine.backends.onnx.backend import OnnxBackend

    checkpoint = checkpoint_of(drawing, windowed)
    expected = results_of(TorchBackend(checkpoint, compute_type="float64", passes=()), checkpoint.config)
    for got, want in zip(results_of(OnnxBackend.from_checkpoint(checkpoint), checkpoint.config), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("windowed", [True, False])
def test_an_id_without_a_row_is_refused_through_windows_too(windowed: bool) -> None:
    checkpoint = checkpoint_of("ids", windowed)
    (excerpt, *_) = movies()
    excerpt.features[1][0] = IDS
    for backend in (TorchBackend(checkpoint), NativeBackend.from_checkpoint(checkpoint)):
        with pytest.raises(FeatureError, match=f"{IDS}"):
            backend.run([excerpt])


def one(name: str, node: Callable[[Pen], Node]) -> Callable[[Pen], tuple[Output, ...]]:
    return lambda pen: (Output(name, node(pen)),)


def five_heads(pen: Pen) -> Node:
    h = pen.latents()
    return pen.middle(ops.attention(h, pen.linear(h, 2 * WIDTH), 5))


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        (lambda pen: (), "at least one"),
        (one("a b", lambda pen: pen.middle(pen.latents())), "'a b'"),
        (lambda pen: 2 * pen.output(pen.middle(pen.latents())), "different names"),
        (one("logits", Pen.latents), "output logits: expected rows of sequences"),
        (one("logits", five_heads), "5 heads"),
    ],
)
def test_a_graph_that_no_backend_can_run_is_refused(
    drawing: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRAWINGS, "wrong", drawing)
    with pytest.raises(CheckpointError, match=f"family drawn: .*{message}"):
        structure_of(checkpoint_of("wrong", True).config)


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="expected some of logits, got 'nobody'"):
        TorchBackend(checkpoint_of("plain", True)).run(movies(), ["nobody"])
