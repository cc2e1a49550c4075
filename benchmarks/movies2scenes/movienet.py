"""Scene boundaries by scene encoders: ``python -m benchmarks.movies2scenes.movienet FEATURES MOVIELENS WORK``.

The few-label curve of ``benchmarks.pretraining.movienet``, on the same films and by the same heads. The encoder is made
of MovieNet's training films without their labels: a movie encoder learns which are watched together by MovieLens'
ratings, scene pairs are mined in the movies that it calls similar, and a scene encoder is pretrained on them. Each run
is a line of ``benchmarks/results/movies2scenes/movienet.jsonl``. Weights stay in WORK: they never ship.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.logged import RESULTS
from benchmarks.pretraining.movienet import Runs
from megaseg import Engine
from megaseg.pipelines.mining import mine, similar_movies
from megaseg.training.recipes.movie_similarity.config import MovieSimilarityConfig
from megaseg.training.recipes.movie_similarity.metadata.registry import read_pairs
from megaseg.training.recipes.movie_similarity.run import train_movie_similarity
from megaseg.training.recipes.scene_contrast.config import SceneContrastConfig
from megaseg.training.recipes.scene_contrast.run import pretrain_scene_contrast

LOG = RESULTS / "movies2scenes" / "movienet.jsonl"
SETTINGS = Path(__file__).with_name("movienet.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("movielens", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plan", help="one of the lists of runs in movienet.json; by default all")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings = json.loads(SETTINGS.read_text())
    runs = SceneRuns(given.movielens, given.features, given.work, settings, given.threads, LOG)
    for plan in [given.plan] if given.plan else settings["plans"]:
        runs.plan(plan)


class SceneRuns(Runs):
    """Runs whose encoders learnt from metadata of movies."""

    def __init__(self, movielens: Path, *given: Any) -> None:
        super().__init__(*given)
        self._movielens = movielens

    def pretrain(self, method: str, config: dict[str, Any], folder: Path) -> None:
        """Movie encoder, scene pairs and scene encoder of the training films."""
        films = self.reads(method, self.train)
        known = read_pairs(self._movielens, config["kind"], list(films))
        similarity = MovieSimilarityConfig(**config["movies"])
        movie_encoder = train_movie_similarity(films, known, similarity, folder / "movies")
        engine = Engine.from_checkpoint(movie_encoder, compute_type="float32", num_threads=1)
        pairs = similar_movies(films, engine, config["count"])
        mined = mine(films, engine, pairs, method, limit=config["limit"], num_threads=1)
        print(f"{len(pairs)} pairs of movies, {len(mined.first)} scene pairs", flush=True)
        contrast = SceneContrastConfig(**config["scenes"])
        pretrain_scene_contrast(films, mined, contrast, folder, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
