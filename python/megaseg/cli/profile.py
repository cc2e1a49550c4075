"""``megaseg profile``: where the time of a model goes on this machine, by op and by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from megaseg.cli.console import (
    MODEL_KEYWORDS,
    ComputeTypeOption,
    JsonOption,
    OverflowOption,
    PlainConsole,
    ThreadsOption,
    named_flags,
    output,
    print_json,
)
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.engine.backends.native.profile import Entry, Profile, profile
from megaseg.engine.backends.protocol import LOGITS
from megaseg.engine.engine import Engine
from megaseg.engine.graph.sequences import Whole
from megaseg.engine.inputs.feature_files import load_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.model.config import ModelConfig
from megaseg.engine.model.family import structure_of
from megaseg.errors import FeatureError, UnsupportedError

_SHOTS = 256
_MOST_SHOTS = 1_000_000  # some 1,000 hours of film; many more do not fit into memory
_BAR = 30  # characters of the longest bar
_WIDTH = 160  # of tables in a file or pipe


def profile_model(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint or compiled model, or the name of a shipped one.")],
    features: Annotated[
        Path | None, typer.Argument(help="A feature file of one movie.", show_default="random features")
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(
            help="Shots of random features.",
            min=1,
            max=_MOST_SHOTS,
            show_default=f"{_SHOTS}, or as many as the model takes",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Runs; of each step the fastest counts.", min=1)] = 10,
    cpu_time: Annotated[
        bool, typer.Option("--cpu-time", help="Processor time of all threads: on a machine that others use.")
    ] = False,
    compute_type: ComputeTypeOption = "auto",
    overflow: OverflowOption = "error",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Show where the time of a model goes: each op's and step's calls, share and speed."""
    if features and shots is not None:
        raise FeatureError(f"--shots: expected no number beside the feature file {features}, got {shots}")
    with named_flags(*MODEL_KEYWORDS):
        engine = Engine.from_checkpoint(
            checkpoint, compute_type=compute_type, num_threads=threads, backend="auto", overflow=overflow
        )
    if not isinstance(engine.backend, NativeBackend):
        said = engine.describe()
        if said["backend"] != "native":
            raise UnsupportedError(
                f"profile: expected a checkpoint or a .mseg file, got {checkpoint} of backend {said['backend']}"
            )
        raise UnsupportedError(
            f"profile: expected one compiled model, got the several of {said['compute_type']}; profile them one by "
            "one, such as int8 or float32"
        )
    movie = load_features(features) if features else _random(engine.config, _number(engine.config, shots))
    names = [own.name for own in structure_of(engine.config).outputs]
    outputs = [LOGITS] if LOGITS in names else names
    with named_flags(*MODEL_KEYWORDS):
        excerpts = engine.to_excerpts(movie)
    found = profile(engine.backend, excerpts, outputs, repeats=repeats, cpu_time=cpu_time)
    if json:
        print_json(engine.describe() | {"shots": movie.num_shots, "cpu_time": cpu_time} | found.to_dict())
    else:
        _print(found, engine, movie.num_shots)


def _number(config: ModelConfig, shots: int | None) -> int:
    """How many random shots.

    Raises:
        FeatureError: more than the model takes.
    """
    most = config.sequences.most if isinstance(config.sequences, Whole) else None
    if shots is None:
        return _SHOTS if most is None else min(_SHOTS, most)
    if most is not None and shots > most:
        raise FeatureError(f"--shots: expected at most {most}, which the model takes of a movie, got {shots}")
    return shots


def _random(config: ModelConfig, shots: int) -> Features:
    """Standard normal features of a movie, the same each time.

    Raises:
        FeatureError: a model that reads ids, of which not any will do.
    """
    for modality in config.modalities:
        if modality.type != "float32":
            raise FeatureError(f"FEATURES: expected a feature file for a model that reads ids ({modality.name})")
    rng = np.random.default_rng(0)
    return Features.from_mapping(
        {m.name: rng.standard_normal((shots, m.feature_size), dtype=np.float32) for m in config.modalities}
    )


def _print(found: Profile, engine: Engine, shots: int) -> None:
    said = engine.describe()
    title = (
        f"{said['target']}, {said['compute_type']}, {said['num_threads']} threads: {shots} shots in "
        f"{found.seconds * 1e3:.2f} ms, {shots / found.seconds:,.0f} shots/s"
    )
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in found.ceilings.products.items())
    reads = ", ".join(f"{read / 1e9:,.0f} GB/s of {size >> 10:,} KiB" for size, read, _ in found.ceilings.memory)
    output.print(f"ceilings: products {rates}; reading {reads} a thread", soft_wrap=True)
    wide = output if output.is_terminal else PlainConsole(width=_WIDTH)
    wide.print(_table(title, found.by_op(), found, steps=False))
    wide.print(_table("steps of a kind", found.by_kind(), found, steps=True))


def _table(title: str, entries: list[Entry], found: Profile, *, steps: bool) -> Table:
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    table.add_column("op")
    if steps:
        table.add_column("of")
    for name in ("rows", "calls", "ms", "share", "GFLOP/s", "GB/s", "of ceiling"):
        table.add_column(name, justify="right")
    table.add_column("time (full: the least here)")
    longest = max(entry.seconds for entry in entries)
    for entry in entries:
        table.add_row(
            entry.op,
            *[entry.what] * steps,
            f"{entry.rows:,}",
            f"{entry.calls}",
            f"{entry.seconds * 1e3:.2f}",
            f"{entry.seconds / found.seconds:.1%}",
            f"{entry.operations / entry.seconds / 1e9:,.0f}" if entry.operations else "",
            f"{entry.bytes / entry.seconds / 1e9:,.1f}",
            f"{entry.of_ceiling:.0%}",
            _bar(entry.seconds / longest, entry.of_ceiling),
        )
    rest = (f"{found.between * 1e3:.2f}", f"{found.between / found.seconds:.1%}")
    table.add_row("between steps", *[""] * (2 + steps), *rest)
    return table


def _bar(length: float, of_ceiling: float) -> Text:
    """Of the longest bar so much, full for the share that the machine needs at least."""
    cells = round(length * _BAR)
    full = min(cells, round(length * of_ceiling * _BAR))
    return Text("█" * full + "░" * (cells - full))
