"""Every Triton kernel compiled for sm_80, sm_90 and sm_100 without a GPU: no spills, resources within the chip's."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels" / "triton"
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}


def run(*arguments: str, interpret: str = "0") -> subprocess.CompletedProcess[str]:
    """A process of its own: this one's kernels are interpreted."""
    environment = os.environ | {"TRITON_INTERPRET": interpret}
    command = [sys.executable, "-m", "megaseg.kernels.triton.ahead_of_time", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    done = run("--json")
    assert done.stdout, done.stderr
    result: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == (0 if all(row["fits"] for row in result) else 1)
    return result


def test_every_kernel_is_compiled_for_every_architecture_and_type(rows):
    launched = {name for path in KERNELS.glob("*.py") for name in re.findall(r"^ +_(\w+)\[", path.read_text(), re.M)}
    assert {"bottleneck_attention", "window_attention", "query_attention", "banded_estep", "scene_pairs"} <= launched
    presets = [row for row in rows if row["preset"] != "ones"]
    for architecture in SHARED:
        for dtype in ("fp16", "bf16"):
            seen = {row["kernel"] for row in presets if (row["architecture"], row["dtype"]) == (architecture, dtype)}
            assert seen == launched


def test_nothing_spills_and_every_kernel_fits(rows):
    for row in rows:
        assert row["local"] == 0, row
        assert row["registers"] * 32 * row["warps"] <= 65536, row
        assert row["shared"] <= SHARED[row["architecture"]], row
        assert row["fits"], row


def test_products_run_on_the_tensor_cores_of_their_architecture(rows):
    """The act model's attention, the E-step and pairs have tiles wide enough for a warp group; windows have not."""
    expected = {80: "mma", 90: "wgmma", 100: "tcgen05"}
    for row in rows:
        if row["preset"] == "act" and row["kernel"] in {"bottleneck_attention", "banded_estep", "scene_pairs"}:
            assert row["tensor_cores"] == expected[row["architecture"]], row
        if row["preset"] == "scene" and row["kernel"].endswith("attention"):
            assert row["tensor_cores"] == "mma", row


def test_interpreted_kernels_are_refused():
    done = run(interpret="1")
    assert done.returncode == 2
    assert "TRITON_INTERPRET: expected it unset" in done.stderr


def test_configurations_are_of_the_nearest_architecture_below_and_the_nearest_key_above(tmp_path):
    from megaseg.errors import UnsupportedError
    from megaseg.kernels.triton import configurations

    rows = configurations.read()
    assert len({(row.op, row.architecture, row.key) for row in rows}) == len(rows)
    assert configurations.choice("bottleneck_attention", 90, "long.32").architecture == "sm_90"
    assert configurations.choice("bottleneck_attention", 89, "long.32").architecture == "sm_80"
    assert configurations.choice("bottleneck_attention", 120, "long.32").architecture == "sm_100"
    assert configurations.choice("bottleneck_attention", 75, "long.32").architecture == "sm_80"
    assert configurations.choice("bottleneck_attention", 90, "long.96").key == "long"
    assert configurations.choice("bottleneck_attention", 90, "elsewhere.1").key == ""
    with pytest.raises(UnsupportedError, match="configurations.json: expected a row for op nothing"):
        configurations.configuration("nothing", 90)
    copy = tmp_path / "copy.json"
    configurations.write(rows, copy)
    assert copy.read_bytes() == configurations.PATH.read_bytes()


def test_recorded_configurations_name_what_their_kernel_takes():
    from megaseg.kernels import registry
    from megaseg.kernels.triton import configurations

    launch = {"num_warps", "num_stages", "num_ctas", "maxnreg"}
    for row in configurations.read():
        assert row.implementation in {"triton", "cuda", "torch"}
        module = importlib.import_module(f"megaseg.kernels.triton.{registry._MODULES.get(row.op, row.op)}")
        computed = {"VALUES"} if row.op == "residual_layer_norm" else set()  # by the size of a row
        assert set(row.configuration) - computed <= launch | set(getattr(module, f"_{row.op}").arg_names), row


def test_a_missing_package_is_one_line() -> None:
    code = "import runpy, sys; sys.modules['torch'] = None; runpy.run_module(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, "megaseg.kernels.triton.ahead_of_time"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "compiling kernels needs torch: pip install 'megaseg[gpu]'\n"
