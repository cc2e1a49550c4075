"""Cast, rhythm, cues and the recipe that joins them, on scripts small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from megaseg.features import Block, Screenplay
from megaseg.features.screenplay.blocks import block_features
from megaseg.features.screenplay.cast import WINDOWS, ages, conversation, mentions, presence, speaker_name, turnover
from megaseg.features.screenplay.cues import cues
from megaseg.features.screenplay.rhythm import cohesion, form


def action(text: str) -> Block:
    return Block("action", "", text)


def speech(speaker: str, text: str = "Well.") -> Block:
    return Block("dialogue", speaker, text)


BLOCKS = [
    action("Anna waits by the window."),
    speech("ANNA"),
    speech("MISS PERKY (V.O.)", "Anna?"),
    action("A miss. The perky dog barks at Perky."),
    action("Carl's car stops."),
    speech("CARL"),
]


def test_presence_is_who_speaks_or_is_named_by_action() -> None:
    # Columns: ANNA, CARL, MISS PERKY.
    np.testing.assert_array_equal(
        presence(BLOCKS), np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]], bool)
    )


def test_names() -> None:
    assert speaker_name("BIANCA (CONT'D)") == speaker_name("Bianca (V.O") == "BIANCA"
    assert mentions("Boy, the boy said.", {"boy": {3}}) == {3}
    assert mentions("the boy said.", {"boy": {3}}) == set()


def test_turnover_at_a_complete_change_and_at_none() -> None:
    present = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    columns = turnover(present).reshape(4, len(WINDOWS), 4)
    np.testing.assert_allclose(columns[0, 0], [1, 1, 0, 0])  # the same member on both sides of the first gap
    np.testing.assert_allclose(columns[1, 1], [0, 0, 1, 1])  # all new, all gone
    np.testing.assert_allclose(columns[3, :, :3], 0)  # nobody after the last block


def test_ages_mirror_in_time() -> None:
    present = np.array([[1, 0], [0, 1], [0, 0], [1, 0]], bool)
    forward, backward = ages(present), ages(present[::-1])
    # Gap i of the movie is gap n - 2 - i of the movie in reverse.
    np.testing.assert_allclose(forward[:3, :5], backward[2::-1, 5:])
    # After gap 1 the first to appear (row 3) was last seen in row 0: 2 blocks before the gap.
    np.testing.assert_allclose(forward[1, 0], np.log(2) / 3, rtol=1e-6)


def test_conversation_goes_on_or_changes() -> None:
    same = conversation([speech("A"), speech("B"), speech("A"), speech("B")])
    np.testing.assert_allclose(same[1], [0, 1, 1, 1])
    changed = conversation([speech("A"), speech("B"), action("x"), speech("C"), speech("D")])
    np.testing.assert_allclose(changed[2], [0, 0, 0, 1])
    np.testing.assert_allclose(changed[4], 0)  # nobody speaks after the end


def test_lengths_are_ranks_within_the_movie() -> None:
    short = [action("one two"), action("one"), action("one two three"), speech("A", "x y")]
    long = [Block(b.kind, b.speaker, " ".join([b.text] * 9)) for b in short]
    np.testing.assert_allclose(form(short)[:, 1], form(long)[:, 1])
    assert form(short)[2, 1] > form(short)[0, 1] > form(short)[1, 1]


def test_cohesion_dips_where_the_subject_changes() -> None:
    blocks = [action("the red boat sails")] * 6 + [action("a green train leaves")] * 6
    vectors = np.repeat(np.eye(384, dtype=np.float32)[:2], 6, axis=0)
    columns = cohesion(blocks, vectors)
    assert columns.shape == (12, 16)
    inner = slice(0, 11)  # the last gap has nothing after it
    for column in (0, 1, 4, 5, 8, 9):
        assert columns[inner, column].argmin() == 5
    np.testing.assert_allclose(columns[:, 12:], 0, atol=1e-5)  # no speeches


def test_cues_tell_openings_from_continuations() -> None:
    rows = cues(
        [action("He still waits."), action("A street at night."), speech("BEN", "(softly) Goodnight."), speech("X", "")]
    )
    assert rows[0, 0] == 1  # opens with a pronoun
    assert rows[1, 1] == 1  # opens with an indefinite article
    assert rows[1, 7] > rows[0, 7]  # a place
    np.testing.assert_array_equal(rows[3], 0)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_recipe_gives_finite_features_of_any_length(count: int) -> None:
    blocks = tuple(BLOCKS[i % len(BLOCKS)] for i in range(count))
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, 384)).astype(np.float32)
    log_odds = rng.standard_normal(count).astype(np.float32)
    features = block_features(Screenplay("x", blocks, None), vectors, log_odds)
    assert {name: array.shape for name, array in features.modalities.items()} == {
        "description": (count, 384),
        "dialogue": (count, 384),
        "structure": (count, 80),
    }
    assert features.recipe == "screenplay-blocks/1"
    assert features.labels is None
    both = features.modalities["description"] + features.modalities["dialogue"]
    np.testing.assert_array_equal(both, vectors)
    np.testing.assert_array_equal(features.modalities["description"][1:2], 0 * vectors[1:2])  # row 1 is a speech


def test_a_script_without_speeches_or_without_words_is_still_a_script() -> None:
    for blocks in ([action("He waits.")] * 3, [action("")] * 3, [speech("")] * 3):
        features = block_features(
            Screenplay("x", tuple(blocks), None), np.zeros((3, 384), np.float32), np.zeros(3, np.float32)
        )
        assert np.isfinite(features.modalities["structure"]).all()
