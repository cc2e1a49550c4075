"""``megaseg redecide``: another decision on a result's kept scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import (
    JsonOption,
    LengthOption,
    OrderedOption,
    OutputOption,
    PlotOption,
    ScenesOption,
    ThresholdOption,
)
from megaseg.cli.delivery import deliver
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError


def redecide(
    result: Annotated[Path, typer.Argument(help="A result that megaseg segment wrote.", exists=True, dir_okay=False)],
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = None,
    output_path: OutputOption = None,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> None:
    """Decide again on a result's kept scores, without running the model."""
    try:
        kept = Segmentation.from_json(result.read_text(encoding="utf-8"))
    except (FeatureError, UnicodeDecodeError) as error:
        raise FeatureError(f"{result}: {error}") from error
    changed = kept.redecide(
        threshold=threshold, min_scene_length=min_scene_length, num_scenes=num_scenes, ordered=ordered
    )
    deliver(changed, result.stem, output_path, plot, json)
