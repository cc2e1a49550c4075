"""Tables of docs/pretraining.md from the logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.logged import DOCS, RESULTS, Lines, filled, markdown, read, spread
from benchmarks.pretraining.films_tables import films_tables, forrest_gump_tables

LOGS = RESULTS / "pretraining"
PAGE = DOCS / "pretraining.md"
MOVIENET = LOGS / "movienet.jsonl"


def movienet() -> str:
    """AP on the validation films by number of labelled films, of each method, and MEGA's of all films."""
    return boundary_table(read(MOVIENET), _METHODS)


def boundary_table(logs: Lines, methods: Mapping[str, str]) -> str:
    """AP on MovieNet's validation films by number of labelled films; runs of one method differ by seed.

    Args:
        logs: of ``benchmarks.pretraining.movienet``; a last row has those of MEGA.
        methods: and what they are called.
    """
    lines = [line for line in logs if line["method"] in methods]
    counts = sorted({line["movies"] for line in lines})
    kinds = list(dict.fromkeys((line["method"], line["mode"]) for line in lines))
    kinds.sort(key=lambda kind: (list(methods).index(kind[0]), _MODES.index(kind[1])))
    rows = [
        [f"{methods[method]}, {mode}"]
        + [
            spread([line["ap"] for line in lines if (line["method"], line["mode"], line["movies"]) == (*kind, count)])
            for count in counts
        ]
        for kind in kinds
        for method, mode in [kind]
    ]
    every = [line["ap"] for line in logs if line["method"] == "mega"]
    rows.append(["MEGA", *["-"] * (len(counts) - 1), spread(every)])
    return markdown(["scene head", *[f"{count} films" for count in counts]], rows)


_METHODS = {
    "contextualizer": "contextualizer",
    "contextualizer-large": "contextualizer of 3 layers of 128",
    "contextualizer-cosine": "contextualizer by cosine contrast",
    "contextualizer-random": "contextualizer of random weights",
    "long_range": "long-range",
}
_MODES = ("scratch", "frozen", "fine-tuned")
TABLES: dict[str, Callable[[], str]] = {
    "movienet": movienet,
    "films": lambda: films_tables(read(LOGS / "films.jsonl")),
    "forrest-gump": lambda: forrest_gump_tables(read(LOGS / "forrest-gump.jsonl")),
}


def page() -> str:
    """The page with its tables as the logs have them."""
    return filled(PAGE, TABLES)
