"""One real film: place, inside or outside, day or night and emotion of its scenes, by linear heads.

``python -m benchmarks.pretraining.forrest_gump FORREST_GUMP WORK``. Modalities of a shot: dialogue (the mean sentence
vector of the lines that overlap it), music (what plays, and how much of the shot), rhythm (lengths of the shot and its
neighbours); there are no pictures. The eight parts of the film are its "films": two of them are left out, an encoder
and the heads learn from the six others. Runs are lines of ``benchmarks/results/pretraining/forrest-gump.jsonl``.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megaseg import Encoder, Engine
from megaseg.engine.inputs.features import Features
from megaseg.training.recipes.pretrain.config import PretrainConfig
from megaseg.training.recipes.pretrain.run import pretrain

LOG = Path(__file__).resolve().parents[1] / "results" / "pretraining" / "forrest-gump.jsonl"
SEEDS, PARTS, LEFT_OUT = range(4), 8, 2
PENALTIES = (10.0, 100.0, 1000.0, 10000.0)
PRETRAINING: dict[str, Any] = {
    "length": 16, "hidden_size": 64, "ffn_size": 128, "num_heads": 4, "num_layers": 1, "position_std": 0.3,
    "components": {"dialogue": 32}, "asked": "all", "drop_share": 0.0, "batch_size": 16, "learning_rate": 2e-3,
    "epochs": 60, "validation_share": 0.0,
}  # fmt: skip
Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("forrest_gump", type=Path)
    parser.add_argument("work", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    film = Film(given.forrest_gump)
    done = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.is_file() else []
    LOG.parent.mkdir(parents=True, exist_ok=True)
    methods = [("raw", 0), *((method, seed) for seed in SEEDS for method in ("none", "pretrained"))]
    for method, seed in methods:
        if any(line["method"] == method and line["seed"] == seed for line in done):
            continue
        begun = time.perf_counter()
        figures, config = film.figures(method, seed, given.work)
        seconds = round(time.perf_counter() - begun, 1)
        with LOG.open("a") as log:
            for task, figure in figures.items():
                line = {"task": task, "method": method, "seed": seed, "figure": round(figure, 5), "seconds": seconds}
                print(line, flush=True)
                log.write(json.dumps(line | {"config": config}) + "\n")


class Film:
    """Shots with features, scenes with labels, and the parts of the film."""

    def __init__(self, folder: Path) -> None:
        starts = np.array([float(row["start"]) for row in _read(folder / "shots.csv")])
        parts = _read(folder / "segments.csv")
        ends = np.append(starts[1:], float(parts[-1]["end"]))
        self.shots = np.stack([starts, ends], 1)
        self.part = np.searchsorted([float(row["start"]) for row in parts], starts + 0.05, side="right") - 1
        self.rows = {
            "dialogue": _dialogue(_read(folder / "english_dialog.csv"), self.shots),
            "music": _music(_read(folder / "music.csv"), self.shots),
            "rhythm": _rhythm(self.shots),
        }
        scenes = _read(folder / "scenes.csv")
        begins = np.array([float(row["start"]) for row in scenes])
        self.scene = np.searchsorted(begins, self.shots.mean(1), side="right") - 1  # of each shot; -1 before the first
        self.numbers = np.array([k for k in range(len(scenes)) if (self.scene == k).any()])
        self.scene_part = np.array([Counter(self.part[self.scene == k].tolist()).most_common(1)[0][0]
                                    for k in self.numbers])  # fmt: skip
        self.classes = {
            "inside or outside": [scenes[k]["setting"] for k in self.numbers],
            "day or night": [scenes[k]["tod"] if scenes[k]["tod"] != "DAWN" else "" for k in self.numbers],
            "place": self._places(_read(folder / "locations.tsv")),
        }
        spans = np.stack([begins, np.append(begins[1:], ends[-1])], 1)[self.numbers]
        self.values = _emotions(_read(folder / "emotions_av_1s_events.tsv"), spans)

    def _places(self, locations: Sequence[dict[str, str]]) -> list[str]:
        """The place of most of a scene's shots; none where a place is in one fold alone, which nothing can tell."""
        begins = np.array([float(row["onset"]) for row in locations])
        own = np.searchsorted(begins, self.shots.mean(1), side="right") - 1
        places = [Counter(locations[x]["major_location"] for x in own[self.scene == k]).most_common(1)[0][0]
                  for k in self.numbers]  # fmt: skip
        folds: dict[str, set[int]] = {}
        for place, part in zip(places, self.scene_part.tolist(), strict=True):
            folds.setdefault(place, set()).add(part // LEFT_OUT)
        counts = Counter(places)
        return [place if len(folds[place]) > 1 and counts[place] >= 8 else "" for place in places]

    def figures(self, method: str, seed: int, work: Path) -> tuple[dict[str, float], dict[str, Any]]:
        """Every task's figure, and the config of the pretraining."""
        config = PRETRAINING | {"seed": seed} | ({"epochs": 0} if method == "none" else {})
        folds = range(PARTS // LEFT_OUT)
        inputs = [self._scenes(self._embedded(fold, config, work / f"{method}-{seed}-{fold}") if method != "raw"
                               else np.concatenate(list(self.rows.values()), 1)) for fold in folds]  # fmt: skip
        fold_of = self.scene_part // LEFT_OUT
        found = {task: _accuracy(inputs, np.array(labels), fold_of, self.scene_part)
                 for task, labels in self.classes.items()}  # fmt: skip
        found |= {task: _correlation(inputs, values, fold_of, self.scene_part) for task, values in self.values.items()}
        return found, {} if method == "raw" else config

    def _embedded(self, fold: int, config: dict[str, Any], folder: Path) -> Array:
        """Embeddings of all shots, part by part, by an encoder of the parts that a fold does not leave out."""
        parts = {f"part {k}": self._part(k) for k in range(PARTS)}
        train = {name: own for k, (name, own) in enumerate(parts.items()) if k // LEFT_OUT != fold}
        shutil.rmtree(folder, ignore_errors=True)
        encoder = pretrain(train, PretrainConfig(**config), folder)
        engine = Engine.from_checkpoint(encoder, backend="torch", compute_type="float32", num_threads=1)
        return np.concatenate([engine.embed(own) for own in parts.values()]).astype(np.float64)

    def _part(self, number: int) -> Features:
        return Features({name: rows[self.part == number].astype(np.float32) for name, rows in self.rows.items()})

    def _scenes(self, rows: Array) -> Array:
        """The mean of each scene's shots, scaled."""
        means = np.stack([rows[self.scene == k].mean(0) for k in self.numbers])
        return (means - means.mean(0)) / (means.std(0) + 1e-6)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def _overlap(shots: Array, begin: float, end: float) -> Array:
    return np.clip(np.minimum(shots[:, 1], end) - np.maximum(shots[:, 0], begin), 0, None)


def _dialogue(lines: Sequence[dict[str, str]], shots: Array) -> Array:
    """The mean vector (shots, 384) of the lines that overlap a shot; zeros where there are none."""
    vectors = Encoder.from_checkpoint(num_threads=1).encode([line["text"] for line in lines]).astype(np.float64)
    over = np.stack([_overlap(shots, float(x["start"]), float(x["end"])) > 0 for x in lines], 1).astype(np.float64)
    mean: Array = over @ vectors / np.maximum(over.sum(1, keepdims=True), 1)
    return mean


def _music(pieces: Sequence[dict[str, str]], shots: Array) -> Array:
    """Shares (shots, 4) of a shot with music: any, in the background, score, songs."""
    columns = np.zeros((len(shots), 4))
    length = np.maximum(shots[:, 1] - shots[:, 0], 1e-3)
    for piece in pieces:
        share = _overlap(shots, float(piece["start"]), float(piece["end"])) / length
        kinds = (True, piece["background"] == "1", piece["artist"] == "OST", piece["artist"] != "OST")
        columns += share[:, None] * np.array(kinds)
    return columns


def _rhythm(shots: Array) -> Array:
    """Log lengths (shots, 5) of a shot, its neighbours, and the mean of nine around it; lines are not counted."""
    length = np.log(np.maximum(shots[:, 1] - shots[:, 0], 0.04))
    wide = np.pad(length, 4, mode="edge")
    around = np.stack([wide[k : k + len(length)] for k in range(9)], 1)
    return np.column_stack([length, around[:, 3], around[:, 5], around.mean(1), around.std(1)])


def _emotions(events: Sequence[dict[str, str]], spans: Array) -> dict[str, Array]:
    """Mean arousal and valence of scenes, weighed by time; NaN where nobody shows any."""
    time_of = np.array([[float(x["onset"]), float(x["onset"]) + float(x["duration"])] for x in events])
    weights = np.stack([_overlap(time_of, *span) for span in spans.tolist()])
    total = weights.sum(1)
    valence = np.array([float(x["valence_positive"]) - float(x["valence_negative"]) for x in events])
    arousal = np.array([float(x["arousal"]) for x in events])
    with np.errstate(invalid="ignore"):
        return {"valence": weights @ valence / total, "arousal": weights @ arousal / total}


def _accuracy(inputs: Sequence[Array], labels: NDArray[Any], folds: NDArray[Any], parts: NDArray[Any]) -> float:
    """Mean over classes of accuracy, all held-out scenes together; scenes with an empty label are left out."""
    own = labels != ""
    names = sorted(set(labels[own].tolist()))
    targets = (labels[:, None] == np.array(names)).astype(np.float64)
    weight = 1 / targets[own].sum(0)  # classes weigh the same
    predicted = _predicted(inputs, targets, own, folds, parts, targets @ weight)
    right = np.array(names)[predicted.argmax(1)] == labels
    return float(np.mean([right[labels == name].mean() for name in names]))


def _correlation(inputs: Sequence[Array], values: Array, folds: NDArray[Any], parts: NDArray[Any]) -> float:
    """Pearson's correlation over all held-out scenes, each fold's predictions and values less their mean."""
    own = ~np.isnan(values)
    predicted = _predicted(inputs, np.nan_to_num(values)[:, None], own, folds, parts, np.ones(len(values)))[:, 0]
    a, b = predicted.copy(), np.nan_to_num(values)
    for fold in set(folds.tolist()):
        inside = own & (folds == fold)
        a[inside] -= a[inside].mean()
        b[inside] -= b[inside].mean()
    return float(np.corrcoef(a[own], b[own])[0, 1])


def _predicted(
    inputs: Sequence[Array], targets: Array, own: NDArray[Any], folds: NDArray[Any], parts: NDArray[Any], weights: Array
) -> Array:
    """Ridge regression of each fold; the penalty is the best of leaving out parts of the training scenes in turn."""
    out = np.zeros_like(targets)
    for fold, x in enumerate(inputs):
        train = own & (folds != fold)
        errors = [0.0] * len(PENALTIES)
        for part in sorted(set(parts[train].tolist())):
            inner, judged = train & (parts != part), train & (parts == part)
            for number, penalty in enumerate(PENALTIES):
                told = _ridge(x[inner], targets[inner], weights[inner], penalty, x[judged])
                errors[number] += float((weights[judged, None] * (told - targets[judged]) ** 2).sum())
        best = PENALTIES[int(np.argmin(errors))]
        out[folds == fold] = _ridge(x[train], targets[train], weights[train], best, x[folds == fold])
    return out


def _ridge(x: Array, y: Array, weights: Array, penalty: float, new: Array) -> Array:
    w = weights / weights.mean()
    mean, middle = np.average(x, axis=0, weights=w), np.average(y, axis=0, weights=w)
    left = (x - mean) * np.sqrt(w)[:, None]
    gram = left @ left.T + penalty * np.eye(len(x))  # fewer scenes than columns
    slope = left.T @ np.linalg.solve(gram, (y - middle) * np.sqrt(w)[:, None])
    told: Array = (new - mean) @ slope + middle
    return told


if __name__ == "__main__":
    main()
