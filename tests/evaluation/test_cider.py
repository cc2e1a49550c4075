"""CIDEr against sums made by hand."""

from __future__ import annotations

import math

import pytest

from megaseg.errors import FeatureError
from megaseg.evaluation.cider import cider, words_of


def test_words_are_in_lower_case_and_free_of_punctuation() -> None:
    assert words_of("A man's RED_hat, (no. 2)!") == ["a", "man's", "red", "hat", "no", "2"]
    assert words_of(" ,; ") == []


def test_unigrams_and_bigrams_of_two_items_by_hand() -> None:
    """Two items, I = 2. References: "red hat" and "red coat"; written: "red hat" and "red red hat".

    n = 1: log(2 / 2) = 0 for "red", log 2 for "hat" and "coat". Item 0: both vectors are "hat" alone: cosine 1. Item 1:
    written is "hat" alone, the reference "coat" alone: 0. Mean 1/2.
    n = 2: each bigram of the references is in one item: log 2. Item 0: 1. Item 1: written has "red red" (unseen) and
    "red hat", the reference "red coat": 0. Mean 1/2. n = 3 and 4: references have none: 0.
    """
    assert cider(["red hat", "red red hat"], [["red hat"], ["red coat"]]) == pytest.approx((1 / 2 + 1 / 2) / 4)


def test_counts_rarity_and_several_references_by_hand() -> None:
    """Three items; "a" is in two items (log 3/2), "b", "c" and "d" in one each (log 3); only n = 1 counts by hand.

    Item 0: written "a a b", references "a b" and "c". With s = log(3/2), r = log 3: the written vector is (a: 2 s, b:
    r) up to its length, the first reference (a: s, b: r), the second (c: r): the mean is half the first cosine. Items 1
    ("a" for "a") and 2 ("x" for "d"): 1 and 0. n = 2 of item 0: written "a a", "a b", each of log 3 (the first unseen),
    the first reference "a b" alone: cosine 1 / sqrt 2, halved by the second reference, which has no bigram.
    """
    s, r = math.log(3 / 2), math.log(3)
    one = (2 * s * s + r * r) / math.sqrt(4 * s * s + r * r) / math.sqrt(s * s + r * r) / 2
    two = 1 / math.sqrt(2) / 2
    expected = ((one + 1 + 0) / 3 + two / 3) / 4
    assert cider(["a a b", "a", "x"], [["a b", "c"], ["a"], ["d"]]) == pytest.approx(expected)


def test_copies_of_long_texts_score_one_and_strangers_nothing() -> None:
    texts = ["the man runs to the door", "a dog barks at two cats"]
    assert cider(texts, [[text] for text in texts]) == pytest.approx(1)
    assert cider(["", "nothing here is right"], [[text] for text in texts]) == 0


def test_one_item_has_no_rare_words() -> None:
    assert cider(["a b c d"], [["a b c d"]]) == 0


@pytest.mark.parametrize("references", [[], [["a"], ["b"]], [[]]])
def test_each_text_needs_its_references(references: list[list[str]]) -> None:
    with pytest.raises(FeatureError, match="expected a text and references for each item, got 1 and"):
        cider(["a"], references)
