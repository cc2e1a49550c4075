"""Pictures of results: tracks, modality importance, attention, and the synchronisation of two sequences."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.files import atomic_write
from megaseg.engine.results.explanation import Explanation
from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.tasks.track import Track
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.report.text import visible

# Told apart with any colour vision (Okabe and Ito).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
HEAT = "viridis"
# Decisions on single shots in one picture: nine, as in the paper's Figure 3.
SUREST, CLOSEST = 5, 4


def plot_segmentation(result: Segmentation, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Write a .png, .svg or .pdf of every track, one above the other: scores and decisions, over segments as bands.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    figure = new_figure(path, 11, 0.4 + 2.4 * len(result.tracks))
    rows = figure.subplots(len(result.tracks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, track in zip(rows, result.tracks.values(), strict=True):
        draw_track(axes, track)
    rows[0].set_title(visible(title))
    rows[-1].set_xlabel("shot")
    save_figure(figure, path, 150)


def plot_importance(
    explanation: Explanation,
    path: str | os.PathLike[str],
    *,
    shots: Sequence[int] | None = None,
    title: str = "",
) -> None:
    """Write each modality's share in decisions as stacked bars (as the pies of the supplementary's Figures 3 and 4).

    Of a track with points: those. Of one without: the means of all boundaries and of all other shots, then the given
    ``shots``, by default the five most probable boundaries and the four shots that were the closest calls.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's, or shots that are
            not among the decisions.
    """
    bars = _bars(explanation, shots)
    heights = np.arange(len(bars)) + np.array([0.4 * bar.group for bar in bars])
    shares = np.stack([bar.shares for bar in bars])
    figure = new_figure(path, 9, 1.8 + 0.36 * heights[-1])
    axes = figure.add_subplot()
    left = np.zeros(len(bars))
    handles = []
    for m in range(len(explanation.modalities)):
        colour = COLOURS[m % len(COLOURS)]
        handles.append(axes.barh(heights, shares[:, m], left=left, color=colour, height=0.72, edgecolor="white"))
        for bar in np.flatnonzero(shares[:, m] >= 0.07).tolist():
            middle, text = left[bar] + shares[bar, m] / 2, f"{shares[bar, m]:.0%}"
            axes.text(middle, heights[bar], text, ha="center", va="center", fontsize=8, color=_ink(colour))
        left += shares[:, m]
    for height in heights[left == 0]:
        axes.text(0.01, height, "no modality speaks for it", va="center", fontsize=8, style="italic", color="#666666")
    axes.set_yticks(heights, [bar.label for bar in bars])
    axes.set_ylim(heights[-1] + 0.5, -0.5)
    _style_shares(axes)
    _legend(
        figure, handles, explanation.modalities, loc="outside lower center", frameon=False, ncols=min(6, len(handles))
    )
    figure.suptitle(visible(title) or "modality importance")
    save_figure(figure, path, 150)


def plot_attention(
    scores: Mapping[str, NDArray[np.float32]],
    path: str | os.PathLike[str],
    *,
    shot: int | None = None,
    title: str = "",
) -> None:
    """Write ``attention_scores`` as one heat map a modality, each over its largest score (Figures 6 and 7).

    ``shot`` is the middle of the window that the scores are of; None for a whole movie.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    columns = min(3, len(scores))
    lines = -(-len(scores) // columns)
    figure = new_figure(path, 1 + 4.2 * columns, 0.8 + 3.4 * lines)
    maps = []
    for number, (name, values) in enumerate(scores.items()):
        maps.append(axes := figure.add_subplot(lines, columns, number + 1))
        image = _draw_attention(axes, values, tuple(scores), shot)
        axes.set_title(visible(name))
        if number % columns == 0:
            axes.set_ylabel("shot" if shot is None else f"position around shot {shot}")
    figure.supxlabel("keys: bottleneck tokens of every modality, then own latents", fontsize=10)
    figure.colorbar(image, ax=maps, label="attention / its maximum", fraction=0.03, pad=0.02)
    figure.suptitle(visible(title) or "attention in the last fusion layer, mean over heads")
    save_figure(figure, path, 130)


def plot_synchronisation(
    matrix: NDArray[np.bool_], path: str | os.PathLike[str], *, band: float = 0.3, title: str = ""
) -> None:
    """Write the synchronisation matrix W (shots, sentences) with the edges of its band (Eq. 2), as in Figure 5.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    figure = new_figure(path, 9, 4)
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
    axes.set_title(visible(title) or f"synchronisation: {len(i):,} of {matrix.size:,} pairs")
    save_figure(figure, path, 150)


def require_picture(path: str | os.PathLike[str]) -> None:
    """Check before any work that a picture of this name can be drawn.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: a suffix that is not a picture's.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UnsupportedError("plot needs matplotlib: pip install 'megaseg[plot]'") from error
    if Path(path).suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise FeatureError(f"{path}: expected a picture ending in .png, .svg or .pdf")


def new_figure(path: str | os.PathLike[str], width: float, height: float) -> Any:
    """An empty figure (inches) for a .png, .svg or .pdf.

    Raises:
        UnsupportedError, FeatureError: as ``require_picture``.
    """
    require_picture(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_track(axes: Any, track: Track) -> None:
    """Draw a track on matplotlib axes: P(boundary) and the threshold, or one curve a point; segments as bands."""
    shots = np.arange(len(track.scores))
    for number, segment in enumerate(track.segments):
        colour = "#dbe9f6" if number % 2 else "#f6efe0"
        axes.axvspan(segment.first_shot - 0.5, segment.last_shot + 0.5, color=colour, linewidth=0)
    if track.points:
        names, handles = [point.name for point in track.points], []
        for k, point in enumerate(track.points):
            handles += axes.plot(shots, track.scores[:, k], linewidth=1)
            axes.axvline(point.shot, color="#333333", linewidth=0.6)
        axes.set_ylabel("P(turning point)")
    else:
        axes.vlines(shots, 0, track.scores, color="#5a6b7b", linewidth=0.8)
        found = track.boundaries
        names = ["boundary", "threshold"]
        handles = [
            axes.vlines(found, 0, track.scores[found], color="#c0392b", linewidth=1.2),
            axes.axhline(track.decision.threshold, color="#333333", linewidth=0.8, linestyle="--"),
        ]
        axes.set_ylabel("P(boundary)")
        axes.set_ylim(0, 1)
    axes.set_xlim(-0.5, len(shots) - 0.5)
    _legend(axes, handles, names, loc="upper right", fontsize="small", framealpha=0.9)


def _legend(owner: Any, handles: Sequence[Any], names: Sequence[str], **options: Any) -> None:
    """A legend of names as they are written: matplotlib would leave out artists whose own label begins with _."""
    owner.legend(handles, [visible(name) for name in names], **options)


def save_figure(figure: Any, path: str | os.PathLike[str], dpi: int) -> None:
    """Write a figure whose texts are no formulas, whatever $ they have; characters that no font has are boxes."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph|Matplotlib currently does not support")
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=dpi)


def _style_shares(axes: Any) -> None:
    """A share from 0 to 1 along x, and no frame around the bars."""
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("importance of the modality for the decision")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


class _Bar(NamedTuple):
    group: int
    label: str
    shares: NDArray[np.float32]


def _bars(explanation: Explanation, shots: Sequence[int] | None) -> list[_Bar]:
    result, shares = explanation.segmentation, explanation.importance
    (track,) = result.tracks.values()
    if track.points:
        if shots is not None:
            raise FeatureError(f"shots: expected none with turning points, got {list(shots)}")
        points = zip(track.points, shares, strict=True)
        return [_Bar(0, f"{visible(point.name)}\nshot {point.shot}, P {point.score:.3f}", own) for point, own in points]
    boundary = np.array([name == "boundary" for name in explanation.names])
    bars = [
        _Bar(0, f"{label}, mean of {chosen.sum():,}", shares[chosen].mean(axis=0))
        for label, chosen in (("boundaries", boundary), ("other shots", ~boundary))
        if chosen.any()
    ]
    for group, part in enumerate(_telling(result.scores) if shots is None else [shots], start=1):
        for shot in part:
            if not 0 <= shot < result.num_shots:
                raise FeatureError(f"shots: expected from 0 to {result.num_shots - 1}, got {shot}")
            label = f"shot {shot}: {visible(explanation.names[shot])}, P {result.scores[shot]:.2f}"
            bars.append(_Bar(group, label, shares[shot]))
    return bars


def _telling(scores: NDArray[np.float32]) -> tuple[list[int], list[int]]:
    """The most probable boundaries, and of the other shots the closest calls."""
    surest = np.argsort(-scores, kind="stable")[:SUREST].tolist()
    closest = np.argsort(np.abs(scores - 0.5), kind="stable").tolist()
    return sorted(surest), sorted([shot for shot in closest if shot not in surest][:CLOSEST])


def _draw_attention(axes: Any, scores: NDArray[np.float32], names: Sequence[str], shot: int | None) -> Any:
    """One heat map; columns are every modality's bottleneck tokens, then the latents. Gives the image."""
    latents, columns = scores.shape
    tokens = columns - latents
    first = 0 if shot is None else -(latents // 2)
    edges = (-tokens, latents, first + latents - 0.5, first - 0.5)
    image = axes.imshow(scores / scores.max(), cmap=HEAT, vmin=0, vmax=1, aspect="auto", extent=edges)
    axes.yaxis.get_major_locator().set_params(integer=True)
    starts = [m * tokens // len(names) - tokens for m in range(len(names))] + [0]
    for start in starts[1:]:
        axes.axvline(start, color="white", linewidth=0.8)
    middles = [(a + b) / 2 for a, b in zip(starts, [*starts[1:], latents], strict=True)]
    axes.set_xticks(
        middles, [*map(visible, names), "latents"], rotation=60, ha="right", rotation_mode="anchor", fontsize=8
    )
    axes.tick_params(axis="x", length=0)
    return image


def _ink(colour: str) -> str:
    """What can be read on a bar."""
    return "white" if colour in (COLOURS[0], COLOURS[2], COLOURS[5]) else "black"
