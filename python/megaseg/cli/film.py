"""What commands that take films share: options, and progress of the stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from megaseg.cli.console import require_folder, require_writable
from megaseg.cli.inputs import Failures
from megaseg.errors import FeatureError
from megaseg.media.video import Video
from megaseg.pipelines import iter_sources
from megaseg.pipelines.sources import VIDEOS

DetectorOption = Annotated[
    str, typer.Option("--detector", help="Films: shot detector, adaptive (fast) or transnetv2 (also dissolves).")
]
ShotsOption = Annotated[
    Path | None,
    typer.Option("--shots", help="Films: your own shot list: PySceneDetect's CSV, EDL, or TransNetV2's .scenes.txt."),
]
SubtitlesOption = Annotated[
    Path | None, typer.Option("--subtitles", help="Films: subtitle file; default: beside the film, else embedded ones.")
]
SpeechOption = Annotated[
    Path | None,
    typer.Option("--speech", help="Films without subtitles: folder of a Whisper model for CTranslate2; extra speech."),
]
# Endings of names that are no folder's.
_OTHER_FILES = tuple(
    f".{ending}"
    for ending in ("csv", "edl", "h5", "html", "json", "jsonl", "mkv", "mp4", "mseg", "npy", "npz", "onnx", "pkl", "pt",
                   "pth", "safetensors", "txt", "xml", "zip")
)  # fmt: skip


def require_one_film(films: int, shots: Path | None, subtitles: Path | None) -> None:
    """Check that what belongs to one film is given for one.

    Raises:
        FeatureError: it is not.
    """
    for flag, given in (("--shots", shots), ("--subtitles", subtitles)):
        if given is not None and films != 1:
            raise FeatureError(f"{flag}: expected one film with it, got {films}")


class Stages:
    """A second line of a progress bar: the stage that a film is in, and the seconds of film done."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", visible=False)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Show the stages of the film of this name."""
        self._name = name
        try:
            yield
        finally:
            self._bar.update(self._task, visible=False)

    def advance(self, stage: str, done: float, whole: float) -> None:
        """Show that so much of a stage is done; NaN where the whole is not known."""
        known = whole == whole
        self._bar.update(
            self._task,
            description=f"{self._name}: {stage}",
            completed=done if done == done else 0,
            total=whole if known else None,
            visible=True,
        )


def films_of(inputs: list[str], failures: Failures) -> list[Video]:
    """The films behind names; those of a folder one by one. A name without any is a failure."""
    found: list[Video] = []
    for name in inputs:
        with failures.of(name):
            films = [source for source in iter_sources(name) if isinstance(source, Video)]
            if not films:
                raise FeatureError(f"{name}: expected films ({', '.join(VIDEOS[:3])} and the like), got other movies")
            found += films
    return found


def one_file_each(names: list[str], output: Path, *suffixes: str, failed: int = 0) -> list[Path]:
    """The output file of each movie: the given one, or one a movie in a folder, with the first suffix.

    Raises:
        FeatureError: one file for several movies, two movies of one name, or another file, there or by its name.
    """
    if output.name.lower().endswith(suffixes) and not output.is_dir():
        if len(names) + failed > 1:
            raise FeatureError(f"{output}: expected a folder for {len(names) + failed} movies, got a file")
        require_writable(output)
        return [output]
    if not output.is_dir() and (output.exists() or output.suffix.lower() in _OTHER_FILES):
        raise FeatureError(f"{output}: expected a folder or a {', '.join(suffixes)} file, got another file")
    if len(set(names)) < len(names):
        often = Counter(names).most_common(1)[0]
        raise FeatureError(f"{output}: expected movies of different names, got {often[0]} {often[1]} times")
    require_folder(output)
    return [output / f"{name}{suffixes[0]}" for name in names]
