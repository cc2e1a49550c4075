"""Picture of mined scene pairs: the block of shot similarities of each, as in Figure 1 of Chen et al. (2023)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from megaseg.errors import FeatureError
from megaseg.pipelines.mining import PairBlock
from megaseg.report.plots import HEAT, new_figure, save_figure
from megaseg.report.text import visible

_COLUMNS = 3
_SIZE = 3.4  # inches of a block


def plot_pair_blocks(blocks: Sequence[PairBlock], path: str | os.PathLike[str]) -> None:
    """Write a .png, .svg or .pdf of blocks, on one scale of colours: shots of one scene down, of the other across.

    Raises:
        UnsupportedError: matplotlib is not installed. FeatureError: no block, or a suffix that is not a picture's.
    """
    if not blocks:
        raise FeatureError("picture: expected at least one scene pair, got none")
    columns = min(_COLUMNS, len(blocks))
    rows = -(-len(blocks) // columns)
    figure = new_figure(path, _SIZE * columns + 0.8, _SIZE * rows)
    every = figure.subplots(rows, columns, squeeze=False)
    low = min(float(block.similarities.min()) for block in blocks)
    drawn = None
    for axes, block in zip(every.flat, blocks, strict=False):
        drawn = axes.imshow(block.similarities, vmin=low, vmax=1, cmap=HEAT)
        size = np.arange(len(block.similarities))
        axes.set_yticks(size, [str(block.first[0] + k) for k in size], fontsize=7)
        axes.set_xticks(size, [str(block.first[1] + k) for k in size], fontsize=7, rotation=90)
        axes.set_ylabel(visible(block.names[0]), fontsize=8)
        axes.set_xlabel(visible(block.names[1]), fontsize=8)
        axes.set_title(f"{float(block.similarities.mean()):.3f}", fontsize=9)
    for axes in every.flat[len(blocks) :]:
        axes.set_visible(False)
    figure.colorbar(drawn, ax=every, shrink=0.8, label="cosine of two shots")
    save_figure(figure, path, 150)
