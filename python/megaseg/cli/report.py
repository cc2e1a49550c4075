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
from megaseg.media.reading import probe
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
    name = title or result.stem.removesuffix(".edited")  # as the page saves it
    pictures = None
    if film is not None:
        require_film(film, found)
        with progress("films", 1) as bar:
            stages = Stages(bar)
            with stages.of(film.name):
                extractor = VideoExtractor(detector=detector, advance=stages.advance)
                pictures = pictures_for(found, extractor, Video(film.stem, film))
    output_path.parent.mkdir(parents=True, exist_ok=True)
    write_page(Explained(found, thumbnails=pictures), output_path, name, ads)


def require_film(path: Path, result: Segmentation) -> None:
    """Check before a film is decoded that it can be a result's.

    Raises:
        FeatureError: no film, one that ends elsewhere than the result, or a result without times.
    """
    if result.times is None:
        raise FeatureError("--film: expected a result with times, got one without")
    length, end = probe(path).duration, result.seconds(int(result.times[-1, 1]))
    if length is not None and abs(length - end) > _APART:
        raise FeatureError(f"{path}: expected the result's film of {clock(end)}, got one of {clock(length)}")


def pictures_for(result: Segmentation, extractor: VideoExtractor, film: Video) -> Thumbnails:
    """Thumbnails of a film in the ticks of its result, which may be of another copy of the film.

    Raises:
        FeatureError: no film that can be decoded.
    """
    recording = extractor.read(film).recording
    scale = Fraction(recording.info.time_base) / Fraction(result.time_base or 1)
    ticks = [round(int(tick) * scale) for tick in recording.thumbnails.ticks]
    return replace(recording.thumbnails, ticks=np.array(ticks, np.int64))
