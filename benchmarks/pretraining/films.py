"""Ordering, next shot and boundaries on real films: ``python -m benchmarks.pretraining.films VIDEO_SCENES WORK``.

VIDEO_SCENES is a folder of films with features of every shot (``films.json`` is its index); the 25 with ``vgg19`` are
read. Video is that network, the place of audio is taken by colour. Films are left out: a seed deals them into five
folds, encoders and heads learn from four of them and are judged on the fifth. Each run is a line of
``benchmarks/results/pretraining/films.jsonl``; runs that are there are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.modality import Modality
from megaseg.engine.model.checkpoint import Checkpoint, load_checkpoint
from megaseg.engine.model.contextualizer import ContextualizerConfig
from megaseg.training.recipes.head.boundary import Boundary
from megaseg.training.recipes.head.config import HeadConfig
from megaseg.training.recipes.head.next_shot import NextShot
from megaseg.training.recipes.head.ordering import Ordering
from megaseg.training.recipes.head.protocol import Head
from megaseg.training.recipes.head.run import Mode, evaluate_head, train_head
from megaseg.training.recipes.pretrain.config import LongRangePretrainConfig
from megaseg.training.recipes.pretrain.films import fitted
from megaseg.training.recipes.pretrain.run import pretrain

LOG = Path(__file__).resolve().parents[1] / "results" / "pretraining" / "films.jsonl"
FOLDS, SEEDS = 5, range(4)
JUDGES = 2  # training films that choose a head's epoch
Movies = Mapping[str, Features]

PRETRAINING: dict[str, Any] = {
    "video": "visual", "audio": "colour", "length": 10, "hidden_size": 64, "ffn_size": 128, "num_heads": 4,
    "num_layers": 1, "position_std": 0.3, "components": {"visual": 64, "colour": 32}, "objective": "cosine",
    "asked": "all", "mask_share": 0.25, "without": ("inter", "cross"), "drop_share": 0.0, "epochs": 60,
    "batch_size": 64, "windows_together": 8, "learning_rate": 2e-3, "warmup": 0.1, "validation_share": 0.0,
}  # fmt: skip
LIKENESS: dict[str, Any] = {
    "likeness": 3, "head_size": 32, "head_dropout": 0.1, "epochs": 20, "patience": 8, "frozen_batch_size": 128,
    "learning_rate": 3e-3,
}  # fmt: skip
COLUMNS: dict[str, Any] = {"epochs": 10, "frozen_batch_size": 128, "learning_rate": 1e-3}
SCRATCH: dict[str, Any] = {"components": {"visual": 64, "colour": 32}, "position_std": 0.3, "encoder_share": 1.0,
                           "epochs": 8, "patience": 3, "batch_size": 64, "examples": 1500}  # fmt: skip
FINE_TUNED: dict[str, Any] = {"epochs": 15, "patience": 15, "batch_size": 16, "learning_rate": 2e-3,
                              "encoder_share": 1.0, "train_projections": True}  # fmt: skip
HEADS: dict[str, type[Head]] = {"next-shot": NextShot, "ordering": Ordering, "boundary": Boundary}


def films_of(folder: Path) -> dict[str, Features]:
    """Films with ``vgg19``: root and unit length of every row, less the film's mean, which needs no labels."""
    index = json.loads((folder / "films.json").read_text(encoding="utf-8"))
    found = {}
    for film in index:
        if "vgg19" not in film["features"]:
            continue
        with np.load(folder / film["file"]) as file:
            own = {"visual": _rows(file["vgg19"])}
            if "colour_hsv" in file.files:
                own["colour"] = _rows(file["colour_hsv"])
            found[Path(film["file"]).stem] = Features(own, labels=file["labels"].astype(np.uint8))
    return found


