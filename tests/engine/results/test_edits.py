"""A person's edits on the shots of another run: by time where both have times, else by shot."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from megaseg import Segmentation
from megaseg.engine.results.edits import Shots, edits_on, locked_seconds, with_edits
from megaseg.engine.results.schema import Decision
from megaseg.errors import FeatureError

BASE = Fraction(1, 10)


def movie(ends: list[int] | int, names: dict[str, dict[int, str]] | None = None, **decision: Any) -> Segmentation:
    """A movie of so many shots, or of shots with these ends in tenths of a second."""
    count = ends if isinstance(ends, int) else len(ends)
    times = None if isinstance(ends, int) else np.stack([[0, *ends[:-1]], ends], axis=1).astype(np.int64)
    scores = np.full(count, 0.1, np.float32)
    own = Segmentation.from_scores("scene", scores, Decision(**decision), times, None if times is None else BASE)
    return Segmentation(own.tracks, own.times, own.time_base, names=names or {})


def shots(result: Segmentation) -> Shots:
    return Shots(result.num_shots, result.times, result.time_base)


def test_edits_go_to_the_nearest_end_in_time() -> None:
    edited = movie([20, 50, 90, 140, 200], locked=[1], barred=[0, 2, 3])
    assert locked_seconds(edited) == (Fraction(5),)
    same = edits_on(edited, shots(movie([20, 50, 90, 140, 200])))
    assert same == {"locked": (1,), "barred": (0, 2, 3)}
    # 9 s has an end within a second, 14 s has none, and what is nearest to 2 s is locked.
    other = edits_on(edited, Shots(5, np.array([[0, 35], [35, 45], [45, 99], [99, 125], [125, 200]]), BASE))
    assert other == {"locked": (1,), "barred": (2,)}


def test_edits_keep_their_shots_where_there_are_no_times() -> None:
    edited = movie(5, locked=[3], barred=[1])
    assert edits_on(edited, Shots(5)) == {"locked": (3,), "barred": (1,)}
    assert edits_on(edited, shots(movie([1, 2, 3, 4, 5]))) == {"locked": (3,), "barred": (1,)}
    assert locked_seconds(edited) == ()
    with pytest.raises(FeatureError, match="keep: expected an edited result of the same 6 shots.*got one of 5"):
        edits_on(edited, Shots(6))
    assert edits_on(movie(5), Shots(6)) == {}  # nothing was edited


def test_no_edit_ends_a_scene_with_the_last_shot() -> None:
    assert edits_on(movie([20, 50, 90], locked=[1], barred=[0]), shots(movie([15, 60]))) == {
        "locked": (),
        "barred": (0,),
    }


def test_names_move_with_their_boundaries_and_what_is_lost_is_said() -> None:
    edited = movie([20, 50, 90, 140], {"scenes": {0: "Quay", 2: "Ship", 3: "Storm"}}, locked=[1, 2])
    found = with_edits(movie([20, 30, 50, 140]), edited)
    assert found.names == {"scenes": {0: "Quay", 3: "Ship"}}
    assert found.remarks == (
        "keep: the boundary locked after shot 2 is 4.0 s away, at shot 2",
        "keep: 'Storm' has no place in scenes now",
    )
    shorter = with_edits(movie([20, 30, 45]), edited)  # whose end is near that of shot 1, before that of shot 2
    assert [remark for remark in shorter.remarks if "locked" in remark] == [
        f"keep: the boundary locked after shot {shot} has no place before the movie's end now" for shot in (1, 2)
    ]
    plain = movie([20, 50])
    assert with_edits(plain, movie(9)) is plain


def test_edits_are_a_collection_of_shots_that_can_be_read_again() -> None:
    film = movie(5)
    assert film.redecide(locked=range(2), barred={3}).boundaries.tolist()[:2] == [0, 1]
    with pytest.raises(FeatureError, match="locked: expected numbers of shots from 0 on, got <generator"):
        film.redecide(locked=(shot for shot in (1, 2)))
