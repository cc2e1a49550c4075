"""Targets: chosen once, forced by MEGASEG_ISA, equal to each other, and never mixed up by the linker."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comparison import normal
from support import random_checkpoint, random_features, small_config

from megaseg import _C, kernels

BUILD = Path(__file__).resolve().parents[2] / "build" / str(sys.implementation.cache_tag)


def resolved_target(isa: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MEGASEG_ISA"}
    if isa is not None:
        environment["MEGASEG_ISA"] = isa
    code = "from megaseg import _C; print(_C.target())"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_the_environment_forces_a_target(target):
    assert resolved_target(target).stdout.strip() == target


def test_the_fastest_target_is_the_default():
    assert resolved_target(None).stdout.strip() == _C.available_targets()[-1]


def test_an_unknown_target_is_an_error_that_lists_the_others():
    done = resolved_target("avx9000")
    assert done.returncode != 0
    assert "UnsupportedError: MEGASEG_ISA=avx9000" in done.stderr
    assert ", ".join(_C.available_targets()) in done.stderr


@pytest.mark.parametrize("task", ["scene", "act"])
def test_targets_agree_pairwise(task):
    config = small_config(task)
    features = list(random_features(config, 30).values())
    tensors = random_checkpoint(config).tensors
    logits = {name: _C.Plan(config, tensors, target=name).run(features) for name in _C.available_targets()}
    for a, b in itertools.combinations(logits, 2):
        assert np.abs(logits[a] - logits[b]).max() < 1e-5, (a, b)


def test_every_op_has_an_entry_per_target(target, rng):
    x, ones = normal(rng, 3, 8), np.ones(8, np.float32)
    assert kernels.linear(x, x, target=target).shape == (3, 3)
    assert kernels.layer_norm(x, ones, ones, target=target).shape == (3, 8)
    assert kernels.embed(x, x, x, ones, ones, windows=3, target=target).shape == (3, 3, 8)
    assert kernels.bottleneck_attention(x, x, x, batch=1, heads=2, bottlenecks=1, target=target).shape == (3, 8)


@pytest.mark.skipif(not shutil.which("nm"), reason="nm is not installed")
def test_target_objects_share_no_symbol():
    """An inline or template function compiled with one target's flags must never serve another's code."""
    objects = list(BUILD.glob("CMakeFiles/megaseg_*.dir/csrc/cpu/*.o"))
    if not objects:
        pytest.skip("no build folder beside this checkout")
    for path in objects:
        namespace = re.sub(r".*megaseg_(\w+)\.dir.*", r"megaseg::cpu::\1::", str(path))
        listing = subprocess.run(["nm", "--demangle", path], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            kind, name = line[17:18], line[19:]
            if kind in "TDBRWVu":  # defined and visible to other objects; W, V and u may be merged by the linker
                assert kind in "TDR", f"{path.name}: {line}"
                assert namespace in name, f"{path.name}: {line}"
