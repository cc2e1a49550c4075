"""Whisper from a local folder, by faster-whisper (extra ``speech``): samples to timed text; nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from megaseg.engine.inputs.files import sha256
from megaseg.engine.inputs.system import usable_cpus
from megaseg.errors import UnsupportedError

FILES = ("config.json", "model.bin", "tokenizer.json")  # without the last, faster-whisper would download one
_SURE = 0.8  # probability from which a region's language is that of the film
_MOST_REPEATED = 2.4  # compression of a text from which it is a loop, not speech
_LEAST_LIKELY = -1.2  # mean log-probability of a text's tokens

Said = tuple[float, float, str]  # start and end in seconds, text


class Transcriber(Protocol):
    """Speech to text."""

    identity: str
    """Changes whenever the texts would."""

    def transcribe(self, samples: NDArray[np.float32]) -> Iterator[Said]:
        """What is said in up to 30 seconds of 16 kHz mono, with times from its first sample."""
        ...


def require_model(folder: str | os.PathLike[str]) -> None:
    """Check that a folder holds a Whisper model of CTranslate2.

    Raises:
        UnsupportedError: it does not; names the files that it lacks.
    """
    lacking = [name for name in FILES if not (Path(folder) / name).is_file()]
    if lacking:
        raise UnsupportedError(f"{folder}: expected a Whisper model of CTranslate2, got no {', '.join(lacking)}")


class Whisper:
    """A Whisper model that was converted for CTranslate2.

    Args:
        folder: with ``FILES``.
        language: a code such as ``en``; None takes the first that a region is surely in.
        compute_type: as CTranslate2 names it; ``int8`` is the fastest on CPUs.
        num_threads: 0 takes every core.

    Raises:
        UnsupportedError: the extra is not installed, or the folder is no model.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        language: str | None = None,
        compute_type: str = "int8",
        num_threads: int = 0,
    ) -> None:
        folder = Path(folder)
        require_model(folder)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise UnsupportedError(f"speech needs {error.name}: pip install 'megaseg[speech]'") from error
        threads = num_threads or usable_cpus()
        try:
            self._model: Any = WhisperModel(
                str(folder), device="cpu", compute_type=compute_type, cpu_threads=threads, local_files_only=True
            )
        except (RuntimeError, ValueError) as error:
            raise UnsupportedError(f"{folder}: expected a Whisper model of CTranslate2, got: {error}") from error
        self._language = language
        digest = sha256(folder / "model.bin").hexdigest()
        self.identity = f"whisper {digest} {language} {compute_type}"

    def transcribe(self, samples: NDArray[np.float32]) -> Iterator[Said]:
        """What is said; texts that repeat themselves or are unlikely are left out."""
        segments, info = self._model.transcribe(
            samples, language=self._language, temperature=0.0, condition_on_previous_text=False, beam_size=5
        )
        if self._language is None and info.language_probability >= _SURE:
            self._language = info.language
        for segment in segments:
            if segment.compression_ratio <= _MOST_REPEATED and segment.avg_logprob >= _LEAST_LIKELY:
                yield segment.start, segment.end, segment.text
