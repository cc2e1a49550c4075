"""Small word classes that open and close scenes: what a sentence vector blurs and a script's layout does not change."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megaseg.features.screenplay.cast import cast_words
from megaseg.features.screenplay.screenplay import Block

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
# Classes of a block's first word: pronouns and adverbs go on, articles and places open.
_FIRST = {
    "pronoun": "he she they it his her their him them its we you i this that these those",
    "indefinite": "a an another some several two three four dozens hundreds one",
    "definite": "the",
    "place": "in inside outside at on under across through along above below behind near beyond over down up into",
    "time": "later now then moments minutes hours day night morning evening dawn dusk sunrise sunset "
    "midnight meanwhile",
    "sequence": "suddenly finally slowly quickly again still beat pause silence as after before when while and but",
    "camera": "close angle camera wide shot view pov insert cut back series montage tight high low superimpose title",
}
# Classes anywhere in a block, as the share of its words that belong.
_ANY = {
    "place": "room house street car office door window building hall hallway kitchen bedroom bathroom bar restaurant "
    "school hospital apartment hotel road city town field woods beach station airport church garage corridor lobby "
    "yard roof desert river ocean sky highway parking store shop court jail cell cabin plane train bus boat bridge "
    "club",
    "time": "night day morning evening afternoon dawn dusk sunset sunrise later midnight noon moon sun lights dark",
    "arrive": "enters enter arrives arrive comes pulls parked parks approaches waits waiting sits seated sitting "
    "stands lies lying sleeping asleep busy crowded empty full drives driving walks walking rides",
    "leave": "exits exit leaves leave goes gone away off drives runs disappears closes shuts slams fades ends "
    "watches stares smiles silence hangs vanishes out",
    "farewell": "bye goodbye goodnight night tomorrow tonight later go going leave let's come see soon",
    "continue": "still continues continue again keeps also other same both another",
}
_FIRST_SETS = [frozenset(words.split()) for words in _FIRST.values()]
_ANY_SETS = [frozenset(words.split()) for words in _ANY.values()]
WIDTH = len(_FIRST_SETS) + len(_ANY_SETS) + 2


def cues(blocks: Sequence[Block]) -> NDArray[np.float32]:
    """(blocks, 15): class of the first word, weight of each class in the block, first word a name, weight of names."""
    names = cast_words(blocks)
    out = np.zeros((len(blocks), WIDTH), np.float32)
    for row, block in enumerate(blocks):
        raw = _WORD.findall(re.sub(r"^\(.*?\)\s*", "", block.text))
        words = [word.lower().replace("’", "'") for word in raw]
        if not words:
            continue
        called = [
            word[0].isupper() and lower.removesuffix("'s") in names for word, lower in zip(raw, words, strict=True)
        ]
        first = [words[0] in known for known in _FIRST_SETS]
        shares = [4 * sum(word in known for word in words) / len(words) ** 0.5 for known in _ANY_SETS]
        out[row] = [*first, *shares, called[0], 2 * sum(called) / len(words) ** 0.5]
    return out
