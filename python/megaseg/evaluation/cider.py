"""CIDEr: how well written texts agree with people's (Vedantam et al., CVPR 2015, Eqs. 1 to 3).

Each n-gram w of a text counts h(w) times; its weight is

    g(w) = h(w) / sum_v h(v) * log(I / items in whose references w occurs)

where I is the number of items. CIDEr_n is the mean over an item's references of the cosine of both vectors g, CIDEr the
mean of CIDEr_1 to CIDEr_4, and the score of many items the mean of theirs; it lies in [0, 1]. A text shorter than n
words has no n-grams, and a cosine with it is 0: an exact copy of a text of two words scores 0.5.

Differences from published figures: words are cut by ``words_of``, not by the official tokenizer, and not stemmed; the
variant CIDEr-D clips counts, punishes other lengths and is scaled by 10. Figures are for comparison within megaseg.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from megaseg.errors import FeatureError

LONGEST = 4  # words of an n-gram

Grams = Counter[tuple[str, ...]]


def words_of(text: str) -> list[str]:
    """Words in lower case: runs of letters and digits, apostrophes inside a word kept, all else left out."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def cider(written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr of texts, one an item, against each item's references; frequencies are those of ``references``.

    With one item every n-gram is in all items, its weight is log 1, and the score is 0.

    Raises:
        FeatureError: not one text for each item, no item, or an item without references.
    """
    if not written or len(written) != len(references) or not all(references):
        counts = [len(texts) for texts in references]
        raise FeatureError(
            f"cider: expected a text and references for each item, got {len(written)} and {counts!s:.60}"
        )
    return float(np.mean([_of_length(n, written, references) for n in range(1, LONGEST + 1)]))


def _of_length(n: int, written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    known = [[_grams(text, n) for text in texts] for texts in references]
    items = Counter(gram for texts in known for gram in set().union(*texts))
    rarity = {gram: math.log(len(known) / count) for gram, count in items.items()}
    unseen = math.log(len(known))  # an n-gram that no reference has counts as in one item
    scores = [
        np.mean([_cosine(_grams(text, n), own, rarity, unseen) for own in texts])
        for text, texts in zip(written, known, strict=True)
    ]
    return float(np.mean(scores))


def _grams(text: str, n: int) -> Grams:
    words = words_of(text)
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def _cosine(a: Grams, b: Grams, rarity: Mapping[tuple[str, ...], float], unseen: float) -> float:
    """The cosine of both vectors g; the sums that counts are divided by cancel out."""
    vectors = [{gram: count * rarity.get(gram, unseen) for gram, count in own.items()} for own in (a, b)]
    norms = [math.sqrt(sum(value**2 for value in vector.values())) for vector in vectors]
    if not all(norms):
        return 0.0
    return sum(value * vectors[1].get(gram, 0.0) for gram, value in vectors[0].items()) / (norms[0] * norms[1])
