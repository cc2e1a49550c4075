"""Metrics of act segmentation as GraphTP defines them: TA, PA and D of turning points, in percent."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.family import width_of
from megaseg.engine.tasks.act import TURNING_POINTS
from megaseg.errors import CheckpointError, FeatureError

COUNT = len(TURNING_POINTS)
# Positions of screenwriting theory (Hauge; Papalampidi et al. 2019), as shares of the movie.
THEORY = (0.10, 0.25, 0.50, 0.75, 0.945)
# Mean relative positions of the labelled sentences in TRIPOD's 84 training synopses, (sentence + 0.5) / sentences.
PRIOR = (0.1519, 0.3270, 0.5362, 0.7423, 0.8961)

Gold = Mapping[str, Sequence[Sequence[int]]]  # movie -> five lists of scenes
Peaks = Mapping[str, Sequence[int]]  # movie -> five scenes


@dataclass(frozen=True, slots=True)
class ActMetrics:
    """Percent, over ``movies`` movies, ``events`` turning points and ``labels`` gold scenes.

    ``ta`` (total agreement): gold labels inside the predicted windows; ``pa`` (partial agreement): turning points with
    at least one of their labels inside; ``d`` (distance): least |p - g| / scenes over pairs of predicted and gold
    scenes, averaged over turning points.
    """

    movies: int
    events: int
    labels: int
    ta: float
    pa: float
    d: float


def window(peak: int, scenes: int) -> range:
    """The predicted scenes: the arg-max and its neighbours, min(3, scenes) of them, shifted inward at the ends."""
    size = min(3, scenes)
    first = min(max(peak - 1, 0), scenes - size)
    return range(first, first + size)


def act_metrics(gold: Gold, peaks: Peaks, num_scenes: Mapping[str, int]) -> ActMetrics:
    """Score the arg-max scene of each turning point against its gold scenes; a label listed twice counts twice.

    Raises:
        FeatureError: no movie, a movie that lacks predictions, a turning point without labels, or a scene that the
            movie does not have; names the movie.
    """
    hits, found, labels, distances = 0, 0, 0, []
    for name, points in gold.items():
        _check(name, points, peaks, num_scenes)
        scenes = num_scenes[name]
        for own, peak in zip(points, peaks[name], strict=True):
            predicted = window(peak, scenes)
            inside = sum(scene in predicted for scene in own)
            hits, found, labels = hits + inside, found + (inside > 0), labels + len(own)
            distances.append(min(abs(p - g) for p in predicted for g in own) / scenes)
    if not distances:
        raise FeatureError("evaluation: expected at least one movie with gold turning points, got none")
    events = len(distances)
    return ActMetrics(
        len(gold), events, labels, 100 * hits / labels, 100 * found / events, 100 * float(np.mean(distances))
    )


def _check(name: str, points: Sequence[Sequence[int]], peaks: Peaks, num_scenes: Mapping[str, int]) -> None:
    if name not in peaks or name not in num_scenes:
        raise FeatureError(f"{name}: expected features of this movie, got none")
    if len(points) != len(peaks[name]):
        raise FeatureError(f"{name}: expected gold scenes of {len(peaks[name])} turning points, got {len(points)}")
    for number, own in enumerate(points, 1):
        if not own or min(own) < 0 or max(own) >= num_scenes[name]:
            raise FeatureError(
                f"{name}: turning point {number}: expected scenes from 0 to {num_scenes[name] - 1}, got {list(own)}"
            )


def at_positions(positions: Sequence[float], scenes: int) -> list[int]:
    """The scene at each share of the movie, floor(share * scenes): the prediction of a content-free baseline."""
    return [min(int(share * scenes), scenes - 1) for share in positions]


def content_free(gold: Gold, num_scenes: Mapping[str, int], positions: Sequence[float]) -> ActMetrics:
    """Metrics of the same relative positions in every movie."""
    return act_metrics(gold, {name: at_positions(positions, num_scenes[name]) for name in gold}, num_scenes)


def predicted_scenes(engine: Engine, movies: Mapping[str, Features], *, ordered: bool = False) -> dict[str, list[int]]:
    """The scene of each turning point by movie: arg-max over scenes, or the best increasing ones.

    Raises:
        FeatureError: not an act model of five turning points, or features that do not fit it; names the movie.
    """
    config = engine.config
    if config.task != "act" or width_of(config) != COUNT:
        raise FeatureError(f"evaluation: expected an act model of {COUNT} turning points, got task {config.task!r}")
    peaks = {}
    for name, movie in movies.items():
        try:
            peaks[name] = [point.shot for point in engine.segment(movie, ordered=ordered).turning_points]
        except FeatureError as error:
            raise FeatureError(f"{name}: {error}") from error
    return peaks


def read_gold(path: str | Path) -> dict[str, list[list[int]]]:
    """Gold scenes by movie from a CSV: a name, then a column a turning point, scenes as indices from 0 with spaces.

    Raises:
        FeatureError: names the file, the line and the column that are not as expected.
    """
    path = Path(path)
    gold: dict[str, list[list[int]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if len(header) != COUNT + 1 or header[0].strip().lower() != "name":
                raise FeatureError(f"{path}:1: expected the columns name and tp 1 to {COUNT}, got {header}")
            for row in rows:
                if not row:
                    continue
                where = f"{path}:{rows.line_num}"
                if len(row) != COUNT + 1 or row[0] in gold:
                    problem = f"{row[0]} a second time" if row[0] in gold else f"{len(row)} columns"
                    raise FeatureError(f"{where}: expected one row of {COUNT + 1} columns a movie, got {problem}")
                gold[row[0]] = [
                    _scenes(cell, f"{where}: {title}") for title, cell in zip(header[1:], row[1:], strict=True)
                ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FeatureError(f"{path}: expected a readable CSV of gold scenes, got: {error}") from error
    if not gold:
        raise FeatureError(f"{path}: expected gold scenes of at least one movie, got none")
    return gold


def _scenes(cell: str, where: str) -> list[int]:
    try:
        scenes = [int(part) for part in cell.split()]
    except ValueError:
        scenes = []
    if not scenes or min(scenes) < 0:
        raise FeatureError(f"{where}: expected scene indices from 0 with spaces between them, got {cell!r}")
    return scenes


def run_checkpoints(path: str | Path) -> list[Path]:
    """The act checkpoints of a training run's folder, one a seed.

    Raises:
        CheckpointError: the folder holds none.
    """
    found = sorted(Path(path).glob("seed-*/act.safetensors"))
    if not found:
        raise CheckpointError(f"{path}: expected a folder of megaseg train act, with seed-*/act.safetensors in it")
    return found
