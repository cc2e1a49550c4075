"""``megaseg report``: the page of a result that was made earlier."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from megaseg.cli.ads import (
    AdHeadOption,
    AdLengthOption,
    AdSpacingOption,
    AdsPerHourOption,
    AdTailOption,
    ad_rules,
)
from megaseg.cli.console import progress
from megaseg.cli.delivery import read_result
from megaseg.cli.film import DetectorOption, Stages
from megaseg.cli.views import require_page, write_page
from megaseg.engine.results.segmentation import Segmentation
from megaseg.errors import FeatureError
from megaseg.features import VideoExtractor
from megaseg.media.reading import video_file
from megaseg.media.thumbnails import Thumbnails
from megaseg.media.video import Video
from megaseg.pipelines import Explained
from megaseg.report.text import clock

_APART = 5.0  # seconds from a result's end to that of its film


def report(
    result: Annotated[Path, typer.Argument(help="A result that megaseg segment wrote.", exists=True, dir_okay=False)],
    output_path: Annotated[Path, typer.Option("--output", "-o", help="The page to write, an .html file.")],
    film: Annotated[
        Path | None,
        typer.Option("--film", help="The film of the result, for pictures of its shots."),
    ] = None,
    detector: DetectorOption = "adaptive",
    title: Annotated[str | None, typer.Option(help="The film's title; default: the name of the result's file.")] = None,
    ad_spacing: AdSpacingOption = None,
    ad_head: AdHeadOption = None,
    ad_tail: AdTailOption = None,
    ads_per_hour: AdsPerHourOption = None,
    ad_length: AdLengthOption = None,
) -> None:
    """Write a result as one HTML page to look at and to edit, without running the model.

    The page needs no network. What is edited in it is saved as a result, which megaseg export and segment --keep take.
    """
    require_page("--output", output_path)
    ads = ad_rules(ad_spacing, ad_head, ad_tail, ads_per_hour, ad_length)
    found = read_result(result)
    name = title or result.stem
    pictures = None
    if film is not None:
        _require_times(found, result)
        video_file(film)
        with progress("films", 1) as bar:
            stages = Stages(bar)
            with stages.of(film.name):
                extractor = VideoExtractor(detector=detector, advance=stages.advance)
                pictures = pictures_for(found, extractor, Video(film.stem, film))
    output_path.parent.mkdir(parents=True, exist_ok=True)
    write_page(Explained(found, thumbnails=pictures), output_path, name, ads)


def pictures_for(result: Segmentation, extractor: VideoExtractor, film: Video) -> Thumbnails:
    """Thumbnails of a film at the ticks of its result, which may be of another copy of the film.

    Raises:
        FeatureError: no film that can be decoded, or one that ends elsewhere than the result.
    """
    recording = extractor.read(film).recording
    base = recording.info.time_base
    assert result.times is not None
    ends = float(recording.frame_ticks[-1] * base), result.seconds(int(result.times[-1, 1]))
    if abs(ends[0] - ends[1]) > _APART:
        raise FeatureError(f"{film.path}: expected the result's film of {clock(ends[1])}, got one of {clock(ends[0])}")
    own = recording.thumbnails
    if base == result.time_base:
        return own
    scale = Fraction(base) / Fraction(result.time_base or base)
    return replace(own, ticks=np.array([round(int(tick) * scale) for tick in own.ticks], np.int64))


def _require_times(result: Segmentation, path: Path) -> None:
    if result.times is None:
        raise FeatureError(f"--film: expected a result with times, got {path}, which has none")
