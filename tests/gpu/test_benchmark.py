"""The GPU's benchmark on small models and the host: every part runs before the first GPU sees it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from agreement import DEVICE
from host import device
from support import small_config

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.cases import gpu
from benchmarks.device import clock, tune
from benchmarks.device.sizes import Sizes
from megaseg.kernels.triton.configurations import capability, choice

SMALL = Sizes(
    scene=small_config(hidden_size=16, num_heads=2, ffn_size=8),
    act=small_config("act", hidden_size=16, num_heads=2, ffn_size=8, max_length=6),
    windows=4,
    movies=2,
    shots=5,
    estep_movies=2,
    checked=6,
    side=32,
    megabytes=1,
)
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of everything, whatever the clock says; compiling is the peer's business."""

    measure = clock.wall_milliseconds

    def few(run, *_):
        return measure(run, 1)

    for module, name in ((clock, "milliseconds"), (clock, "kernel_milliseconds"), (tune, "kernel_milliseconds")):
        monkeypatch.setattr(module, name, few)
    monkeypatch.setattr(clock, "wall_milliseconds", few)
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)


@pytest.mark.slow
def test_every_row_of_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for types in ("TYPES", "COMPILED"):
        monkeypatch.setattr(gpu, types, ("float16",))  # the other takes the same ways
    rows = [row for part in gpu.run(SMALL, device()) for row in part]
    compiled = [row for row in rows if row.subject.startswith("torch.compile")]
    assert len(compiled) == 6  # one for each preset; again beside the second mode
    assert all(row.repeats and row.facts["error"] < 0.1 for row in compiled)
    ours = [row for row in rows if row.subject == "megaseg" and "ratio" in row.facts]
    assert {row.facts["best_peer"] for row in ours} <= {f"torch.compile {mode}" for mode in gpu.MODES}
    assert all(row.facts["error"] < 0.1 and row.facts["rate"] in ("met", "missed") for row in ours)
    estep = next(row for row in rows if row.subject == "megaseg triton")
    assert estep.facts["speed"] in ("met", "missed")


@pytest.mark.parametrize("index", range(8))
def test_candidates_are_tried_and_a_row_comes_out(index: int) -> None:
    subject = tune.subjects(SMALL, torch.device(DEVICE))[index]
    row = tune.tuned(subject, seconds=0)
    assert (row.op, row.key, row.measured) == (subject.op, subject.key, True)
    assert (
        row.configuration == choice(row.op, capability(), row.key).configuration
    )  # the time was up after the one in use
    assert row.implementation in ("triton", *subject.others)
