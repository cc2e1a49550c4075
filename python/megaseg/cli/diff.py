"""``megaseg diff``: what differs between two results of one movie."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from megaseg.cli.console import JsonOption, exact, named_flags, output, print_json
from megaseg.cli.delivery import read_result
from megaseg.evaluation.differences import Differences, TrackDifferences, differences
from megaseg.media.timecode import clock


def diff(
    before: Annotated[Path, typer.Argument(help="A result.", exists=True, dir_okay=False)],
    now: Annotated[Path, typer.Argument(help="Another result of the same movie.", exists=True, dir_okay=False)],
    tolerance: Annotated[
        float | None,
        typer.Option(help="Seconds (without times: shots) up to which a boundary has moved; default: 2.", min=0),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Boundaries that were added (+), removed (-) or moved (~), and scenes that were renamed (=).

    Exit code 0 where nothing differs, 1 where something does.
    """
    with named_flags("tolerance"):
        within = None if tolerance is None else exact(tolerance, "--tolerance")
        found = differences(read_result(before), read_result(now), within)
    if json:
        print_json(plain(found))
    else:
        for line in lines(found):
            output.print(line, soft_wrap=True)
    raise typer.Exit(int(found.any))


def plain(found: Differences) -> dict[str, Any]:
    """Differences as values of JSON; places are seconds or first shots."""
    number = float if found.unit == "seconds" else int
    tracks = {}
    for name, track in found.tracks.items():
        own = asdict(track)
        for key in ("removed", "added"):
            own[key] = [number(place) for place in own[key]]
        own["moved"] = [[number(old), number(new)] for old, new in own["moved"]]
        own["renamed"] = [{**one, "at": number(one["at"])} for one in own["renamed"]]
        tracks[name] = own
    return {"unit": found.unit, "tracks": tracks}


def lines(found: Differences) -> list[str]:
    """A line a track, and one a difference, in their order in the movie."""
    out = []
    for name, track in found.tracks.items():
        counts = ", ".join(
            f"{len(getattr(track, kind))} {kind}"
            for kind in ("moved", "removed", "added", "renamed")
            if getattr(track, kind)
        )
        out.append(f"{name}: {track.same} boundaries the same{f', {counts}' if counts else ''}")
        out += [text for _, text in sorted(_texts(track, found.unit))]
    return out


def _texts(track: TrackDifferences, unit: str) -> list[tuple[Fraction, str]]:
    def at(place: Fraction) -> str:
        return clock(place) if unit == "seconds" else f"shot {place}"

    return [
        *((place, f"- {at(place)}") for place in track.removed),
        *((place, f"+ {at(place)}") for place in track.added),
        *((old, f"~ {at(old)} -> {at(new)}") for old, new in track.moved),
        *((one.at, f"= {at(one.at)} {_name(one.before)} -> {_name(one.now)}") for one in track.renamed),
    ]


def _name(name: str | None) -> str:
    return "no name" if name is None else f'"{name}"'
