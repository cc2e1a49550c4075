"""Inputs of commands that take several: those that fail do not stop the others, and are listed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer

from megaseg.cli.console import console, error_text, print_error
from megaseg.cli.stdin import STDIN, from_stdin
from megaseg.engine.backends.protocol import EMBEDDING
from megaseg.engine.inputs.features import Features, OtherRecipe
from megaseg.errors import MegasegError, UnsupportedError
from megaseg.features.extractor import UnnamedUnits
from megaseg.features.screenplay.extractor import UNITS
from megaseg.media.video import Video
from megaseg.pipelines import Pipeline, iter_sources
from megaseg.pipelines.shipped import shipped_for
from megaseg.pipelines.sources import FeatureFile, Source, find_files


class Failures:
    """Inputs that could not be read or segmented, with the reasons."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def __len__(self) -> int:
        return len(self._reasons)

    @contextmanager
    def of(self, name: str | os.PathLike[str]) -> Iterator[None]:
        """Work on the input of this name, whose error is kept."""
        try:
            yield
        except BrokenPipeError:  # of stdout, as `| head` ends it
            raise
        except UnsupportedError as error:  # of this machine or of a model: no input's fault
            self._reasons.append(str(error))
        except (MegasegError, OSError) as error:
            self.add(os.fspath(name), error_text(error))

    def add(self, name: str, reason: str) -> None:
        """Keep a reason, after the input's name where it has none."""
        self._reasons.append(reason if reason.startswith(name) else f"{name}: {reason}")

    def end(self, done: int) -> None:
        """End a command that has ``done`` inputs behind it: nothing on stderr and exit code 0 without failures.

        Else a line a reason, and exit code 1, or 2 where nothing is done.
        """
        if not self._reasons:
            return
        for reason in dict.fromkeys(self._reasons):
            print_error(reason)
        if done + len(self) > 1:
            console.print(f"{len(self)} of {done + len(self)} failed")
        raise typer.Exit(1 if done else 2)


def sources(names: Iterable[str], failures: Failures, kind: str | None, stdin_name: str) -> list[Source]:
    """Every movie behind the names, all of them of a kind where one is given; files of a folder one by one."""
    found: list[Source] = []
    for name in names:
        if name == STDIN:
            with failures.of(stdin_name):
                for play in from_stdin(kind, stdin_name):  # one by one: what comes before a fault counts
                    found.append(play)
            continue
        with failures.of(name):
            for file in find_files(name, kind):
                with failures.of(file):
                    for source in iter_sources(file, kind):
                        found.append(source)
    return found


def path_of(movie: Source) -> str:
    """What messages call a movie: its file where it is still to be read, or its name."""
    return str(movie.path) if isinstance(movie, (FeatureFile, Video)) else movie.name


def row_of(movie: Source, pipeline: Pipeline) -> str:
    """What a row of a movie's features is called: a scene in a file that the models read as such, else a shot."""
    recipes = {engine.config.recipe for engine in pipeline.engines}
    scenes = {UNITS["scene"], UNITS["talk"]}
    return "scene" if isinstance(movie, FeatureFile) and recipes <= scenes else "shot"


@contextmanager
def hints(pipeline: Pipeline, opened: Features | Source) -> Iterator[None]:
    """An error about a movie that the models cannot read says which command or option helps."""
    try:
        yield
    except UnnamedUnits as error:
        raise UnnamedUnits(f"{error}: --checkpoint {shipped_for(opened)[0]}") from error
    except OtherRecipe as error:
        wanted = {engine.config.recipe for engine in pipeline.engines}
        units = [unit for unit, recipe in UNITS.items() if recipe in wanted]
        made = "".join(f"; features by {unit}: megaseg features screenplay --unit {unit}" for unit in units)
        if any(recipe is not None and recipe.startswith(f"{EMBEDDING}/") for recipe in wanted):
            made += "; embeddings by an encoder: megaseg embed"
        raise OtherRecipe(f"{error}{made}") from error
