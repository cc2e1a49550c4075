"""``megaseg segment``: films, screenplays and features to scenes and acts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from megaseg.cli.ads import (
    AdHeadOption,
    AdLengthOption,
    AdSpacingOption,
    AdsPerHourOption,
    AdTailOption,
    ad_rules,
)
from megaseg.cli.console import (
    MODEL_KEYWORDS,
    BackendOption,
    CheckpointsOption,
    ComputeTypeOption,
    DeviceOption,
    FormatOption,
    JsonOption,
    LengthOption,
    OrderedOption,
    OutputOption,
    OverflowOption,
    ScenesOption,
    ThreadsOption,
    ThresholdOption,
    named_flags,
    print_warnings,
    progress,
    with_flags,
)
from megaseg.cli.delivery import File, Movie, formats_of, require_not_read, save, show, targets, to_stdout
from megaseg.cli.edits import KeepOption, edits_for
from megaseg.cli.film import (
    DetectorOption,
    ShotsOption,
    SpeechOption,
    Stages,
    SubtitlesOption,
    require_one_film,
)
from megaseg.cli.inputs import Failures, hints, path_of, row_of, sources
from megaseg.cli.stdin import FromOption, NameOption, require_kind
from megaseg.cli.views import PlotOption, ReportOption, SheetOption, Views
from megaseg.export.ads.rules import AdRules
from megaseg.features import VideoExtractor
from megaseg.media.video import Video
from megaseg.pipelines import Explained, Pipelines


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Films, screenplays, feature files, folders, a sample's name, or - (stdin)."),
    ],
    checkpoint: CheckpointsOption = None,
    kind: FromOption = None,
    name: NameOption = "stdin",
    detector: DetectorOption = "adaptive",
    shots: ShotsOption = None,
    subtitles: SubtitlesOption = None,
    speech: SpeechOption = None,
    threshold: ThresholdOption = None,
    min_scene_length: LengthOption = None,
    num_scenes: ScenesOption = None,
    ordered: OrderedOption = None,
    keep: KeepOption = None,
    output_path: OutputOption = None,
    format: FormatOption = None,
    report: ReportOption = None,
    contact_sheet: SheetOption = None,
    plot: PlotOption = None,
    ad_spacing: AdSpacingOption = None,
    ad_head: AdHeadOption = None,
    ad_tail: AdTailOption = None,
    ads_per_hour: AdsPerHourOption = None,
    ad_length: AdLengthOption = None,
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    overflow: OverflowOption = "error",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Find scenes, acts, or both, in films, in screenplays (Fountain, text, FDX, PDF, JSONL), or in features of movies.

    Prints a table, or with --json (or -o -) one result a line; --format writes files for editors and players into the
    folder of --output. A movie that fails does not stop the others: stdout has results only, stderr lists the failures
    at the end. Exit code 0 when every movie has its result, 1 when some have, 2 when none has.
    """
    require_kind(kind, inputs)
    formats = formats_of(format)
    ads = ad_rules(ad_spacing, ad_head, ad_tail, ads_per_hour, ad_length)
    failures = Failures()
    movies = sources(inputs, failures, kind, name)
    if not movies:
        failures.end(0)
    edits = None if keep is None else edits_for(keep, len(movies) + len(failures))
    files = targets([movie.name for movie in movies], output_path, formats=formats, failed=len(failures))
    require_not_read(files, shots, subtitles)
    views = Views(plot, report, contact_sheet).checked(len(movies) + len(failures))
    require_one_film(sum(isinstance(movie, Video) for movie in movies), shots, subtitles)
    decision: dict[str, Any] = {
        "threshold": threshold,
        "min_scene_length": min_scene_length,
        "num_scenes": num_scenes,
        "ordered": ordered,
    }
    done = 0
    with progress("segmenting", len(movies)) as bar:
        stages = Stages(bar)
        reads: dict[str, Any] = {"detector": detector, "advance": stages.advance, "num_threads": threads}
        films = VideoExtractor(shots=shots, subtitles=subtitles, speech=speech, **reads)
        model = {"device": device, "compute_type": compute_type, "backend": backend, "overflow": overflow}
        with named_flags(*MODEL_KEYWORDS):
            pipelines = Pipelines(checkpoint, extractors=[films], num_threads=threads, **model)
            pipelines.check(movies, decision)  # refused here, not by every movie
        for movie, own_files in zip(movies, files, strict=True):
            with failures.of(path_of(movie)), named_flags(*MODEL_KEYWORDS, "keep"), stages.of(movie.name):
                pipeline, opened = pipelines.opened(movie)
                with hints(pipeline, opened):
                    found = views.segment(pipeline, opened, keep=edits, **decision)
                print_warnings(map(with_flags, found.result.remarks))
                own = Movie(movie.name, movie, row_of(movie, pipeline))
                _write(found, own, own_files, views, ads)
                show(found.result, own, json or to_stdout(output_path))
                done += 1
            bar.advance(bar.task_ids[0])
    failures.end(done)


def _write(found: Explained, movie: Movie, files: Sequence[File], views: Views, ads: AdRules) -> None:
    """Write files, then views: what a format cannot say costs no view."""
    try:
        save(found.result, movie, files, ads)
    finally:
        views.write(found, movie, ads)
