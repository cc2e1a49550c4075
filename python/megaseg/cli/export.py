"""``megaseg export``: a kept result as files of editors, players and ad servers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.ads import (
    AdHeadOption,
    AdLengthOption,
    AdSpacingOption,
    AdsPerHourOption,
    AdTailOption,
    ad_rules,
)
from megaseg.cli.console import FormatOption, named_flags
from megaseg.cli.delivery import File, formats_of, in_folder, read_result, require_not_read, to_stdout, write_files
from megaseg.errors import FeatureError
from megaseg.export import Format, Timeline, format_of
from megaseg.pipelines.sources import FEATURE_FILES, VIDEOS

KEYWORDS = ("frame_rate", "start_timecode", "offset")


def export(
    result: Annotated[Path, typer.Argument(help="A result that megaseg segment wrote.", exists=True, dir_okay=False)],
    format: FormatOption = None,
    output_path: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file of one format, a folder, or - (the default): stdout."),
    ] = None,
    frame_rate: Annotated[
        str | None,
        typer.Option(help="Frames a second: 25, 23.976, 24000/1001, 29.97df; default: the film's own."),
    ] = None,
    start_timecode: Annotated[
        str | None, typer.Option(help="Timecode of the first frame, such as 01:00:00:00; default: the film's own.")
    ] = None,
    offset: Annotated[str, typer.Option(help="Seconds to add to all times, such as 1.5 or -10.")] = "0",
    title: Annotated[str | None, typer.Option(help="The film's title; default: the name of the result's file.")] = None,
    media: Annotated[
        str | None, typer.Option(help="The film's file as editors shall find it; default: its name.")
    ] = None,
    ad_spacing: AdSpacingOption = None,
    ad_head: AdHeadOption = None,
    ad_tail: AdTailOption = None,
    ads_per_hour: AdsPerHourOption = None,
    ad_length: AdLengthOption = None,
) -> None:
    """Write a result in other formats, without running the model; megaseg formats lists them.

    Without --format the suffix of --output says which. Files are named after the result, or after --title.
    """
    stem = title or result.stem
    ads = ad_rules(ad_spacing, ad_head, ad_tail, ads_per_hour, ad_length)
    files = _files(formats_of(format), output_path, stem)
    if not isinstance(files, Format):
        _require_free(files, result)
    with named_flags(*KEYWORDS):
        timeline = Timeline.of(
            read_result(result),
            title=stem,
            frame_rate=frame_rate,
            start_timecode=start_timecode,
            offset=offset,
            media=media,
            ads=ads,
        )
        if isinstance(files, Format):
            sys.stdout.buffer.write(files.render(timeline))
            return
        write_files(timeline, files)


def _require_free(files: Sequence[File], result: Path) -> None:
    """Check that no film, no features and not the result itself are overwritten; JSON may take the result's place.

    Raises:
        FeatureError: one that would be.
    """
    for file in files:
        if file.path.suffix.lower() in (*VIDEOS, *FEATURE_FILES):
            raise FeatureError(
                f"--output: expected a {file.format.suffix} file for {file.format.name}, got {file.path}, the name "
                "of a film or of features"
            )
    require_not_read([[file for file in files if file.format.name != "json"]], result)


def _files(formats: Sequence[Format], output_path: Path | None, stem: str) -> Sequence[File] | Format:
    """The files to write, or the only format, which goes to stdout.

    Raises:
        FeatureError: no format, or several for one place.
    """
    if output_path is None or to_stdout(output_path):
        if len(formats) != 1:
            raise FeatureError(f"--output: expected a file or folder for {len(formats)} formats, got none")
        return formats[0]
    if output_path.is_dir() or len(formats) > 1 or (formats and not output_path.suffix):
        if output_path.exists() and not output_path.is_dir():
            raise FeatureError(f"--output: expected a folder for {len(formats)} formats, got the file {output_path}")
        if not formats:
            raise FeatureError(f"--format: expected at least one for the folder {output_path}, got none")
        return in_folder([stem], output_path, formats)[0]
    return [File(output_path, formats[0] if formats else format_of(output_path))]
