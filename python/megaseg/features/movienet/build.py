"""Feature files of films by their shots and subtitles; a second run redoes only what changed.

============ ===== =======================================================================================
modality     width row
============ ===== =======================================================================================
``dialogue``   384 of a shot: the mean sentence vector of the lines that overlap it, zeros without any
``rhythm``      12 of a shot: ``rhythm.rhythm_rows``
``speech``      26 of a shot: ``rhythm.speech_rows``
``language``   384 of a line: its sentence vector; ``language.shots`` is the shot in which its middle is
============ ===== =======================================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.feature_files import save_features
from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import atomic_write, what_is_there
from megaseg.errors import FeatureError
from megaseg.features.movienet.films import TIME_BASE, Film
from megaseg.features.movienet.rhythm import rhythm_rows, speech_rows
from megaseg.features.text.alignment import aligned
from megaseg.features.text.dialogue import Dialogue, Encode, encoded, shot_rows
from megaseg.media.sidecars import SUFFIXES, read_subtitles

RECIPE = "movienet-subtitles/1"
MODALITIES = ("dialogue", "rhythm", "speech", "language")
INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one film: ``status`` is ``written`` or ``kept`` (up to date); ``lines`` None without subtitles."""

    name: str
    file: Path
    status: str
    shots: int
    lines: int | None


def subtitles_of(film: Film, folder: Path) -> Path | None:
    """The subtitle file of a film, ``ID.srt`` and the like; None where there is none."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{film.name}{suffix}").is_file()), None)


def features_of(film: Film, dialogue: Dialogue, modalities: Sequence[str] = MODALITIES) -> Features:
    """The ``modalities`` of a film; where its ``dialogue`` has no lines, they are zeros and no tokens."""
    times = film.milliseconds
    tokens = dialogue.vectors.astype(np.float16)  # as the file has them: the rest is made of what is in the file
    said = aligned(Dialogue(dialogue.lines, tokens.astype(np.float32)), times[1:, 0])
    spans = said.spans.astype(np.float64)
    shots = np.searchsorted(times[:, 1], np.maximum.accumulate(spans.mean(1)), side="right")
    arrays: dict[str, NDArray[Any]] = {
        "dialogue": shot_rows(said, times),
        "rhythm": rhythm_rows(times),
        "speech": speech_rows(times, spans, said.vectors),
        "language": said.vectors.astype(np.float16),
    }
    tokens_of = {"language": shots.clip(0, len(times) - 1).astype(np.int32)}
    return Features(
        {name: array for name, array in arrays.items() if name in modalities},
        film.times,
        TIME_BASE,
        film.labels,
        RECIPE,
        token_shots={name: own for name, own in tokens_of.items() if name in modalities},
    )


class Builder:
    """Writes films' feature files into ``folder``; ``subtitles`` holds a file a film.

    ``identity`` changes whenever the vectors of ``encode`` would.

    Raises:
        FeatureError: ``modalities`` that are none of these features.
    """

    def __init__(
        self, folder: Path, subtitles: Path, encode: Encode, identity: str, modalities: Sequence[str] = MODALITIES
    ) -> None:
        if not set(modalities) - {"language"} or set(modalities) - set(MODALITIES):
            raise FeatureError(
                f"modalities: expected some of {', '.join(MODALITIES)} and not language alone, "
                f"got {', '.join(modalities)}"
            )
        self._folder, self._subtitles, self._modalities = folder, subtitles, tuple(modalities)
        self._encode, self._identity = encode, f"{identity} {' '.join(sorted(modalities))}"
        folder.mkdir(parents=True, exist_ok=True)
        self._index = _read_index(folder / INDEX)

    def build(self, film: Film) -> Built:
        """Write the film's file where it is not up to date.

        Raises:
            FeatureError: subtitles that cannot be read.
        """
        found = subtitles_of(film, self._subtitles)
        file, digest = self._folder / f"{film.name}.npz", self._digest(film, found)
        kept = self._index.get(file.name, {})
        if kept.get("digest") == digest and file.is_file():
            return Built(film.name, file, "kept", len(film.times), kept.get("lines"))
        lines = [] if found is None else read_subtitles(found, frame_rate=float(1 / TIME_BASE))
        dialogue = encoded(lines, self._encode)
        save_features(file, features_of(film, dialogue, self._modalities))
        said = None if found is None else len(dialogue.lines)
        self._index[file.name] = {"digest": digest, "lines": said}
        with atomic_write(self._folder / INDEX) as temporary:
            temporary.write_text(json.dumps(self._index))
        return Built(film.name, file, "written", len(film.times), said)

    def _digest(self, film: Film, subtitles: Path | None) -> str:
        labels = b"" if film.labels is None else film.labels.tobytes()
        said = b"" if subtitles is None else subtitles.read_bytes()
        parts = (RECIPE.encode(), self._identity.encode(), film.times.tobytes(), labels, said)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def require_subtitles(films: Sequence[Film], folder: Path) -> None:
    """Check that at least one film has subtitles.

    Raises:
        FeatureError: none has, or there is no such folder.
    """
    if not folder.is_dir():
        raise FeatureError(f"{folder}: expected a folder of subtitle files, got {what_is_there(folder)}")
    if not any(subtitles_of(film, folder) for film in films):
        raise FeatureError(f"{folder}: expected subtitles such as {films[0].name}.srt of {len(films)} films, got none")


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
