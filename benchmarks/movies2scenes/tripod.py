"""Places of scenes: ``python -m benchmarks.movies2scenes.tripod PACK FEATURES WORK``.

PACK is TRIPOD's ``screenplays.jsonl.gz``, FEATURES the folder that ``megaseg features screenplay`` made of it. A fold
is every fifth film: encoders learn from the texts of the other films, and every scene of the fold's films is asked
which scenes of all other films are nearest. Headings give the places that are told right, and nothing else: no encoder
sees them, but for the methods named ``supervised``. Each run is a line of
``benchmarks/results/movies2scenes/tripod.jsonl``; runs that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.movies2scenes.places import FOLDS, PLACES, Array, Places, chance, precisions, read_places
from megaseg import Encoder, Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.evaluation.metrics import average_precision
from megaseg.pipelines.embedding import encoder_sha256
from megaseg.pipelines.mined_pairs import MinedPairs
from megaseg.pipelines.mining import long_enough, mine, similar_movies
from megaseg.pipelines.scenes import scene_vectors
from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig
from megaseg.training.recipes.movie_similarity.metadata.registry import read_pairs
from megaseg.training.recipes.movie_similarity.run import train_movie_similarity
from megaseg.training.recipes.pretrain.config import PretrainConfig
from megaseg.training.recipes.pretrain.run import pretrain
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig
from megaseg.training.recipes.scene_contrast.run import pretrain_scene_contrast

LOG = Path(__file__).resolve().parents[1] / "results" / "movies2scenes" / "tripod.jsonl"
SEEDS, PENALTY = range(4), 0.3
CONTRAST: dict[str, Any] = {
    "positives": "halves", "start": "mean", "keep_layers": True, "hidden_size": 384, "ffn_size": 384, "num_layers": 1,
    "dropout": 0.2, "drop_share": 0.0, "projection_layers": 0, "key_momentum": 0.9, "queue_size": 256,
    "batch_size": 256, "learning_rate": 1e-3, "warmup": 0.1, "epochs": 5, "validation_share": 0.0,
}  # fmt: skip
CONTEXT: dict[str, Any] = {
    "length": 32, "hidden_size": 128, "ffn_size": 256, "num_layers": 1, "position_std": 0.1, "drop_share": 0.0,
    "epochs": 8, "validation_share": 0.0,
}  # fmt: skip
SIMILARITY: dict[str, Any] = {
    "max_length": 64, "hidden_size": 64, "num_layers": 0, "output_size": 32, "dropout": 0.3, "optimizer": "adamw",
    "learning_rate": 0.002, "weight_decay": 0.1, "movies_per_batch": 64, "epochs": 100, "validation_share": 0.0,
    "test_share": 0.0,
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "scene-contrast": {},
    "scene-contrast-untrained": {"epochs": 0},
    "scene-contrast-layers": {"keep_layers": False, "learning_rate": 5e-4},
    "scene-contrast-random-start": {"start": "random", "keep_layers": False},
    "scene-contrast-pairs": {"positives": "pairs", "pairs_per_epoch": 6000},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(FOLDS)))
    given = parser.parse_args()
    torch.set_num_threads(1)
    scenes = read_places(given.pack, given.features)
    print(f"{len(scenes.place)} scenes, {len(scenes.films)} films, chance {100 * chance(scenes):.2f}", flush=True)
    for fold in given.folds:
        for method in given.methods:
            for seed in given.seeds if method in TRAINED else [0]:
                _run(scenes, method, seed, fold, given.work)


def _run(scenes: Places, method: str, seed: int, fold: int, work: Path) -> None:
    """One fold by one method, unless its line is there."""
    key = {"method": method, "seed": seed, "fold": fold, "config": _config(method, seed)}
    done = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.is_file() else []
    if any(key.items() <= line.items() for line in done):
        return
    begun = time.perf_counter()
    shutil.rmtree(work, ignore_errors=True)
    vectors = METHODS[method](scenes, fold, seed, work)
    for name, own in (("", vectors), ("supervised ", told_places(vectors, scenes, fold))):
        found = precisions(own, scenes, fold)
        films = scenes.film[scenes.fold == fold]
        line = {**key, "method": f"{name}{method}", "queries": len(found)}
        line |= {f"p{count}": round(float(found[:, k].mean()), 5) for k, count in enumerate((1, 5, 10))}
        line["films"] = {str(film): [int((films == film).sum()), *found[films == film].mean(0).round(5).tolist()]
                         for film in sorted(set(films.tolist()))}  # fmt: skip
        line |= {"map": round(tagging(own, scenes, fold), 5)} if name else {}
        line["seconds"] = round(time.perf_counter() - begun, 1)
        LOG.parent.mkdir(parents=True, exist_ok=True)
        with LOG.open("a") as log:
            log.write(json.dumps(line) + "\n")
        print({name: value for name, value in line.items() if name not in ("config", "films")}, flush=True)


def _config(method: str, seed: int) -> dict[str, Any]:
    if method in CHANGES:
        return {**CONTRAST, **CHANGES[method], "seed": seed}
    return {**CONTEXT, "seed": seed} if method == "contextualizer" else {}


def means(scenes: Places, fold: int, seed: int, work: Path) -> Array:
    """The mean sentence vector of a scene's description."""
    return _per_scene(scenes, centred=False)


