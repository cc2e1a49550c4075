"""Tables of docs/movies2scenes.md from the logs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.logged import DOCS, RESULTS, Lines, filled, markdown, read, spread
from benchmarks.movies2scenes.tripod_tables import places
from benchmarks.pretraining.tables import MOVIENET, boundary_table

LOGS = RESULTS / "movies2scenes"
PAGE = DOCS / "movies2scenes.md"

_TELLERS = {"means": "cosine of mean features", "scaled": "cosine of scaled mean features", "model": "movie encoder"}
_VARIANTS = {"all": "", "all, one block": ", one block", "dialogue": ", dialogue alone",
             "rhythm, speech": ", rhythm and speech alone"}  # fmt: skip
_METHODS = {
    "contextualizer": "contextualizer",
    "scene-contrast": "scene encoder",
    "scene-contrast-longer": "scene encoder, more steps",
    "scene-contrast-random": "scene encoder of random weights",
    "scene-contrast-random-longer": "scene encoder of random weights, more steps",
}


def movielens() -> str:
    """Area under the curve of held-out pairs by kind of metadata, mean and deviation over seeds."""
    logs = read(LOGS / "movielens.jsonl")
    rows = []
    for variant, name in _VARIANTS.items():
        for teller, told in _TELLERS.items():
            own = [line for line in logs if line["variant"] == variant]
            if own and not (teller != "model" and variant == "all, one block"):
                rows.append([told + name, *[_areas(own, kind, teller, part) for kind, part in _COLUMNS], _runs(own)])
    return markdown(["", *[f"{kind}, {_PARTS[part]}" for kind, part in _COLUMNS], "seeds x folds"], rows)


def _areas(lines: Lines, kind: str, teller: str, part: str) -> str:
    """Over seeds; a seed's figure is the mean over its folds."""
    own = [line for line in lines if line["kind"] == kind]
    seeds = sorted({line["seed"] for line in own})
    return spread([float(np.mean([line[teller][part] for line in own if line["seed"] == seed])) for seed in seeds])


def _runs(lines: Lines) -> str:
    return f"{len({line['seed'] for line in lines})} x {len({line['fold'] for line in lines})}"


def movienet() -> str:
    """AP of scene boundaries by number of labelled films, beside pretraining's."""
    return boundary_table([*read(MOVIENET), *read(LOGS / "movienet.jsonl")], _METHODS)


_PARTS = {"both": "both held out", "one": "one held out"}
_COLUMNS = [(kind, part) for kind in ("genre", "co-watch") for part in _PARTS]
TABLES: dict[str, Callable[[], str]] = {
    "movielens": movielens,
    "movienet": movienet,
    "tripod": lambda: places(read(LOGS / "tripod.jsonl")),
}


def page() -> str:
    """The page with its tables as the logs have them."""
    return filled(PAGE, TABLES)
