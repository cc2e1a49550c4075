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

from megaseg import _C, kernels

BUILD = Path(__file__).resolve().parents[2] / "build" / str(sys.implementation.cache_tag)
CPU = Path("/proc/cpuinfo")


def resolved_target(isa: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MEGASEG_ISA"}
    if isa is not None:
        environment["MEGASEG_ISA"] = isa
    code = "from megaseg import _C; print(_C.target())"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_the_environment_forces_a_target(target):
    assert resolved_target(target).stdout.strip() == target


def test_the_fastest_target_is_the_default():
    *others, last = _C.available_targets()
    slow = last == "avx512_bf16" and "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    assert resolved_target(None).stdout.strip() == (others[-1] if slow else last)


@pytest.mark.skipif(not CPU.is_file() or "\nflags" not in CPU.read_text(), reason="the kernel tells no flags of x86")
def test_targets_are_those_of_the_flags_that_the_kernel_tells():
    flags = set(CPU.read_text().split("\nflags", 1)[1].split("\n", 1)[0].split())
    needs = {
        "avx2": {"avx2", "fma"},
        "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
        "avx512_vnni": {"avx512_vnni"},
        "avx512_bf16": {"avx512_bf16"},
    }
    told = []
    for target, own in needs.items():
        if not own <= flags:
            break
        told.append(target)
    assert [name for name in _C.available_targets() if name in needs] == told


def test_an_unknown_target_is_an_error_that_lists_the_others():
    done = resolved_target("avx9000")
    assert done.returncode != 0
    assert "UnsupportedError: MEGASEG_ISA=avx9000" in done.stderr
    assert ", ".join(_C.available_targets()) in done.stderr


def test_every_op_has_an_entry_per_target(target, rng):
    x, ones = normal(rng, 3, 8), np.ones(8, np.float32)
    index, begin = np.arange(3, dtype=np.int32), np.array([0, 2], np.int32)
    wide = normal(rng, 3, 24)
    assert kernels.linear(x, x, target=target).shape == (3, 3)
    assert kernels.cast(x, "float32", target=target).shape == (3, 8)
    assert kernels.layer_norm(x, ones, ones, target=target).shape == (3, 8)
    assert kernels.embed(x, index, index, index, x, x, ones, ones, target=target).shape == (3, 8)
    assert kernels.bottleneck_attention(x, x, x, begin, heads=2, bottlenecks=1, target=target).shape == (3, 8)
    row, sigma = np.zeros((1, 3), np.int32), np.ones((1, 3), np.float32)
    assert kernels.window_attention(wide, row, wide, wide[0], wide, sigma, heads=2, target=target).shape == (6, 8)
    assert kernels.query_attention(x[None], x[None], x[None], scale=1.0, target=target).shape == (1, 3, 8)
    assert kernels.banded_estep(x, x, threshold=0.5, target=target).shape == (3, 3)
    assert len(kernels.scene_pairs([x], [x], window=1, share=1, target=target)[0]) == 3


def test_types_grow_with_the_target():
    """float32 everywhere, also with weights in ten bits; a target has what the slower ones have."""
    types = [set(_C.compute_types(target)) for target in _C.available_targets()]
    assert types[0] == {"float32", "int8_float32"}
    assert all(a <= b for a, b in itertools.pairwise(types))


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
