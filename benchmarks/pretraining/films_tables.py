"""Tables of the 29 films and of Forrest Gump for docs/pretraining.md, from the lines of their logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Lines = Sequence[Mapping[str, Any]]

_FILMS = {
    ("raw", "likeness"): "likeness, scaled inputs without an encoder",
    ("none", "likeness"): "likeness, random weights",
    ("scratch", "likeness"): "likeness, trained with the encoder from random weights",
    ("pretrained", "likeness"): "likeness, pretrained",
    ("all losses", "likeness"): "likeness, pretrained with all losses",
    ("inter alone", "likeness"): "likeness, pretrained with inter alone",
    ("masked alone", "likeness"): "likeness, pretrained, masked tokens asked for alone",
    ("length 30", "likeness"): "likeness, pretrained on 30 shots",
    ("spliced", "likeness"): "likeness, pretrained with splices",
    ("none", "columns"): "columns, random weights",
    ("pretrained", "columns"): "columns, pretrained",
    ("spliced", "columns"): "columns, pretrained with splices",
}
_GUMP = {"raw": "features", "none": "embeddings, random weights", "pretrained": "embeddings, pretrained"}
_BOUNDARY = {
    ("none", "columns"): "frozen, random weights",
    ("pretrained", "columns"): "frozen, pretrained",
    ("spliced", "columns"): "frozen, pretrained with splices",
    ("none", "fine-tuned"): "trained, from random weights",
    ("pretrained", "fine-tuned"): "trained, pretrained",
}


def films_tables(logs: Lines) -> str:
    """Accuracy in ordering and next shot by method, then AP of boundaries by number of labelled films."""
    choices = [line for line in logs if line["task"] != "boundary"]
    rows = [["chance", "20.0", "16.7", ""], ["published, with sound (Argaw et al.)", "44.2", "32.5", ""]]
    for (method, head), name in _FILMS.items():
        own = [line for line in choices if (line["method"], line["head"]) == (method, head)]
        if own:
            tasks = [[line for line in own if line["task"] == task] for task in ("next-shot", "ordering")]
            rows.append([name, *map(_seeds, tasks), _runs(tasks)])
    first = _table(["head, encoder", "next shot", "ordering", "seeds x folds"], rows)
    labelled = [line for line in logs if line["task"] == "boundary"]
    counts = sorted({line["films"] for line in labelled})
    rows = []
    for (method, head), name in _BOUNDARY.items():
        own = [line for line in labelled if (line["method"], line["head"]) == (method, head)]
        if own:
            rows.append([name, *[_seeds([line for line in own if line["films"] == count]) for count in counts]])
    return first + "\n\n" + _table(["boundary, encoder", *[f"{count} films" for count in counts]], rows)


def forrest_gump_tables(logs: Lines) -> str:
    """Each task's figure by method: accuracies as means over classes, and correlations."""
    tasks = list(dict.fromkeys(line["task"] for line in logs))
    rows = [
        [name, *[_seeds([x for x in logs if (x["task"], x["method"]) == (task, method)]) for task in tasks]]
        for method, name in _GUMP.items()
    ]
    return _table(["a linear layer on", *tasks], rows)


def _seeds(lines: Lines) -> str:
    """Mean and deviation over seeds (n - 1); a seed's figure is the mean over its folds."""
    seeds = sorted({line["seed"] for line in lines})
    values = [float(np.mean([x["figure"] for x in lines if x["seed"] == seed])) * 100 for seed in seeds]
    if not values:
        return "-"
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def _runs(tasks: Sequence[Lines]) -> str:
    counts = [(len({x["seed"] for x in own}), len({x["fold"] for x in own})) for own in tasks]
    return ", ".join(dict.fromkeys(f"{seeds} x {folds}" for seeds, folds in counts))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its first column to the left and all others to the right."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ruler, *rows])
