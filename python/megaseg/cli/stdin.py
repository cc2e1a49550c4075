"""Screenplays from stdin, and what every command that takes screenplays may be told of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from megaseg.errors import FeatureError
from megaseg.features import Screenplay, parse_screenplays
from megaseg.features.screenplay.files import MOST_BYTES
from megaseg.features.screenplay.kinds import KINDS

STDIN = "-"
FromOption = Annotated[
    str | None,
    typer.Option("--from", help=f"What every input is: {', '.join(KINDS)}; default: what its suffix or content says."),
]
NameOption = Annotated[str, typer.Option("--name", help="Name of the movie that stdin (-) holds.")]


def require_kind(kind: str | None, inputs: list[str]) -> None:
    """Check what an input is said to be, and that stdin is one of them at most once.

    Raises:
        FeatureError: neither.
    """
    if kind is not None and kind not in KINDS:
        raise FeatureError(f"--from: expected one of {', '.join(KINDS)}, got {kind!r:.40}")
    if inputs.count(STDIN) > 1:
        raise FeatureError(f"{STDIN}: expected stdin once, got it {inputs.count(STDIN)} times")


def from_stdin(kind: str | None, name: str) -> Iterator[Screenplay]:
    """The screenplays that stdin holds: one called ``name``, or those of a JSONL file.

    Raises:
        FeatureError, UnsupportedError: as ``parse_screenplays``.
    """
    return parse_screenplays(sys.stdin.buffer.read(MOST_BYTES + 1), name, kind=kind)
