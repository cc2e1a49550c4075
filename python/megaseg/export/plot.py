"""Pictures of results: scores and segments, modality importance, attention, and the synchronisation of a synopsis."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.explanation import Explanation
from megaseg.engine.segmentation import Segmentation
from megaseg.errors import FeatureError, UnsupportedError

# Told apart with any colour vision (Okabe and Ito).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
HEAT = "cividis"
# Decisions of a scene model in one picture: nine, as in the paper's Figure 3.
SUREST, CLOSEST = 5, 4


def plot_segmentation(result: Segmentation, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Write a .png, .svg or .pdf of the scores, with scenes (or acts) as bands and the threshold as a line.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    figure = _figure(path, 11, 2.8)
    axes = figure.add_subplot()
    _draw(axes, result)
    axes.set_title(title)
    figure.savefig(path, dpi=150)


def plot_importance(
    explanation: Explanation,
    path: str | os.PathLike[str],
    *,
    shots: Sequence[int] | None = None,
    title: str = "",
) -> None:
    """Write each modality's share in decisions as stacked bars (as the pies of the supplementary's Figures 3 and 4).

    Act model: the turning points. Scene model: the means of all boundaries and of all other shots, then the given
    ``shots``, by default the five most probable boundaries and the four shots that were the closest calls.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's, or shots that are
            not among the decisions.
    """
    rows = _importance_rows(explanation, shots)
    figure = _figure(path, 9, 1.5 + 0.36 * len(rows))
    axes = figure.add_subplot()
    shares = np.stack([share for _, share in rows])
    left = np.zeros(len(rows))
    for m, name in enumerate(explanation.modalities):
        colour = COLOURS[m % len(COLOURS)]
        axes.barh(range(len(rows)), shares[:, m], left=left, color=colour, label=name, height=0.72, edgecolor="white")
        for row in np.flatnonzero(shares[:, m] >= 0.07).tolist():
            share = float(shares[row, m])
            middle = left[row] + share / 2
            axes.text(middle, row, f"{share:.0%}", ha="center", va="center", fontsize=8, color=_ink(colour))
        left += shares[:, m]
    for row in np.flatnonzero(left == 0).tolist():
        axes.text(0.01, row, "no modality speaks for it", va="center", fontsize=8, style="italic", color="#666666")
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("importance of the modality for the decision")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=min(6, len(explanation.modalities)), frameon=False)
    figure.suptitle(title or "modality importance")
    figure.savefig(path, dpi=150)


def plot_attention(
    scores: Mapping[str, NDArray[np.float32]],
    path: str | os.PathLike[str],
    *,
    shot: int | None = None,
    title: str = "",
) -> None:
    """Write ``attention_scores`` as one heat map a modality, each over its largest score (Figures 6 and 7).

    ``shot`` is the middle of the window that a scene model's scores are of; None for a whole movie. Colours rise with
    the square root of the score: most scores are far below the largest.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    columns = min(3, len(scores))
    lines = -(-len(scores) // columns)
    figure = _figure(path, 1 + 4.2 * columns, 0.8 + 3.4 * lines)
    from matplotlib.colors import PowerNorm

    grid = figure.subplots(lines, columns, squeeze=False)
    image = None
    for axes, (name, values) in zip(grid.flat, scores.items(), strict=False):
        image = _draw_attention(axes, values, tuple(scores), shot, PowerNorm(0.5, 0, 1))
        axes.set_title(name)
    for axes in grid.flat[len(scores) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel("shot" if shot is None else f"position around shot {shot}")
    figure.colorbar(image, ax=grid, label="attention / its maximum", fraction=0.03, pad=0.02)
    figure.suptitle(title or "attention in the last fusion layer, mean over heads")
    figure.savefig(path, dpi=130)


def plot_synchronisation(
    matrix: NDArray[np.bool_], path: str | os.PathLike[str], *, band: float = 0.3, title: str = ""
) -> None:
    """Write the synchronisation matrix W (shots, sentences) with the edges of its band (Eq. 2), as in Figure 5.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    figure = _figure(path, 9, 4)
    axes = figure.add_subplot()
    shots, sentences = matrix.shape
    across = np.array([-0.5, shots - 0.5])
    low, high = (across * sentences / shots + offset * sentences for offset in (-band, band))
    axes.fill_between(across, low, high, color="#f0efe9", linewidth=0, label=f"band, ξ = {band:g}")
    for edge in (low, high):
        axes.plot(across, edge, color=COLOURS[5], linewidth=1, linestyle="--")
    i, j = np.nonzero(matrix)
    axes.vlines(i, j - 0.42, j + 0.42, color=COLOURS[0], linewidth=max(0.6, 400 / shots), label="w = 1")
    axes.set_xlim(-0.5, shots - 0.5)
    axes.set_ylim(-0.5, sentences - 0.5)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("shot")
    axes.set_ylabel("synopsis sentence")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.set_title(title or f"synchronisation: {len(i):,} of {matrix.size:,} pairs")
    figure.savefig(path, dpi=150)


def _figure(path: str | os.PathLike[str], width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError("plot needs matplotlib: pip install 'megaseg[plot]'") from error
    if Path(path).suffix not in {".png", ".svg", ".pdf"}:
        raise FeatureError(f"{path}: expected a picture ending in .png, .svg or .pdf")
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw(axes: Any, result: Segmentation) -> None:
    shots = np.arange(result.num_shots)
    segments = result.scenes or result.acts
    for number, segment in enumerate(segments):
        colour = "#dbe9f6" if number % 2 else "#f6efe0"
        axes.axvspan(segment.first_shot - 0.5, segment.last_shot + 0.5, color=colour, linewidth=0)
    if result.task == "scene":
        axes.vlines(shots, 0, result.scores, color="#5a6b7b", linewidth=0.8)
        found = result.boundaries
        axes.vlines(found, 0, result.scores[found], color="#c0392b", linewidth=1.2, label="boundary")
        axes.axhline(result.decision.threshold, color="#333333", linewidth=0.8, linestyle="--", label="threshold")
        axes.set_ylabel("P(boundary)")
        axes.set_ylim(0, 1)
    else:
        for k, point in enumerate(result.turning_points):
            axes.plot(shots, result.scores[:, k], linewidth=1, label=point.name)
            axes.axvline(point.shot, color="#333333", linewidth=0.6)
        axes.set_ylabel("P(turning point)")
    axes.set_xlim(-0.5, result.num_shots - 0.5)
    axes.set_xlabel("shot")
    axes.legend(loc="upper right", fontsize="small", framealpha=0.9)


def _importance_rows(explanation: Explanation, shots: Sequence[int] | None) -> list[tuple[str, NDArray[np.float32]]]:
    """A label and the shares of each bar."""
    result, shares = explanation.segmentation, explanation.importance
    if result.task == "act":
        if shots is not None:
            raise FeatureError(f"shots: expected none with turning points, got {list(shots)}")
        points = zip(result.turning_points, shares, strict=True)
        return [(f"{point.name}\nshot {point.shot}, P {point.score:.3f}", share) for point, share in points]
    boundary = np.array([name == "boundary" for name in explanation.names])
    if shots is None:
        surest = np.argsort(-result.scores, kind="stable")[:SUREST].tolist()
        closest = np.argsort(np.abs(result.scores - 0.5), kind="stable").tolist()
        shots = sorted(surest) + sorted([shot for shot in closest if shot not in surest][:CLOSEST])
    outside = [shot for shot in shots if not 0 <= shot < result.num_shots]
    if outside:
        raise FeatureError(f"shots: expected from 0 to {result.num_shots - 1}, got {outside[0]}")
    means = [
        (f"{label}, mean of {chosen.sum():,}", shares[chosen].mean(axis=0))
        for label, chosen in (("boundaries", boundary), ("other shots", ~boundary))
        if chosen.any()
    ]
    return means + [
        (f"shot {shot}: {explanation.names[shot]}, P {result.scores[shot]:.2f}", shares[shot]) for shot in shots
    ]


def _draw_attention(axes: Any, scores: NDArray[np.float32], names: Sequence[str], shot: int | None, norm: Any) -> Any:
    """One heat map; columns are every modality's bottleneck tokens, then the latents. Gives the image."""
    latents, columns = scores.shape
    tokens = columns - latents
    first = 0 if shot is None else -(latents // 2)
    edges = (-tokens, latents, first + latents - 0.5, first - 0.5)
    image = axes.imshow(scores / scores.max(), cmap=HEAT, norm=norm, aspect="auto", extent=edges)
    axes.yaxis.get_major_locator().set_params(integer=True)
    starts = [m * tokens // len(names) - tokens for m in range(len(names))] + [0]
    for start in starts[1:]:
        axes.axvline(start, color="white", linewidth=0.8)
    middles = [(a + b) / 2 for a, b in zip(starts, [*starts[1:], latents], strict=True)]
    axes.set_xticks(middles, [*names, "latents"], rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.tick_params(axis="x", length=0)
    return image


def _ink(colour: str) -> str:
    """What can be read on a bar."""
    return "white" if colour in (COLOURS[0], COLOURS[2], COLOURS[5]) else "black"
