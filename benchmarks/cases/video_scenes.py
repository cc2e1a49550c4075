"""Scenes of real films, held out: the shipped recipe beside regression, grouping and chance.

``python -m benchmarks video_scenes --only FOLDER``: the feature files of ``benchmarks.films``. F1 is at a threshold
that the other held-out films chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, row_of
from benchmarks.shot_regression import regression_scores
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.checkpoint import Checkpoint
from megaseg.evaluation.metrics import TOLERANCES, average_precision, f1_within
from megaseg.evaluation.scene import boundary_scores
from megaseg.evaluation.split import labelled_files
from megaseg.training.recipes.video.config import VideoConfig
from megaseg.training.recipes.video.ensemble import Trainer
from megaseg.training.recipes.video.films import Film, films_of
from megaseg.training.recipes.video.run import tolerant_threshold

SETS = ("ovsd", "bbc")
MEMBERS = 2  # half as many as the shipped model has: one ensemble a film
VIEWS = 5  # half as many as well, where each row has a training of its own
FOLDS = 2  # of the films that a feature space is measured on
Scores = dict[str, NDArray[np.float32]]
Given = Callable[[Features], Features]


def run(only: tuple[str, ...] = ()) -> Iterator[list[Row]]:
    if not only or not Path(only[0]).is_dir():
        print("video_scenes: skipped, since no folder of feature files was named")
        return
    movies = labelled_files(only[0])
    films = films_of(movies)
    measured = [name for name, film in films.items() if name.startswith(SETS) and len(film.spaces[0].modalities) == 2]
    yield _one_out(films, measured)
    yield _cross(films, measured)
    yield _unseen_spaces(movies)


def _one_out(films: Mapping[str, Film], measured: list[str]) -> list[Row]:
    case = f"scenes of {len(measured)} films, each left out"
    models = dict(
        zip(measured, Trainer(films, [{name} for name in measured], VideoConfig(members=MEMBERS)).run(), strict=True)
    )
    whole = {name: films[name].spaces[0] for name in measured}
    regression: Scores = {}
    for name in measured:
        regression |= regression_scores({n: whole[n] for n in measured if n != name}, {name: whole[name]})
    grouping = boundary_scores(_engine("optimal-grouping"), whole)
    rng = np.random.default_rng(0)
    chance = {name: rng.random(film.num_shots).astype(np.float32) for name, film in whole.items()}
    labels = {name: films[name].labels for name in measured}
    rows = [_row(case, "video-scenes", labels, _scores(models, whole))]
    rows.append(_row(case, "logistic regression", labels, regression))
    rows.append(_row(case, "optimal-grouping, nothing trained", labels, grouping, threshold=0.5))
    rows.append(_row(case, "random scores", labels, chance))
    for subject, given in _variants(rng).items():
        shown = {name: given(film) for name, film in whole.items()}
        rows.append(_row(case, f"video-scenes, {subject}", labels, _scores(models, shown)))
    return rows


def _variants(rng: np.random.Generator) -> dict[str, Given]:
    def of(film: Features, *names: str) -> Features:
        return Features({name: film.modalities[name] for name in names}, film.times, film.time_base)

    def noise(film: Features) -> NDArray[np.float32]:
        return rng.standard_normal((film.num_shots, 64)).astype(np.float32)

    def beside(film: Features, name: str) -> Features:
        return Features({**film.modalities, name: noise(film)}, film.times, film.time_base)

    return {
        "visual alone": lambda film: of(film, "visual"),
        "colour alone": lambda film: of(film, "colour"),
        "rhythm alone": lambda film: Features(
            {"visual": np.zeros((film.num_shots, 1), np.float32)}, film.times, film.time_base
        ),
        "without times": lambda film: Features(film.modalities),
        "random audio besides": lambda film: beside(film, "audio"),
        "random dialogue besides": lambda film: beside(film, "dialogue"),
    }


def _cross(films: Mapping[str, Film], measured: list[str]) -> list[Row]:
    rows = []
    for source, target in (SETS, SETS[::-1]):
        own = {name: film for name, film in films.items() if name.startswith(source)}
        (model,) = Trainer(own, [set()], VideoConfig(members=MEMBERS, views=VIEWS)).run()
        test = {name: films[name].spaces[0] for name in measured if name.startswith(target)}
        train = {name: films[name].spaces[0] for name in measured if name.startswith(source)}
        labels = {name: films[name].labels for name in test}
        case = f"trained on {source}, measured on {target}, {len(test)} films"
        rows.append(_row(case, "video-scenes", labels, boundary_scores(_engine(model), test)))
        rows.append(_row(case, "logistic regression", labels, regression_scores(train, test)))
    return rows


def _unseen_spaces(movies: Mapping[str, Features]) -> list[Row]:
    """Films seen in a feature space that no film of the training has."""
    films, rows = films_of(movies), []
    spaces = sorted({name.partition("@")[2] for name in movies if "@" in name})
    for space in spaces:
        test = {name.partition("@")[0]: movie for name, movie in movies.items() if name.endswith(f"@{space}")}
        rest = films_of({name: movie for name, movie in movies.items() if not name.endswith(f"@{space}")})
        held = [set(list(test)[fold::FOLDS]) for fold in range(FOLDS)]
        found: Scores = {}
        for model, names in zip(
            Trainer(rest, held, VideoConfig(members=MEMBERS, views=VIEWS)).run(), held, strict=True
        ):
            found |= boundary_scores(_engine(model), {name: test[name] for name in test if name in names})
        labels = {name: films[name].labels for name in test}
        case = f"a feature space not in training, {FOLDS} folds"
        rows.append(_row(case, f"{space}, {len(test)} films", labels, found))
    return rows


def _engine(checkpoint: str | Checkpoint) -> Engine:
    return Engine.from_checkpoint(checkpoint, compute_type="float32", num_threads=1)


def _scores(models: Mapping[str, Checkpoint], films: Mapping[str, Features]) -> Scores:
    found: Scores = {}
    for name, model in models.items():
        found |= boundary_scores(_engine(model), {name: films[name]})
    return found


def _row(
    case: str, subject: str, labels: Mapping[str, NDArray[np.uint8]], scores: Scores, threshold: float | None = None
) -> Row:
    """AP over the films, and means over them of AP and F1."""
    precisions, f1 = [], []
    for name, own in labels.items():
        others = {other: labels[other] for other in labels if other != name}
        least = tolerant_threshold(others, scores) if threshold is None else threshold
        precisions.append(average_precision(own[:-1], scores[name][:-1]))
        f1.append([f1_within(own, scores[name] >= least, tolerance) for tolerance in TOLERANCES])
    pooled = [np.concatenate([part[name][:-1] for name in labels]) for part in (labels, scores)]
    means = {f"mean F1 at {t}": round(float(m), 3) for t, m in zip(TOLERANCES, np.mean(f1, axis=0), strict=True)}
    facts = {
        "mean AP": round(float(np.mean(precisions)), 3),
        "pooled AP": round(average_precision(*pooled), 3),
        **means,
    }
    return row_of(case, subject, "AP", precisions, **facts)
