"""A few trials of each part of the stress, and that its controls are found; ``make stress`` runs many."""

from __future__ import annotations

import pytest
from stress.run import PARTS, missed_controls, run_trial


@pytest.mark.parametrize("part", PARTS)
def test_a_few_trials_find_nothing(part: str) -> None:
    for number in range(3):
        ratio = run_trial(part, 0, number)
        assert ratio is None or ratio <= 2


@pytest.mark.parametrize("part", PARTS)
def test_a_broken_subject_is_found(part: str) -> None:
    assert missed_controls(part, trials=2) == []
