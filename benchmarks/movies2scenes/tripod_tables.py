"""Table of places of screenplays' scenes, from the runs of ``tripod``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.logged import Lines, markdown, spread

_NAMES = {
    "dialogue-means": "mean vectors of dialogue",
    "means": "mean vectors of description",
    "centred-means": "the same, less the film's mean",
    "contextualizer": "contextualizer",
    "scene-contrast-untrained": "scene encoder before training, which is a mean",
    "scene-contrast-layers": "scene encoder, its layers trained, too",
    "scene-contrast-random-start": "scene encoder from random weights",
    "scene-contrast-pairs": "scene encoder, scene pairs of films with similar synopses",
    "scene-contrast": "scene encoder, halves of scenes",
}
_COUNTS = ("p1", "p5", "p10")
_DRAWS = 2000


def places(lines: Lines) -> str:
    """Precision at 1, 5 and 10, its gain over mean vectors with 95 % of draws of films, and tagging's mean AP."""
    rows = []
    for label in ("", "supervised "):
        for method, name in _NAMES.items():
            own = [line for line in lines if line["method"] == label + method]
            if own:
                base = [line for line in lines if line["method"] == label + "means"]
                figures = [spread(_by_seed(own, count)) for count in _COUNTS]
                gains = ["-" if method == "means" else _gain(own, base, k) for k in (0, 1)]
                tagged = spread(_by_seed(own, "map")) if label else "-"
                rows.append([f"{name}, {label.strip()}" if label else name, *figures, *gains, tagged, _runs(own)])
    header = ["", "at 1", "at 5", "at 10", "gain at 1", "gain at 5", "tagging mAP", "seeds x folds"]
    return markdown(header, rows)


def _by_seed(lines: Lines, figure: str) -> list[float]:
    """A seed's figure: its mean over all queries of its folds. Seeds with fewer folds than others are left out."""
    folds = {seed: [line for line in lines if line["seed"] == seed] for seed in {line["seed"] for line in lines}}
    most = max(len(own) for own in folds.values())
    return [
        float(np.average([line[figure] for line in own], weights=[line["queries"] for line in own]))
        for _, own in sorted(folds.items())
        if len(own) == most
    ]


def _gain(lines: Lines, base: Lines, count: int) -> str:
    """Points over the base on the films of both, and where 95 % of draws of as many films lie."""
    ours, theirs = _by_film(lines, count), _by_film(base, count)
    films = sorted(set(ours) & set(theirs))
    queries = np.array([theirs[film][0] for film in films])
    gains = np.array([ours[film][1] - theirs[film][1] for film in films])
    draws = np.random.default_rng(0).integers(len(films), size=(_DRAWS, len(films)))
    drawn: NDArray[np.float64] = (gains * queries)[draws].sum(1) / queries[draws].sum(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{100 * float(gains @ queries) / queries.sum():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _by_film(lines: Lines, count: int) -> dict[str, tuple[int, float]]:
    """Queries and precision of each film, the mean over runs."""
    found: dict[str, list[Sequence[float]]] = {}
    for line in lines:
        for film, figures in line["films"].items():
            found.setdefault(film, []).append(figures)
    return {film: (int(own[0][0]), float(np.mean([run[1 + count] for run in own]))) for film, own in found.items()}


def _runs(lines: Lines) -> str:
    return f"{len({line['seed'] for line in lines})} x {len({line['fold'] for line in lines})}"