def _rows(features: NDArray[Any]) -> NDArray[np.float32]:
    rows = np.sqrt(features.astype(np.float64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
    return (rows - rows.mean(0)).astype(np.float32)


def parts_of(films: Movies, seed: int, fold: int) -> tuple[dict[str, Features], dict[str, Features]]:
    """Films to learn from, and those left out: each set of films is dealt by size, in a random order of folds."""
    rng = np.random.default_rng(seed)
    order = sorted(films, key=lambda name: (name[:4], -films[name].num_shots))
    places = np.concatenate([rng.permutation(FOLDS) for _ in range(0, len(order), FOLDS)])[: len(order)]
    out = {name for name, place in zip(order, places, strict=True) if place == fold}
    return {n: f for n, f in films.items() if n not in out}, {n: f for n, f in films.items() if n in out}


def scaled_inputs(train: Movies) -> Checkpoint:
    """An encoder without layers: the inputs that the others read, visual and colour in columns of their own."""
    components = PRETRAINING["components"]
    scalings = fitted(train, list(components), components)
    half = max(components.values())
    config = ContextualizerConfig(
        task="embedding",
        modalities=tuple(Modality(name, len(scalings[name].mean)) for name in components),
        max_length=PRETRAINING["length"],
        step=PRETRAINING["length"] // 2,
        hidden_size=2 * half,
        ffn_size=1,
        num_heads=1,
        num_layers=0,
    )
    tensors = {name: np.zeros(shape, np.float32) for name, shape in config.tensor_shapes().items()}
    tensors["norm.weight"][:] = 1
    for place, (name, count) in enumerate(components.items()):
        own = torch.zeros(2 * half, count)
        own[place * half : place * half + count] = torch.eye(count)
        weight, bias = scalings[name].folded(own, torch.zeros(2 * half))
        tensors[f"modalities.{name}.proj.weight"], tensors[f"modalities.{name}.proj.bias"] = (
            weight.numpy(),
            bias.numpy(),
        )
    return Checkpoint(config, tensors)


class Runs:
    """Films in memory, encoders in WORK, and the log."""

    def __init__(self, films: Movies, work: Path, log: Path = LOG) -> None:
        self._films, self._work, self._log = films, work, log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._lines = [json.loads(x) for x in log.read_text().splitlines()] if log.is_file() else []

    def encoder(self, seed: int, fold: int, **changes: Any) -> tuple[Checkpoint, dict[str, Any]]:
        """The encoder of a fold's training films, made when it is first wanted, and its config."""
        config = {**PRETRAINING, **changes, "seed": seed}
        name = "-".join(f"{key}={value}" for key, value in sorted(changes.items())) or "full"
        folder = self._work / f"{name}-{seed}-{fold}"
        if not (folder / "done").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            pretrain(parts_of(self._films, seed, fold)[0], LongRangePretrainConfig(**config), folder)
            (folder / "done").touch()
        return load_checkpoint(folder / "encoder.safetensors"), config

    def once(self, key: dict[str, Any], figure: Callable[[], tuple[float, dict[str, Any]]]) -> None:
        """Log a run's figure and config under its key, unless they are there."""
        if any(key.items() <= line.items() for line in self._lines):
            return
        begun = time.perf_counter()
        value, config = figure()
        line = {**key, "figure": round(value, 5), "seconds": round(time.perf_counter() - begun, 1), "config": config}
        self._lines.append(line)
        with self._log.open("a") as log:
            log.write(json.dumps(line) + "\n")
        print({name: own for name, own in line.items() if name != "config"}, flush=True)

    def head(self, task: str, method: str, head: str, seed: int, fold: int, films: int = 0, **changes: Any) -> None:
        """One head: ``method`` is none, pretrained or scratch; the films with labels are ``films``, or all."""
        key = {"task": task, "method": method, "head": head, "films": films, "seed": seed, "fold": fold}
        self.once(key, lambda: self._trained(task, method, head, seed, fold, films, changes))

    def _trained(
        self, task: str, method: str, head: str, seed: int, fold: int, films: int, changes: dict[str, Any]
    ) -> tuple[float, dict[str, Any]]:
        train, test = parts_of(self._films, seed, fold)
        if method == "raw":
            encoder, pretraining = scaled_inputs(train), PRETRAINING["components"]
        else:
            own = {"none": {"epochs": 0}, "scratch": {"epochs": 0}}.get(method, changes)
            encoder, pretraining = self.encoder(seed, fold, **own)
        names = np.random.default_rng([seed, fold]).permutation(sorted(train)).tolist()
        values = {"likeness": LIKENESS, "columns": COLUMNS, "fine-tuned": FINE_TUNED}[head] | (
            SCRATCH if method == "scratch" else {}
        )
        if method == "raw" and head == "likeness":
            values = values | {"likeness": 2}
        if films:
            train = {name: train[name] for name in names[:films]}
        judges = dict(list(train.items())[:JUDGES]) if films else {name: train.pop(name) for name in names[:JUDGES]}
        config = HeadConfig(**(values | {"seed": seed}))
        mode = Mode(from_scratch=True) if method == "scratch" else Mode(head == "fine-tuned")
        trained = train_head(HEADS[task], encoder, train, judges, config, mode)
        figures = evaluate_head(trained, test)
        return figures[HEADS[task].figure], {"pretraining": pretraining, "head": dataclasses.asdict(config)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video_scenes", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--part", nargs="+", choices=PLANS, default=list(PLANS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work.mkdir(parents=True, exist_ok=True)
    runs = Runs(films_of(given.video_scenes), given.work)
    for part in given.part:
        PLANS[part](runs)


def likeness(runs: Runs, folds: Sequence[int] = (0,)) -> None:
    """Next shot and ordering by likeness of frozen embeddings, of random weights and pretrained."""
    for fold in folds:
        for seed in SEEDS:
            for task in ("next-shot", "ordering"):
                for method in ("none", "pretrained"):
                    runs.head(task, method, "likeness", seed, fold)


def folds(runs: Runs) -> None:
    """``likeness`` on the other folds."""
    likeness(runs, range(1, FOLDS))


def raw(runs: Runs) -> None:
    """Next shot and ordering by likeness of the scaled inputs themselves."""
    for seed in SEEDS:
        for task in ("next-shot", "ordering"):
            runs.head(task, "raw", "likeness", seed, 0)


def splices(runs: Runs) -> None:
    """The same, and the other tasks, by an encoder that learnt where other places were spliced in, too."""
    for seed in SEEDS:
        for films in (2, 6, 17):
            runs.head("boundary", "spliced", "columns", seed, 0, films, splice_share=0.5)
        for head in ("likeness", "columns"):
            for task in ("next-shot", "ordering"):
                runs.head(task, "spliced", head, seed, 0, splice_share=0.5)


def columns(runs: Runs) -> None:
    """The same by a linear layer over embeddings and their products, which is nearer to the paper's."""
    for task in ("next-shot", "ordering"):
        for seed in SEEDS:
            for method in ("none", "pretrained"):
                runs.head(task, method, "columns", seed, 0)


def boundary(runs: Runs) -> None:
    """Scene boundaries with few labelled films, by a linear layer on frozen embeddings and with the encoder trained."""
    for head in ("columns", "fine-tuned"):
        for seed in SEEDS:
            for films in (2, 6, 17):
                for method in ("none", "pretrained"):
                    runs.head("boundary", method, head, seed, 0, films)


def losses(runs: Runs) -> None:
    """Which losses: one more, or one less (Table 1), and masked tokens alone."""
    kinds = {"all losses": {"without": ()}, "inter alone": {"without": ("intra", "cross")},
             "masked alone": {"asked": "masked"}, "length 30": {"length": 30}}  # fmt: skip
    for seed in SEEDS:
        for name, changes in kinds.items():
            for task in ("next-shot", "ordering"):
                runs.head(task, name, "likeness", seed, 0, **changes)


def scratch(runs: Runs) -> None:
    """Encoder and head trained together from random weights."""
    for seed in SEEDS:
        for task in ("next-shot", "ordering"):
            runs.head(task, "scratch", "likeness", seed, 0)


PLANS: dict[str, Callable[[Runs], None]] = {
    "likeness": likeness,
    "raw": raw,
    "boundary": boundary,
    "splices": splices,
    "columns": columns,
    "scratch": scratch,
    "losses": losses,
    "folds": folds,
}


if __name__ == "__main__":
    main()
