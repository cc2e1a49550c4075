"""What commands that take films share: options, and progress of the stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from megaseg.errors import FeatureError

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
