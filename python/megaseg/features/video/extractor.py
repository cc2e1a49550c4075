"""Films to features: one decoding pass, shots, features of shots, dialogue; each computed once for all models."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import cache_folder, what_is_there
from megaseg.engine.results.source import Source
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.audio.transcribing import transcribed
from megaseg.features.audio.whisper import require_model
from megaseg.features.extractor import MissingInput, UnnamedUnits
from megaseg.features.text.dialogue import Dialogue, encoded, shot_rows
from megaseg.features.text.encoder import Encoder
from megaseg.features.text.pretrained import MINILM
from megaseg.features.video import dialogue_scenes, similarity
from megaseg.features.video.about import source_of
from megaseg.features.video.raw import ShotTimes, raw_features
from megaseg.features.video.registry import chosen
from megaseg.media.measures import Measures, MeasureSpec, Recording
from megaseg.media.reading import read_video
from megaseg.media.shots import shot_detector
from megaseg.media.shots.cuts import ended_before
from megaseg.media.shots.lists import read_shots
from megaseg.media.shots.lists.clock import FilmClock
from megaseg.media.sidecars import find_sidecar, read_subtitles
from megaseg.media.subtitles import SubtitleLine, spoken
from megaseg.media.thumbnails import Thumbnails
from megaseg.media.video import Video

NEAR_CUT = Fraction(1, 2)  # seconds around a given end of a shot in which detected ends mean the same
Advance = Callable[[str, float, float], None]
"""Called with the name of a stage, how much of it is done, and how much there is (NaN: not known)."""


class VideoExtractor:
    """Recipes of films: ``video-shots/1``, ``dialogue-scenes/1``, and ``video-raw/1``, the features behind them.

    Args:
        detector: of shots, by its name in ``media.shots.DETECTORS``.
        shots: a list of shots to take in place of a detector's, as ``media.shots.lists`` reads it; for one film.
        features: extractors of ``features.video.registry``, by name, one a modality.
        clip: folder of a CLIP model; by default it then takes the place of ``efficientnet``.
        subtitles: a subtitle file in place of the one beside the film or the embedded ones; for one film.
        speech: folder of a Whisper model for CTranslate2, for films without subtitles; None transcribes nothing.
        cache: folder that keeps what was measured; None takes ``MEGASEG_CACHE`` or the user's cache folder.
        advance: told of progress.
        compute_type, num_threads: of the text encoder, and threads of the other models; 0 takes every core.

    Raises:
        UnsupportedError: a detector or an extractor that is not there; lists what is. A folder that is no such model.
        FeatureError: a list of shots or subtitles that are not there.
    """

    reads: ClassVar[type[Video]] = Video

    def __init__(
        self,
        *,
        detector: str = "adaptive",
        shots: str | os.PathLike[str] | None = None,
        features: Sequence[str] | None = None,
        clip: str | os.PathLike[str] | None = None,
        subtitles: str | os.PathLike[str] | None = None,
        speech: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        advance: Advance = lambda stage, done, whole: None,
        compute_type: str = "auto",
        num_threads: int = 0,
    ) -> None:
        self.shots, self.subtitles, self.speech = (
            None if given is None else Path(given) for given in (shots, subtitles, speech)
        )
        for name, file in (
            ("shots", self.shots),
            ("subtitles", self.subtitles),
        ):  # said now, not when the film is decoded
            if file is not None and (file.is_dir() or not file.exists()):
                raise FeatureError(f"{file}: expected a file of {name}, got {what_is_there(file)}")
        if self.speech is not None:
            require_model(self.speech)
        self.detector = shot_detector(detector, num_threads=num_threads)
        self.features, self.clip = chosen(features, clip), clip
        self.advance = advance
        self.cache = cache_folder() if cache is None else Path(cache)
        self._compute_type, self.num_threads = compute_type, num_threads

    def read(self, source: Video) -> VideoReading:
        """One film, of which nothing is decoded yet."""
        return VideoReading(self, source)

    @cached_property
    def encoder(self) -> Encoder:
        """The text encoder of dialogue.

        Raises:
            UnsupportedError: the extra ``text`` is not installed.
        """
        return Encoder.from_checkpoint(MINILM, compute_type=self._compute_type, num_threads=self.num_threads)


class VideoReading:
    """One film: its recording, shots and lines, each read once when it is first asked for."""

    def __init__(self, extractor: VideoExtractor, video: Video) -> None:
        self._extractor, self.video = extractor, video
        self.remarks: list[str] = []
        self._ends: tuple[Fraction, ...] = ()
        self.transcribed = False  # whether the lines are those of the film's speech

    @cached_property
    def recording(self) -> Recording:
        """What the one decoding pass gave.

        Raises:
            FeatureError: no film that can be decoded.
            UnsupportedError: the extra ``video`` is missing.
        """
        own = self._extractor
        kinds: dict[str, list[MeasureSpec]] = {"frames": [own.detector.measure], "pictures": [], "sound": []}
        for feature in own.features:
            kinds[feature.kind].append(feature.spec(num_threads=own.num_threads, folder=str(own.clip)))
        found = read_video(
            self.video,
            Measures(**{kind: tuple(specs) for kind, specs in kinds.items()}, thumbnails=True),
            cache=None if own.cache is None else own.cache / "films",
            advance=lambda done, whole: own.advance("decoding", done, whole),
        )
        if found.damaged:
            self.remarks.append(f"{self.video.name}: the file is damaged; what could be decoded was read")
        return found

    @cached_property
    def shots(self) -> ShotTimes:
        """The film's shots, detected or from the user's list, some of which end where they must.

        Raises:
            FeatureError: a list that cannot be read or does not fit the film; a film without frames.
        """
        own, recording = self._extractor, self.recording
        ticks = recording.frame_ticks
        if own.shots is not None:
            found = read_shots(own.shots, ticks, recording.info)
        else:
            found = own.detector.shots(recording.frames[own.detector.name], ticks)
        clock = FilmClock(ticks, recording.info)
        cuts = np.array([clock.frame(seconds) for seconds in self._ends], np.int64)
        reach = 0 if own.shots is not None else round(clock.rate * NEAR_CUT)
        return ShotTimes.of(ended_before(found, cuts, reach), recording)

    @property
    def thumbnails(self) -> Thumbnails:
        """Small pictures of the film.

        Raises:
            FeatureError, UnsupportedError: as ``recording``.
        """
        return self.recording.thumbnails

    @cached_property
    def lines(self) -> tuple[SubtitleLine, ...]:
        """What is said: of the given subtitles, else those beside the film, else embedded ones, else its speech.

        Raises:
            FeatureError: given subtitles that cannot be read.
            UnsupportedError: the extra ``speech`` is missing where speech is to be transcribed.
        """
        own = self._extractor
        if own.subtitles is not None:
            return self._read(own.subtitles)
        beside = find_sidecar(self.video.path)
        if beside is not None:
            try:
                return self._read(beside)
            except FeatureError as error:  # nobody asked for this file
                self.remarks.append(f"{self.video.name}: subtitles are left out: {error}")
        if self.recording.lines or own.speech is None:
            return spoken(self.recording.lines)
        self.transcribed = True
        return transcribed(
            self.video.path,
            own.speech,
            cache=None if own.cache is None else own.cache / "speech",
            num_threads=own.num_threads,
            advance=lambda done, whole: own.advance("speech", done, whole),
        )

    def _read(self, subtitles: Path) -> tuple[SubtitleLine, ...]:
        rate = self.recording.info.frame_rate
        return spoken(read_subtitles(subtitles, frame_rate=None if rate is None else float(rate)))

    @cached_property
    def raw(self) -> Features:
        """Raw features of the shots: every modality that the film has.

        Raises:
            FeatureError, UnsupportedError: as ``recording``, ``shots`` and ``lines``.
        """
        own = self._extractor
        given = self._dialogue()
        own.advance("features", math.nan, math.nan)
        return raw_features(self.recording, self.shots, {f.name: f.modality for f in own.features}, given)

    @cached_property
    def dialogue(self) -> Dialogue:
        """What is said, with its sentence vectors.

        Raises:
            FeatureError: as ``lines``.
            UnsupportedError: the extra ``text`` is not installed, or its encoder.
        """
        own, lines = self._extractor, self.lines
        own.advance("dialogue", math.nan, math.nan)
        return encoded(lines, own.encoder.encode if lines else lambda texts: np.zeros((0, 1), np.float32))

    def _dialogue(self) -> dict[str, NDArray[np.floating]]:
        """The modality ``dialogue``; none where nobody speaks or no encoder is there, which is remarked."""
        try:
            return {"dialogue": shot_rows(self.dialogue, self._milliseconds(self.shots.ticks))}
        except UnsupportedError as error:
            self.remarks.append(f"{self.video.name}: dialogue is left out: {error}")
            return {}

    def _milliseconds(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(ticks * (1000 * float(self.recording.info.time_base)), np.float64)

    def named_ends(self) -> NDArray[np.int64]:
        """No film names its scenes.

        Raises:
            UnnamedUnits: always.
        """
        raise UnnamedUnits(f"{self.video.name}: expected a source that names its scenes, got a film")

    def times(self) -> tuple[NDArray[np.int64], Fraction]:
        """Start and end tick (shots, 2) of each shot, and the seconds of a tick."""
        return self.shots.ticks, self.recording.info.time_base

    def end_shots_at(self, seconds: Sequence[Fraction]) -> None:
        """Have shots end at these times, at the nearest frame; a detected end close to one gives way."""
        self._ends = tuple(seconds)

    def source(self) -> Source:
        """What its file says, what is said in its shots, and how loud they end."""
        try:
            lines = self.lines
        except UnsupportedError:  # as remarked where features were made
            lines = ()
        return source_of(self.video.path.name, self.recording, self.shots.ticks, lines)

    def features(self, recipe: str, ends: NDArray[np.int64] | None = None) -> Features:
        """Features of a recipe; rows of ``dialogue-scenes/1`` are the scenes that end with the shots ``ends``.

        Raises:
            FeatureError, UnsupportedError: as ``raw``.
            MissingInput: acts are asked for and there is too little dialogue, or fewer scenes than acts.
        """
        if recipe in (similarity.RECIPE, similarity.RAW):
            return similarity.prepared(self.raw, recipe)
        if ends is None:
            ends = self.named_ends()
        ticks = self.shots.ticks
        firsts = np.concatenate([[0], ends[:-1] + 1])
        spans = np.stack([ticks[firsts, 0], ticks[ends, 1]], axis=1)
        try:
            found = dialogue_scenes.scene_features(self.dialogue, self._milliseconds(spans))
        except dialogue_scenes.TooLittleDialogue as error:
            hint = "acts need subtitles, beside the film or in it, or its speech"
            raise MissingInput(f"{self.video.name}: no acts: {error}; {hint}") from error
        except UnsupportedError as error:
            raise MissingInput(f"{self.video.name}: no acts: {error}") from error
        if len(ends) < dialogue_scenes.LEAST_SCENES:
            expected = f"expected at least {dialogue_scenes.LEAST_SCENES} scenes to end acts with"
            raise MissingInput(f"{self.video.name}: no acts: {expected}, got {len(ends)}")
        return found
