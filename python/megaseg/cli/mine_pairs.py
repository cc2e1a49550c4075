"""``megaseg mine-pairs``: which scenes two similar movies share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from megaseg.cli.console import (
    BackendOption,
    ComputeTypeOption,
    DeviceOption,
    JsonOption,
    ThreadsOption,
    console,
    named_flags,
    print_json,
    progress,
    require_writable,
)
from megaseg.cli.train_movie_similarity import KindHelp, MetadataHelp, PartialHelp, ShareHelp
from megaseg.engine.engine import Engine
from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError
from megaseg.evaluation.split import feature_files
from megaseg.pipelines.embedding import encoder_sha256
from megaseg.pipelines.mining import SHARE, WINDOW, best_blocks, long_enough, mine, similar_movies
from megaseg.report.plots import require_picture
from megaseg.report.scene_pair_blocks import plot_pair_blocks
from megaseg.training.recipes.movie_similarity.metadata.registry import read_pairs

_BLOCKS = 6  # of a picture


def mine_pairs(
    folder: Annotated[Path, typer.Argument(help="Folder of feature files, one a movie.")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", "-c", help="Run of train movie-similarity, or a model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Scene pairs to write (.npz).")],
    metadata: Annotated[
        Path | None, typer.Option(help=f"Movies that are similar by metadata, not by the encoder. {MetadataHelp}")
    ] = None,
    kind: Annotated[str | None, typer.Option(help=f"With --metadata. {KindHelp}", show_default="co-watch")] = None,
    similar_share: Annotated[
        float | None, typer.Option(help=f"With --metadata. {ShareHelp}", show_default="0.1")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help=f"With --metadata. {PartialHelp}")] = False,
    neighbours: Annotated[
        int | None,
        typer.Option(
            help="Without --metadata. Of each movie, how many of the most similar others.", min=1, show_default="8"
        ),
    ] = None,
    least: Annotated[
        float | None,
        typer.Option(help="Without --metadata. Least P(similar) of two movies.", min=0, max=1, show_default="0"),
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the windows of two movies that may be pairs.")] = SHARE,
    limit: Annotated[int | None, typer.Option(help="Most scene pairs of two movies; default: all.", min=1)] = None,
    plot: Annotated[
        Path | None, typer.Option(help=f"Draw the {_BLOCKS} best pairs' similarities of shots (.png, .svg, .pdf).")
    ] = None,
    device: DeviceOption = "auto",
    compute_type: ComputeTypeOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Find the scenes that similar movies share: windows of nine shots of high mean similarity, none overlapping.

    Movies are similar if the encoder says so, or by metadata with any encoder of shots. Movies of fewer than nine shots
    are left out.
    """
    _require_outputs(folder, output, plot)
    of_metadata = {"--kind": kind, "--similar-share": similar_share, "--partial": partial or None}
    _require_unset("--metadata with it", of_metadata if metadata is None else {})
    _require_unset("no --metadata", {"--neighbours": neighbours, "--least": least} if metadata is not None else {})
    engine = Engine.from_checkpoint(
        checkpoint, device=device, compute_type=compute_type, backend=backend, num_threads=threads
    )
    movies, short = long_enough(feature_files(folder))
    if short:
        console.print(f"{len(short)} movies have fewer than {WINDOW} shots and are left out: {', '.join(short[:3])}")
    if metadata is None:
        pairs = _by_encoder(folder, movies, engine, neighbours or 8, least or 0.0)
    else:
        share_of_pairs = 0.1 if similar_share is None else similar_share
        pairs = _by_metadata(movies, metadata, kind or "co-watch", share_of_pairs, partial)
    with progress("Mining (pairs of movies)", len(pairs)) as bar, named_flags("share", "limit", embed="--checkpoint"):
        mined = mine(
            movies, engine, pairs, encoder_sha256(checkpoint), share=share, limit=limit, num_threads=threads,
            advance=lambda count: bar.advance(bar.task_ids[0], count),
        )  # fmt: skip
    mined.save(output)
    if plot is not None:
        plot_pair_blocks(best_blocks(movies, engine, mined, _BLOCKS), plot)
    if json:
        told = {"movies": len(mined.names), "movie_pairs": len(pairs), "scene_pairs": len(mined), "left_out": short}
        print_json({"output": str(output), **told, "mean_score": float(mined.scores.mean())})
    else:
        console.print(f"{output}: {len(mined):,} scene pairs of {len(pairs):,} pairs of {len(mined.names)} movies")


def _require_outputs(folder: Path, output: Path, picture: Path | None) -> None:
    """Check before any work that what is made can be written."""
    if output.suffix.lower() != ".npz" or not output.parent.is_dir() or output.is_dir():
        raise FeatureError(f"--output: expected a .npz file in a folder that is there, got {output}")
    require_writable(output)
    if output.resolve().parent == folder.resolve():
        raise FeatureError(f"--output: expected a file outside {folder}, whose files are all read, got {output}")
    if picture is not None:
        require_picture(picture)
        if not picture.parent.is_dir() or picture.is_dir():
            raise FeatureError(f"--plot: expected a file in a folder that is there, got {picture}")


def _require_unset(expected: str, options: Mapping[str, object]) -> None:
    """Refuse options that would change nothing."""
    for flag, value in options.items():
        if value is not None:
            raise FeatureError(f"{flag}: expected {expected}, got {value}")


def _by_encoder(
    folder: Path, movies: Mapping[str, Features], engine: Engine, neighbours: int, least: float
) -> list[tuple[str, str]]:
    if engine.config.family != "movie_encoder":
        raise FeatureError(
            "--checkpoint: expected a run of train movie-similarity, or any encoder of shots with --metadata, got a "
            f"model of family {engine.config.family}"
        )
    with named_flags("least", count="--neighbours", movies=f"{folder}: movies of {WINDOW} shots or more"):
        return similar_movies(movies, engine, neighbours, least=least)


def _by_metadata(
    movies: Mapping[str, Features], metadata: Path, kind: str, share: float, partial: bool
) -> list[tuple[str, str]]:
    with named_flags("kind", share="--similar-share"):
        found = read_pairs(metadata, kind, list(movies), share, partial=partial)
    for remark in found.remarks:
        console.print(remark, soft_wrap=True)
    if not found.similar.any():
        raise FeatureError(f"{metadata}: expected pairs of movies that are similar, got none")
    return found.similar_names()
