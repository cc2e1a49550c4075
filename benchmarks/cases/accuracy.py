"""Largest logit error against float64, by target and type: the reference vectors and 20 random models of odd sizes."""

from __future__ import annotations

import numpy as np

from benchmarks.inputs import error, features_of, odd_config, random_checkpoint
from benchmarks.rows import ROOT, Row, row_of
from megaseg import _C
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.protocol import logits_of
from megaseg.engine.backends.torch.backend import TorchBackend
from megaseg.engine.model.checkpoint import load_checkpoint

VECTORS = ROOT.parent / "shared" / "vectors"


def run() -> list[Row]:
    rows = []
    for path in sorted(VECTORS.glob("*.safetensors")):
        checkpoint = load_checkpoint(path)
        with np.load(path.with_suffix(".npz")) as vector:
            features = [np.ascontiguousarray(vector[f"features/{m.name}"]) for m in checkpoint.config.modalities]
            rows += errors(f"logit error, {path.stem}", [(checkpoint, features, vector["logits"])])
    models = []
    for seed in range(20):
        config = odd_config(seed)
        checkpoint = random_checkpoint(config, seed)
        features = features_of(config, 40 if config.task == "scene" else config.max_length)
        models.append(
            (
                checkpoint,
                features,
                logits_of(TorchBackend(checkpoint, compute_type="float64", passes=()), [features])[0],
            )
        )
    return rows + errors("logit error, 20 random models", models)


def errors(case: str, models: list) -> list[Row]:  # type: ignore[type-arg]
    rows = []
    for target in _C.available_targets():
        for kind in _C.compute_types(target):
            values = [
                error(
                    logits_of(NativeBackend.from_checkpoint(model, target=target, compute_type=kind), [features])[0],
                    expected,
                )
                for model, features, expected in models
            ]
            facts = {"worst": max(values)} | ({"allowed": 2e-5} if kind == "float32" else {})
            rows.append(row_of(case, f"{target} {kind}", "of max(1, |logit|)", values, **facts))
    return rows