def centred_means(scenes: Places, fold: int, seed: int, work: Path) -> Array:
    """The same, of rows less their film's mean."""
    return _per_scene(scenes, centred=True)


def spoken_means(scenes: Places, fold: int, seed: int, work: Path) -> Array:
    """The mean sentence vector of a scene's speeches; zeros where nobody speaks."""
    return scenes.spoken


def contextualizer(scenes: Places, fold: int, seed: int, work: Path) -> Array:
    """The mean row of a contextualizer, which learnt by masked prediction."""
    config = PretrainConfig(**_config("contextualizer", seed))
    return _encoded(pretrain(scenes.training(fold), config, work), scenes)


def _contrast(method: str) -> Callable[[Places, int, int, Path], Array]:
    def encoded(scenes: Places, fold: int, seed: int, work: Path) -> Array:
        config = SceneContrastConfig(**_config(method, seed))
        films = scenes.training(fold)
        pairs = _mined(films, scenes.pack, seed, work / "similar") if config.positives == "pairs" else None
        return _encoded(pretrain_scene_contrast(films, pairs, config, work), scenes)

    return encoded


def _mined(films: Mapping[str, Features], pack: Path, seed: int, work: Path) -> MinedPairs:
    """Scene pairs of films whose synopses are alike, as the paper mines them."""
    films, _ = long_enough(films)
    work.mkdir(parents=True)
    np.savez(work / "synopses.npz", **synopsis_vectors(pack))
    told = read_pairs(work / "synopses.npz", "synopsis", list(films))
    checkpoint = train_movie_similarity(films, told, MovieSimilarityConfig(**SIMILARITY, seed=seed), work)
    engine = Engine.from_checkpoint(checkpoint, compute_type="float32", num_threads=1)
    return mine(films, engine, similar_movies(films, engine), encoder_sha256(checkpoint), num_threads=1)


@cache
def synopsis_vectors(pack: Path) -> dict[str, Array]:
    """The mean sentence vector (384,) of every film's synopsis, of ``synopses.jsonl`` beside the screenplays."""
    encoder = Encoder.from_checkpoint()
    with pack.with_name("synopses.jsonl").open(encoding="utf-8") as lines:
        return {row["name"]: encoder.encode(row["sentences"]).mean(0) for row in map(json.loads, lines)}


def _per_scene(scenes: Places, *, centred: bool) -> Array:
    out = np.zeros((len(scenes.film), 384), np.float32)
    for own, film in scenes.of_film():
        rows = film.modalities["description"]
        rows = rows - rows.mean(0) if centred else rows
        out[own] = [rows[first : last + 1].mean(0) for first, last in scenes.rows[own].tolist()]
    return out


def _encoded(encoder: Checkpoint, scenes: Places) -> Array:
    engine = Engine.from_checkpoint(encoder, compute_type="float32", num_threads=1)
    out: Array | None = None
    for own, film in scenes.of_film():
        found = scene_vectors(engine, film, scenes.rows[own])
        out = np.zeros((len(scenes.film), found.shape[1]), np.float32) if out is None else out
        out[own] = found
    assert out is not None
    return out


def told_places(vectors: Array, scenes: Places, fold: int) -> Array:
    """Scores (S, places) by ridge regression on the headings of the films that a fold does not hold out."""
    x = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float64)
    train = scenes.fold != fold
    middle, targets = x[train].mean(0), np.eye(len(PLACES))[scenes.place]
    inside = x[train] - middle
    gram = inside.T @ inside
    penalty = PENALTY * np.trace(gram) / len(gram)
    slope = np.linalg.solve(gram + penalty * np.eye(len(gram)), inside.T @ (targets[train] - targets[train].mean(0)))
    scores: Array = ((x - middle) @ slope).astype(np.float32)
    return scores


def tagging(scores: Array, scenes: Places, fold: int) -> float:
    """Mean over places of the average precision of the scores on a fold's scenes."""
    held = scenes.fold == fold
    right: NDArray[np.bool_] = scenes.place[held, None] == np.arange(len(PLACES))
    there = np.flatnonzero(right.any(0)).tolist()
    return float(np.mean([average_precision(right[:, place], scores[held, place]) for place in there]))


TRAINED = (*CHANGES, "contextualizer")
METHODS: dict[str, Callable[[Places, int, int, Path], Array]] = {
    "means": means,
    "centred-means": centred_means,
    "dialogue-means": spoken_means,
    **{method: _contrast(method) for method in CHANGES},
    "contextualizer": contextualizer,
}

if __name__ == "__main__":
    main()
