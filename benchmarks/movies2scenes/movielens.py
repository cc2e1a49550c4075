"""Which movies are similar, by MovieLens: ``python -m benchmarks.movies2scenes.movielens FEATURES MOVIELENS WORK``.

FEATURES has folders of films named by IMDb id, as ``megaseg features movienet`` writes them, MOVIELENS the published
tables. A seed deals the films into five folds; a movie encoder learns from the pairs among four of them and is judged
on the pairs among those of the fifth, and on their pairs with films that it learnt from. Learning reads every fourth
shot, judging all. Each run is a line of ``benchmarks/results/movies2scenes/movielens.jsonl``; runs that are there are
not run again. Nothing stays in WORK.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.logged import RESULTS, read
from megaseg import Engine, load_features
from megaseg.engine.inputs.features import Features
from megaseg.pipelines.similarity import movie_vectors
from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig
from megaseg.training.recipes.movie_similarity.figures import pair_figures
from megaseg.training.recipes.movie_similarity.metadata.registry import read_pairs
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs
from megaseg.training.recipes.movie_similarity.run import train_movie_similarity

LOG = RESULTS / "movies2scenes" / "movielens.jsonl"
FOLDS, SEEDS = 5, range(4)
THINNED = 4  # one of so many shots is learnt from
KINDS = ("genre", "co-watch")
EVERY = ("dialogue", "rhythm", "speech")
SETTINGS: dict[str, Any] = {
    "max_length": 32, "hidden_size": 64, "num_layers": 0, "output_size": 32, "dropout": 0.3, "optimizer": "adamw",
    "learning_rate": 2e-3, "weight_decay": 0.1, "epochs": 25, "batch_size": 1024, "validation_share": 0.0,
    "test_share": 0.0,
}  # fmt: skip
VARIANTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "all": (EVERY, {}),
    "dialogue": (("dialogue",), {}),
    "rhythm, speech": (("rhythm", "speech"), {}),
    "all, one block": (EVERY, {"num_layers": 1}),
}
Vectors = dict[str, NDArray[np.float32]]
Films = Mapping[str, Features]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("movielens", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["all"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    films = {path.stem: load_features(path) for path in sorted(given.features.glob("*/*.npz"))}
    pairs = {kind: read_pairs(given.movielens, kind, list(films)) for kind in KINDS}
    for variant in given.variants:
        for seed in given.seeds:
            for kind in KINDS:
                for fold in range(FOLDS):
                    _run(films, pairs[kind], kind, variant, seed, fold, given.work)


def _run(films: Films, pairs: MoviePairs, kind: str, variant: str, seed: int, fold: int, work: Path) -> None:
    """Learn from four folds and judge the fifth, unless its line is there."""
    modalities, changes = VARIANTS[variant]
    settings = {**SETTINGS, **changes, "modalities": list(modalities), "seed": seed}
    key = {"kind": kind, "variant": variant, "seed": seed, "fold": fold}
    if any(key.items() <= line.items() and line["config"] == settings for line in read(LOG)):
        return
    begun = time.perf_counter()
    own = {name: {m: films[name].modalities[m] for m in modalities} for name in pairs.names}
    out = np.random.default_rng(seed).permutation(pairs.names)[fold::FOLDS].tolist()
    train = [name for name in pairs.names if name not in set(out)]
    thinned = {name: Features({m: rows[::THINNED] for m, rows in own[name].items()}) for name in train}
    config = MovieSimilarityConfig(**{**settings, "modalities": modalities})
    shutil.rmtree(work, ignore_errors=True)
    encoder = train_movie_similarity(thinned, pairs.between(train, train), config, work)
    shutil.rmtree(work)
    engine = Engine.from_checkpoint(encoder, compute_type="float32", num_threads=1)
    learnt = dict(zip(own, movie_vectors(engine, map(Features, own.values())), strict=True))
    means = {name: np.hstack([rows.mean(0) for rows in film.values()]) for name, film in own.items()}
    line = {**key, **_figures(pairs, out, train, {"model": learnt, "means": means, "scaled": _scaled(means, train)})}
    line |= {"seconds": round(time.perf_counter() - begun, 1), "config": settings}
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a") as log:
        log.write(json.dumps(line) + "\n")
    print({name: value for name, value in line.items() if name != "config"}, flush=True)


def _figures(
    pairs: MoviePairs, out: Iterable[str], train: Iterable[str], vectors: Mapping[str, Vectors]
) -> dict[str, Any]:
    """Areas under the curve by what tells: ``both`` movies held out, and ``one`` of the two; and numbers of pairs."""
    both, one = pairs.between(out, out), pairs.between(out, train)
    found: dict[str, Any] = {"films": len(pairs.names), "pairs": len(both), "similar": int(both.similar.sum())}
    for name, own in vectors.items():
        areas = [pair_figures(part, own)["auc"] for part in (both, one)]
        found[name] = dict(zip(("both", "one"), (round(float(area or 0), 5) for area in areas), strict=True))
    return found


def _scaled(means: Vectors, train: Iterable[str]) -> Vectors:
    """Mean vectors less the mean of the training movies, every column over its spread there."""
    rows = np.stack([means[name] for name in train])
    middle, spread = rows.mean(0), rows.std(0) + 1e-6
    return {name: (row - middle) / spread for name, row in means.items()}


if __name__ == "__main__":
    main()
