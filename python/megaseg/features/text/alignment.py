"""Subtitles on a film's own clock: the shift of each line by which most lines begin at a cut.

Lines of subtitles tend to begin with a shot. A file that belongs to another copy of the film is early or late by some
seconds, drifts, or jumps where one copy has more. The most probable course of shifts over the lines is found by the
Viterbi algorithm; no labels are read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megaseg.features.text.dialogue import Dialogue
from megaseg.media.subtitles import SubtitleLine

_REACH, _STEP = 12_000, 80  # ms: shifts from -12 s to 12 s
_NEAR = 90.0  # ms: spread of the starts of lines about a cut
_SHARE = 0.25  # of lines that begin at a cut
_RARE = 0.02  # a place with no cut near any shift
_MOVE, _JUMP = 2.0, 12.0  # cost, in nats, of a step to the next shift, and of any other
_FAR = 1e-3  # cost, in nats, of each ms that the first line is shifted by
_RATES = (1.0, 25 * 1001 / 24_000, 24_000 / (25 * 1001))  # of clocks: as it is, slower by PAL's speed-up, faster
_OTHER = 15.0  # cost, in nats, of a rate other than 1
_FEWEST = 50  # lines: with fewer none is shifted

Spans = NDArray[np.float64]


def aligned(dialogue: Dialogue, cuts: Spans) -> Dialogue:
    """The dialogue of a film on the clock of its ``cuts`` (cuts,), rising, in ms; lines in order of start.

    What now is before the film's start is left there, with negative times. With fewer than 50 lines nothing changes.
    """
    moved = np.rint(aligned_spans(dialogue.spans.astype(np.float64), cuts)).astype(np.int64)
    order = np.argsort(moved[:, 0], kind="stable")
    rows = zip(moved[order].tolist(), order.tolist(), strict=True)
    lines = [SubtitleLine(start, end, dialogue.lines[line].text) for (start, end), line in rows]
    return Dialogue(tuple(lines), dialogue.vectors[order])


def aligned_spans(spans: Spans, cuts: Spans) -> Spans:
    """Start and end (lines, 2) in ms of lines, given in order of start, on the clock of ``cuts``.

    Lines keep their lengths, but for the rate of their clock.
    """
    if len(spans) < _FEWEST or len(cuts) < 2:
        return spans
    found = [(*shifts(spans[:, 0] * rate, cuts), rate) for rate in _RATES]
    own, _, rate = max(found, key=lambda one: one[1] - (_OTHER if one[2] != 1 else 0.0))
    return np.asarray(spans * rate + own[:, None])


def shifts(starts: Spans, cuts: Spans) -> tuple[Spans, float]:
    """The most probable shift (lines,) of lines that begin at ``starts``, in ms, and its log-likelihood."""
    states = np.arange(-_REACH, _REACH + 1, _STEP, dtype=np.float64)
    gains = _gains(starts, cuts, states)
    before = np.zeros(gains.shape, np.int32)
    index = np.arange(len(states))
    score = gains[0] - _FAR * np.abs(states)
    for line in range(1, len(starts)):
        best = int(score.argmax())
        lower, upper = np.append(-np.inf, score[:-1]) - _MOVE, np.append(score[1:], -np.inf) - _MOVE
        ways = np.stack([score, lower, upper, np.full(len(states), score[best] - _JUMP)])
        chosen = ways.argmax(0)
        before[line] = np.choose(chosen, [index, index - 1, index + 1, best])
        score = ways[chosen, index] + gains[line]
    path = np.zeros(len(starts), np.int64)
    path[-1] = score.argmax()
    for line in range(len(starts) - 1, 0, -1):
        path[line - 1] = before[line, path[line]]
    return states[path], float(score.max())


def _gains(starts: Spans, cuts: Spans, states: Spans) -> Spans:
    """Log-likelihood (lines, shifts) of each line's start under each shift, against where cuts are as dense."""
    moved = starts[:, None] + states
    after = np.searchsorted(cuts, moved).clip(1, len(cuts) - 1)
    apart = np.minimum(np.abs(cuts[after] - moved), np.abs(cuts[after - 1] - moved))
    near = np.exp(-0.5 * np.square(apart / _NEAR))
    gains: Spans = np.log(1 - _SHARE + _SHARE * near / (near.mean(1, keepdims=True) + _RARE))
    return gains
