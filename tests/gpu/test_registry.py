"""Which implementation the registry names: the one that was measured to be fastest, if this build has it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from agreement import DEVICE

from megaseg.kernels import cuda
from megaseg.kernels.registry import device_implementation
from megaseg.kernels.triton import bottleneck_attention, configurations, linear


def measured(monkeypatch: pytest.MonkeyPatch, implementation: str) -> None:
    """As if it had been, for every op and class of shapes."""

    def choice(op: str, capability: int, key: str = "") -> configurations.Row:
        return configurations.Row(op, "sm_90", key, implementation, True, {})

    monkeypatch.setattr(configurations, "choice", choice)


@pytest.mark.parametrize("there", [True, False])
def test_cuda_kernels_run_where_the_build_offers_them(monkeypatch: pytest.MonkeyPatch, there) -> None:
    measured(monkeypatch, "cuda")
    asked = []

    def offers(*arguments) -> bool:
        asked.append(arguments)
        return there

    monkeypatch.setattr(cuda, "offers", offers)
    x = torch.ones(2, 64, dtype=torch.float16, device=DEVICE)
    run = device_implementation("bottleneck_attention", x, "long.32", 32)
    assert asked[0][:3] == ("bottleneck_attention", "float16", 32)
    assert run is (cuda if there else bottleneck_attention).bottleneck_attention


def test_products_are_torchs_or_tritons(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(2, 64, dtype=torch.float16, device=DEVICE)
    measured(monkeypatch, "torch")
    assert device_implementation("linear", x, "", 64) is linear.torch_linear
    measured(monkeypatch, "triton")
    assert device_implementation("linear", x, "", 64) is linear.linear


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("", "UnsupportedError: banded_estep: expected tensors of a CUDA device, got cpu"),
        ("sys.modules['triton'] = None", "UnsupportedError: banded_estep on a GPU needs the extra gpu: pip install"),
    ],
)
def test_tensors_of_the_host_and_a_missing_triton_are_errors(before: str, message: str) -> None:
    """In a process of its own: this one's kernels may be interpreted."""
    code = f"import sys; {before}\nimport torch; from megaseg.kernels import banded_estep\n"
    code += "banded_estep(torch.ones(3, 2), torch.ones(3, 2), threshold=0.5)"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert message in done.stderr
