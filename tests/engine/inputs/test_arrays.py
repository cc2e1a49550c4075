"""Arrays are read whatever other threads parse meanwhile, which CPython 3.11 mixes up."""

from __future__ import annotations

import ast
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaseg.engine.inputs.arrays import map_array, read_members

ARRAYS = {"clip": np.arange(6.0).reshape(2, 3), "audio": np.arange(4)}


def mapped(folder: Path) -> None:
    np.save(folder / "a.npy", ARRAYS["clip"])
    np.testing.assert_array_equal(map_array(folder / "a.npy"), ARRAYS["clip"], strict=True)


def members(_: Path) -> None:
    file = io.BytesIO()
    np.savez(file, **ARRAYS)
    got = read_members(io.BytesIO(file.getvalue()))
    assert got.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(got[name], array, strict=True)


def failing(monkeypatch: pytest.MonkeyPatch, fails: Iterator[bool]) -> None:
    parse = ast.literal_eval

    def literal_eval(text: Any) -> Any:
        if next(fails):
            raise SystemError("AST constructor recursion depth mismatch (before=42, after=39)")
        return parse(text)

    monkeypatch.setattr(ast, "literal_eval", literal_eval)


@pytest.mark.parametrize("read", [mapped, members])
def test_a_header_that_another_thread_disturbs_is_parsed_again(
    read: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = iter([True, True, False, True, False])
    failing(monkeypatch, fails)
    read(tmp_path)
    assert list(fails) in ([], [True, False])  # the only array of a .npy, the second of an .npz


@pytest.mark.parametrize("read", [mapped, members])
def test_what_fails_every_time_is_said(
    read: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, iter([True] * 100))
    with pytest.raises(SystemError, match="depth mismatch"):
        read(tmp_path)
