"""Pictures of the committed rows: throughput over batch size, time and memory over the length of the movie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.rows import ROOT

RESULTS = ROOT / "benchmarks" / "results"
BATCHES = (32, 64, 128, 256)


def plot(folder: Path) -> None:
    """Write ``throughput.svg``, ``scaling.svg`` and ``serving.svg`` from the newest rows of each case."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "megaseg"
    rows = [row for path in sorted(RESULTS.glob("*.json")) for row in json.loads(path.read_text())["rows"]]
    folder.mkdir(parents=True, exist_ok=True)
    _throughput(rows, folder / "throughput.svg")
    _scaling(rows, folder / "scaling.svg")
    _serving(rows, folder / "serving.svg")


def _throughput(rows: list[dict[str, Any]], path: Path) -> None:
    """Peers over the batch, their fastest mode; ours picks its own chunk and is one line."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4))
    for axis, kind in zip(axes, ("float32", "bfloat16", "int8"), strict=True):
        for row in rows:
            if row["case"] != f"scene preset, throughput, {kind}" or not row["repeats"]:
                continue
            if row["subject"] == "megaseg":
                axis.axhline(row["p50"], color="black", label="megaseg")
                continue
            settings = [(*key.partition(" ")[::2], rate) for key, rate in row["facts"]["by_batch"].items()]
            points = [(int(batch), rate) for batch, mode, rate in settings if mode == row["facts"].get("mode", "")]
            axis.plot(*zip(*points, strict=True), marker="o", label=row["subject"])
        axis.set(title=kind, xlabel="windows in a batch", ylim=(0, None), xscale="log")
        axis.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        axis.minorticks_off()
        if axis.lines:
            axis.legend(fontsize=8)
    axes[0].set_ylabel("windows per second")
    _save(figure, path)


def _scaling(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4))
    for axis, task in zip(axes[:2], ("scene", "act"), strict=True):
        found = [(row["facts"], row["p50"]) for row in rows if row["case"] == f"{task} preset by length"]
        shots = [facts["shots"] for facts, _ in found]
        axis.plot(shots, [seconds * 1e3 for _, seconds in found], marker="o", color="black")
        axis.set(title=f"{task} preset", xlabel="shots", ylabel="milliseconds", xlim=(0, None), ylim=(0, None))
        memory = [facts["memory_mib_above_weights_and_features"] for facts, _ in found]
        axes[2].plot(shots, memory, marker="o", label=f"{task} preset")
    axes[2].set(title="memory", xlabel="shots", ylabel="MiB above weights and features", ylim=(0, None))
    axes[2].legend()
    _save(figure, path)


def _serving(rows: list[dict[str, Any]], path: Path) -> None:
    """The service over the rate of requests that it is offered, and live streams over their number."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(14, 3.4))
    loads = [row for row in rows if "load" in row["facts"]]
    offered = [row["facts"]["offered_per_s"] for row in loads]
    for axis, title, lines in (
        (axes[0], "requests of 64 shots a second", ("accepted_per_s", "refused_per_s")),
        (axes[1], "milliseconds, accepted", ("p50", "p99")),
        (axes[2], "MiB, service", ("rss_mib",)),
    ):
        for name in lines:
            values = [{**row, **row["facts"]} for row in loads]
            for own in values:
                own["refused_per_s"] = own["offered_per_s"] * own["refused"] / max(1, own["accepted"] + own["refused"])
            axis.plot(offered, [own[name] for own in values], marker="o", label=name.removesuffix("_per_s"))
        axis.set(title=title, xlabel="requests offered a second", xscale="log", ylim=(0, None))
        axis.legend(fontsize=8)
    for subject in ("scheduler", "service, gRPC"):
        own = [row for row in rows if row["case"].startswith("live streams") and f"{subject}, " in row["subject"]]
        counts = [int(row["subject"].rpartition(" ")[2].replace(",", "")) for row in own]
        axes[3].plot(counts, [row["facts"]["p99"] for row in own], marker="o", label=subject)
    axes[3].axhline(250, color="grey", linestyle="--")
    axes[3].set(title="ms from push to final event, p99", xlabel="live streams", ylim=(0, None))
    axes[3].legend(fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
