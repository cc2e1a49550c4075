"""What commands that write ad breaks share: options of the rules."""

from __future__ import annotations

from typing import Annotated

import typer

from megaseg.cli.console import named_flags
from megaseg.export.ads.rules import AdRules

FLAGS = {
    **{f"ads.{name}": f"--ad-{name}" for name in ("spacing", "head", "tail", "length")},
    "ads.per_hour": "--ads-per-hour",
}

AdSpacingOption = Annotated[
    float | None, typer.Option("--ad-spacing", min=0, help="Ad breaks: least seconds between two; default 600.")
]
AdHeadOption = Annotated[
    float | None, typer.Option("--ad-head", min=0, help="Ad breaks: seconds without any at the start; default 300.")
]
AdTailOption = Annotated[
    float | None, typer.Option("--ad-tail", min=0, help="Ad breaks: seconds without any at the end; default 300.")
]
AdsPerHourOption = Annotated[
    float | None, typer.Option("--ads-per-hour", min=0, help="Ad breaks: at most so many an hour; default 6.")
]
AdLengthOption = Annotated[
    float | None,
    typer.Option("--ad-length", min=0, help="Ad breaks: planned seconds of one; default 120, 0: not said."),
]


def ad_rules(
    spacing: float | None, head: float | None, tail: float | None, per_hour: float | None, length: float | None
) -> AdRules:
    """The rules, by default where nothing is given.

    Raises:
        FeatureError: a value that is none.
    """
    given = {"spacing": spacing, "head": head, "tail": tail, "per_hour": per_hour, "length": length}
    with named_flags(**FLAGS):
        return AdRules(**{name: value for name, value in given.items() if value is not None})
