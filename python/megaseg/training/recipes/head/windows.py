"""Sequences of films for an encoder: windows as the engine cuts them, drawn windows, runs of neighbouring shots."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megaseg.engine.graph.sequences import nearest, strided
from megaseg.errors import FeatureError
from megaseg.training.recipes.head.films import Films
from megaseg.training.recipes.head.protocol import Drawing, Examples

Windows = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows (w, length), -1 behind the end, and their marks


def film_windows(begin: int, end: int, length: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Windows of the rows [begin, end) as the engine cuts them: rows (w, length), -1 behind the end, and each's own."""
    count = end - begin
    starts = strided(count, length, step)
    inside = starts[:, None] + np.arange(length)
    real = inside < count
    owner = nearest(count, length, starts)
    own = real & (owner[inside.clip(0, count - 1)] == np.arange(len(starts))[:, None])
    return np.where(real, begin + inside, -1), own


def drawn_windows(begin: int, end: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Windows of the rows [begin, end) one after the other from a random phase: (w, length), -1 behind the end.

    The first window, too, begins at a row of the film.
    """
    phase = int(rng.integers(length)) if end - begin > length else 0
    starts = np.arange(begin + phase, end, length)
    if phase:
        starts = np.append(begin, starts)
    rows = starts[:, None] + np.arange(length)
    return np.where(rows < end, rows, -1)


def all_shots(films: Films, drawing: Drawing, targets: Tensor) -> Examples:
    """Windows of all films, one sequence an example, with each row's ``targets`` (all shots, ...).

    As the engine cuts them, every shot marked once; for a trained encoder from a random phase, every row marked.
    """
    spans = [films.span(film) for film in range(len(films.names))]
    if drawing.random:
        length = min(drawing.config.length or drawing.length, drawing.length)
        rows = np.concatenate([drawn_windows(*span, length, drawing.rng) for span in spans])
        own = rows >= 0
    else:
        windows = [film_windows(*span, drawing.length, drawing.step) for span in spans]
        rows, own = (np.concatenate(part) for part in zip(*windows, strict=True))
    index = torch.from_numpy(rows)
    return Examples(index[:, None], torch.from_numpy(own).long()[:, None], targets[index.clamp_min(0)])


def marked_shots(embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
    """Embeddings (shots, E) and targets (shots, ...) of the marked rows of ``all_shots``, in their order."""
    own = examples.marks[:, 0] > 0
    return embedded[:, 0][own], examples.targets[:, : own.shape[1]][own]


def whole_films(films: Films, drawing: Drawing, targets: Tensor) -> Examples:
    """Each film as one example of all its windows, every shot marked once, with its target (films, ...)."""
    windows = [film_windows(*films.span(film), drawing.length, drawing.step) for film in range(len(films.names))]
    rows, marks = (
        np.full((len(windows), max(len(own[0]) for own in windows), drawing.length), fill) for fill in (-1, 0)
    )
    for film, (inside, own) in enumerate(windows):
        rows[film, : len(inside)], marks[film, : len(own)] = inside, own
    return Examples(torch.from_numpy(rows), torch.from_numpy(marks), targets)


def scene_windows(films: Films, film: int, span: tuple[int, int], drawing: Drawing) -> Windows:
    """Windows of a film's scene from shot to shot, (w, length), and 1 for the rows whose mean the scene is, else 0.

    As ``megaseg.pipelines.scenes`` has it: an encoder of centred windows reads the scene alone, and gives its complete
    windows, or the row in its middle; others read the film.
    """
    begin, end = films.span(film)
    first, last = begin + span[0], begin + span[1] + 1
    if drawing.window == 1:
        rows, own = film_windows(begin, end, drawing.length, drawing.step)
        marks = own & (rows >= first) & (rows < last)
        used = marks.any(1)
        return rows[used], marks[used].astype(np.int64)
    rows, own = film_windows(first, last, drawing.length, drawing.step)
    half = min(drawing.window, last - first) // 2
    low, high = first + half, (last - half if last - first >= drawing.window else first + half + 1)
    marks = own & (rows >= low) & (rows < high)
    return rows, marks.astype(np.int64)


def means_of_films(embedded: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
    """The mean embedding (films, E) of the marked rows of ``whole_films``, and the targets."""
    weights = examples.marks.flatten(1).float()
    sums = torch.einsum("er,erc->ec", weights, embedded.flatten(1, 2))
    return sums / weights.sum(1, keepdim=True), examples.targets


def neighbours(films: Films, count: int, drawing: Drawing) -> NDArray[np.int64]:
    """Runs of ``count`` neighbouring shots of one film (runs, count): all of them, or in training those drawn.

    Raises:
        FeatureError: no film has so many shots.
    """
    spans = [films.span(film) for film in range(len(films.names))]
    starts = np.concatenate([np.arange(begin, max(begin, end - count + 1)) for begin, end in spans])
    if not len(starts):
        raise FeatureError(f"films: expected at least one of {count} shots or more, got none")
    most = drawing.config.examples
    if drawing.training and 0 < most < len(starts):
        starts = np.sort(drawing.rng.choice(starts, most, replace=False))
    return starts[:, None] + np.arange(count)
