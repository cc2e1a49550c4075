"""Who is where: cast members present in each block, and how the cast turns over at each gap between blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.features.screenplay.screenplay import Block

WINDOWS = (1, 2, 4, 8, 16)  # blocks on each side of a gap
_FAR = 200  # blocks; an appearance farther away than this counts as this far
# Words of a speaker's name that name nobody on their own.
_TITLE_WORDS = """
a an the of in on at to and no off os vo pre lap cont contd voice one two three first second third
mr mrs ms miss dr sir lady lord officer captain sergeant sgt lieutenant lt doctor agent
man woman boy girl guy young old older
"""
_TITLES = frozenset(_TITLE_WORDS.split())
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")

Present = NDArray[np.bool_]


def speaker_name(raw: str) -> str:
    """The cue of a speech without its extension: ``BIANCA (V.O.)`` -> ``BIANCA``."""
    return re.sub(r"\(.*?(\)|$)", "", raw).strip(" .:-").upper()


def cast_words(blocks: Sequence[Block]) -> dict[str, set[int]]:
    """Lower-case word -> the cast members (numbered by speaker name) whose name it is part of."""
    names = sorted({speaker_name(block.speaker) for block in blocks if block.speaker} - {""})
    words: dict[str, set[int]] = {}
    for number, name in enumerate(names):
        parts = [part.lower() for part in _WORD.findall(name) if len(part) > 1]
        for part in [part for part in parts if part not in _TITLES] or parts[-1:]:
            words.setdefault(part, set()).add(number)
    return words


def mentions(text: str, words: dict[str, set[int]]) -> set[int]:
    """Cast members that a text names: words with a capital only, so that BOY or Boy counts and boy does not."""
    found: set[int] = set()
    for word in _WORD.findall(text):
        if word[0].isupper():
            base = word.lower().removesuffix("'s").removesuffix("’s")
            found |= words.get(base, set())
    return found


def presence(blocks: Sequence[Block]) -> Present:
    """(blocks, cast) True where a member speaks, or is named by an action; at least one column."""
    words = cast_words(blocks)
    names = {name: i for i, name in enumerate(sorted({speaker_name(b.speaker) for b in blocks if b.speaker} - {""}))}
    present = np.zeros((len(blocks), max(1, len(names))), bool)
    for row, block in enumerate(blocks):
        speaker = speaker_name(block.speaker)
        members = {names[speaker]} if speaker in names else mentions(block.text, words) if not block.speaker else set()
        present[row, list(members)] = True
    return present


def _shares(part: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def turnover(present: Present) -> NDArray[np.float32]:
    """(gaps = blocks, 4 per window): overlap, rarity-weighted overlap, share of newcomers, share of leavers."""
    n = len(present)
    sums = np.concatenate([np.zeros((1, present.shape[1])), np.cumsum(present, axis=0)])  # (n + 1, cast)
    weight = np.log1p(n / (1.0 + present.sum(0))).astype(np.float32)
    here = np.arange(1, n + 1)
    columns = []
    for k in WINDOWS:
        before = (sums[here] - sums[np.maximum(here - k, 0)]) > 0
        after = (sums[np.minimum(here + k, n)] - sums[here]) > 0
        both, either = (before & after).astype(np.float32), (before | after).astype(np.float32)
        b, a = before.sum(1).astype(np.float32), after.sum(1).astype(np.float32)
        columns += [
            _shares(both.sum(1), either.sum(1)),
            _shares(both @ weight, either @ weight),
            _shares(a - both.sum(1), a),
            _shares(b - both.sum(1), b),
        ]
    return np.stack(columns, 1).astype(np.float32)


def _last_seen(present: Present) -> NDArray[np.int64]:
    """(blocks, cast): latest block at or before each where the member is present, far in the past if none."""
    rows = np.where(present, np.arange(len(present))[:, None], -_FAR)
    return np.asarray(np.maximum.accumulate(rows, axis=0), np.int64)


def _gap_ages(present: Present) -> NDArray[np.float32]:
    """(gaps, 5): log ages, before the gap, of the cast that appears first after it, and the distance to that block."""
    n = len(present)
    seen = _last_seen(present)
    rows = np.flatnonzero(present.any(1))
    out = np.zeros((n, 5), np.float32)
    for gap in range(n):
        at = np.searchsorted(rows, gap + 1)
        if at == len(rows):
            out[gap] = (0, 0, 0, 1, 0)
            continue
        ages = gap + 1 - seen[gap, present[rows[at]]]
        far = np.minimum(ages, _FAR)
        out[gap] = (
            np.log(far.min()),
            np.log(far.max()),
            np.mean(ages > _FAR),
            0,
            np.log(min(rows[at] - gap, _FAR)),
        )
    return np.asarray(out / np.array([3, 3, 1, 1, 2], np.float32), np.float32)


def ages(present: Present) -> NDArray[np.float32]:
    """(gaps, 10): ages of who comes next, and, mirrored in time, absences of who was last."""
    ahead = _gap_ages(present)
    back = _gap_ages(present[::-1])[::-1]  # row j: gap after block j - 1
    return np.concatenate([ahead, np.roll(back, -1, axis=0)], 1)


def conversation(blocks: Sequence[Block]) -> NDArray[np.float32]:
    """(gaps, 4): next speech against the last: same speaker, overlap of the pairs, of circles of 4, and 1 if any."""
    speeches = [(i, speaker_name(b.speaker)) for i, b in enumerate(blocks) if b.speaker]
    rows = np.array([i for i, _ in speeches], np.int64)
    out = np.zeros((len(blocks), 4), np.float32)
    for gap in range(len(blocks)):
        at = int(np.searchsorted(rows, gap + 1))
        before = [name for _, name in speeches[max(0, at - 4) : at]]
        after = [name for _, name in speeches[at : at + 4]]
        if before and after:
            pair = len(set(before[-2:]) & set(after[:2])) / len(set(before[-2:]) | set(after[:2]))
            circle = len(set(before) & set(after)) / len(set(before) | set(after))
            out[gap] = (before[-1] == after[0], pair, circle, 1)
    return out
