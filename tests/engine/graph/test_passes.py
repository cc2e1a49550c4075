"""Every pass leaves the function as it was: float64, random small models, on against off."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from support import logits_of, odd_config, random_checkpoint, random_features, small_config

from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.graph.passes import PASSES, rewrite
from megaseg.engine.model.checkpoint import load_checkpoint
from megaseg.engine.model.family import graph_of
from megaseg.models import from_checkpoint

TOLERANCE = 1e-12  # the models' logits are of the order of one


def logits(checkpoint, features, passes):
    return logits_of(TorchBackend(checkpoint, compute_type="float64", batch=7, passes=passes), [features])[0]


def as_written(checkpoint, features):
    """The trainable model itself, an independent implementation."""
    config = checkpoint.config
    model = from_checkpoint(checkpoint, torch.float64)
    shots = len(features[0])
    if config.task == "scene":
        offsets = np.arange(config.max_length) - config.max_length // 2
        windows = (np.arange(shots)[:, None] + offsets).clip(0, shots - 1)
    else:
        windows = np.arange(shots)[None]
    names = [modality.name for modality in config.modalities]
    batch = {name: torch.from_numpy(x[windows]).double() for name, x in zip(names, features, strict=True)}
    with torch.inference_mode():
        out = model(batch)
    return (out[:, config.max_length // 2] if config.task == "scene" else out[0]).numpy()


@pytest.mark.parametrize(
    "seed", [*range(1, 9), *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, *range(9, 24)))]
)
def test_each_pass_and_all_of_them_leave_the_logits(seed: int) -> None:
    config = odd_config(seed)
    checkpoint = random_checkpoint(config, seed)
    shots = int(np.random.default_rng(seed).integers(1, 20))
    features = list(random_features(config, shots, seed).values())
    expected = as_written(checkpoint, features)
    chosen = np.random.default_rng(seed).permutation(list(PASSES))
    for passes in ((), tuple(PASSES), *[(name,) for name in PASSES], tuple(chosen[:3])):
        assert np.abs(logits(checkpoint, features, passes) - expected).max() < TOLERANCE, passes


@pytest.mark.parametrize("task", ["scene", "act"])
def test_every_pass_that_concerns_a_task_changes_its_graph(task: str) -> None:
    """A pass that did nothing would leave every logit where it was."""
    graph = graph_of(random_checkpoint(small_config(task, num_unimodal_layers=2, num_fusion_layers=2)))
    changed = set()
    for name, apply in PASSES.items():
        after = apply(graph)
        if after.results() != graph.results():
            changed.add(name)
        graph = after
    scene_only = {"project_once", "window_tables", "folded_query"}
    assert changed == (set(PASSES) if task == "scene" else set(PASSES) - scene_only)


def test_the_rewritten_scene_graph_is_the_cheap_one() -> None:
    config = small_config(num_unimodal_layers=2)
    graph = rewrite(graph_of(random_checkpoint(config)))
    ops = Counter(node.op for node in graph.nodes())
    modalities = len(config.modalities)
    assert ops["windows"] == 0
    assert ops["join"] == 0
    assert ops["window_attention"] == ops["query_attention"] == ops["attention"] == modalities
    for node in graph.nodes():
        if node.op == "linear" and len(node.inputs) == 1 and node.inputs[0].op == "features":
            assert node.space == "shots"
    last = [node for node in graph.nodes() if node.space == "sequences" and node.op == "layer_norm"]
    assert len(last) == 2 * modalities


def test_weights_are_read_only_when_asked_for() -> None:
    class Unreadable(dict):
        def __getitem__(self, name):
            raise AssertionError(f"{name} was read")

    checkpoint = random_checkpoint(small_config())
    unread = type(checkpoint)(checkpoint.config, Unreadable(checkpoint.tensors))
    assert rewrite(graph_of(unread)).output("logits").node.width == 2


def test_the_rewritten_graphs_of_mega_are_those_before_there_were_families() -> None:
    """Node for node: op(inputs), space, width, prefix tokens; written by the commit before graphs had primitives."""
    lines = []
    for task in ("scene", "act", "synopsis"):
        graph = rewrite(graph_of(random_checkpoint(small_config(task, num_unimodal_layers=2))))
        index = {node: i for i, node in enumerate(graph.nodes())}
        lines.append(task)
        for node in index:
            prefix = node.prefix if node.space in ("tokens", "prefix") else 0
            inputs = ",".join(str(index[source]) for source in node.inputs)
            lines.append(f"{node.op}({inputs}) {node.space} {node.width} {prefix}")
    assert lines == Path(__file__).with_name("mega.txt").read_text(encoding="utf-8").split("\n")[:-1]


def test_middles_of_windows_are_computed_by_shot() -> None:
    """A family that reads middles alone copies no rows of features, and keeps its bits."""
    checkpoint = load_checkpoint("video-scenes")
    assert {node.space for node in rewrite(graph_of(checkpoint)).nodes() if node.op == "linear"} == {"shots"}
    features = list(random_features(checkpoint.config, 150).values())
    (once, every) = (
        logits_of(NativeBackend.from_checkpoint(checkpoint, passes=passes), [features])[0] for passes in (PASSES, ())
    )
    np.testing.assert_array_equal(once, every)
