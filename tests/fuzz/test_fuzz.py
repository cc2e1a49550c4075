"""The fuzz contract without coverage guidance: every kept finding, and random mutations of valid files."""

from __future__ import annotations

import pytest
from fuzz.seeds import seeds
from fuzz.targets import CORPUS, TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megaseg.errors import MegasegError

IN_CHILDREN = {"video"}  # half a second for each file
mutations = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "repeat"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=6,
)


def mutate(data: bytes, steps: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, patch in steps:
        at = int(where * max(len(data) - 1, 0))
        if kind == "flip":
            data = data[:at] + patch + data[at + len(patch) :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "insert":
            data = data[:at] + patch + data[at:]
        else:
            data = data[:at] + data[at // 2 :]
    return data


@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=[pytest.mark.slow] if name in IN_CHILDREN else []) for name in sorted(TARGETS)]
)
@settings(max_examples=150, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=mutations, choice=st.integers(0, 3))
def test_mutated_files_end_in_a_result_or_a_megaseg_error(
    target: str, steps: list[tuple[str, float, bytes]], choice: int
) -> None:
    valid = seeds(target)
    TARGETS[target](mutate(valid[choice % len(valid)], steps))


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_targets_read_their_valid_seeds(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, *__: object) -> None:
        raise AssertionError("a valid seed was refused")

    monkeypatch.setattr(MegasegError, "__init__", fail)
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("finding", sorted(CORPUS.glob("*/*")), ids=lambda path: path.name)
def test_kept_findings_stay_fixed(finding: object) -> None:
    TARGETS[finding.parent.name](finding.read_bytes())  # type: ignore[attr-defined]
