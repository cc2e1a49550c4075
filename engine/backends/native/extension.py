"""The compiled extension, and what it offers on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from megaseg.errors import UnsupportedError

# The last two: weights in ten bits, rows between products in the type of the name.
COMPUTE_TYPES = ("float32", "bfloat16", "int8", "int8_float32", "int8_bfloat16")

CHECKED = "int8_checked"  # no type of one compiled model: checked.py


def extension() -> ModuleType:
    """``megaseg._C``.

    Raises:
        UnsupportedError: it is not built.
    """
    try:
        from megaseg import _C
    except ImportError as error:
        raise UnsupportedError(
            f"backend 'native' needs the compiled extension megaseg._C ({error}); build it with "
            "`pip install .`, or in a checkout `python setup.py build_ext --inplace`"
        ) from error
    return _C


def native_target(target: str = "") -> str:
    """A CPU target by name; empty takes ``MEGASEG_ISA``, else the fastest that this machine runs.

    Raises:
        UnsupportedError: a target that this machine and build do not have; lists those they have.
    """
    native = extension()
    if not target:
        return str(native.target())
    if target not in native.available_targets():
        raise UnsupportedError(
            f"target {target!r}: this machine and build offer {', '.join(native.available_targets())}"
        )
    return target


def native_compute_type(compute_type: str, target: str) -> str:
    """The compute type that ``auto`` stands for on a target: bfloat16 where its products are fast, else float32.

    int8 is never chosen by itself: it costs accuracy. Nor is int8_*: it is slower than bfloat16 on large batches.

    Raises:
        UnsupportedError: a type that the target has no products for; lists those it has.
    """
    offered = extension().compute_types(target)
    if compute_type == "auto":
        return "bfloat16" if "bfloat16" in offered else "float32"
    if compute_type == CHECKED:
        raise UnsupportedError(
            f"compute_type {CHECKED!r} runs several compiled models: load the checkpoint itself with it"
        )
    if compute_type not in offered:
        raise UnsupportedError(f"compute_type {compute_type!r}: CPU target {target!r} supports {', '.join(offered)}")
    return compute_type


def capabilities() -> dict[str, Any]:
    """What the extension offers on this machine: the target that runs, all targets, and their compute types.

    Raises:
        UnsupportedError: no extension, or a ``MEGASEG_ISA`` that this machine or build does not have.
    """
    native = extension()
    target = native.target()
    auto = native_compute_type("auto", target)
    return {
        "target": target,
        "targets": native.available_targets(),
        "compute_types": native.compute_types(target),
        "auto": auto,
        "why": _why(target, auto, native.compute_types(target)),
        "forced": os.environ.get("MEGASEG_ISA"),
        "cuda_kernels": native.cuda_architectures(),
    }


def _why(target: str, auto: str, offered: Sequence[str]) -> str:
    """Why ``auto`` stands for this compute type here."""
    if auto == "bfloat16":
        return f"target {target} multiplies bfloat16 in hardware, with fewer instructions than float32"
    narrow = "; int8 is there on request, it costs accuracy" if "int8" in offered else ""
    return f"target {target} has no bfloat16 products (AVX-512 BF16, AMX or ARM's BF16){narrow}"
