"""Tensors that are made of those of other files, such as a checkpoint of another layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from megaseg.engine.model.file_tensors import Array, FileTensors


class DerivedTensors(Mapping[str, Array]):
    """Tensors by name, each made afresh on access of the ``files`` that it depends on.

    ``recipe`` names how they are made: it changes whenever the same files would give other values. A copy, in another
    process too, holds the values themselves.
    """

    def __init__(self, recipe: str, files: Sequence[FileTensors], make: Mapping[str, Callable[[], Array]]) -> None:
        self._recipe, self._files, self._make = recipe, tuple(files), dict(make)

    def __iter__(self) -> Iterator[str]:
        return iter(self._make)

    def __len__(self) -> int:
        return len(self._make)

    def __getitem__(self, name: str) -> Array:
        return self._make[name]()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def sha256(self) -> str:
        """SHA-256 of the recipe and of the files' own."""
        return hashlib.sha256(" ".join([self._recipe, *(file.sha256() for file in self._files)]).encode()).hexdigest()

    def expect_unchanged(self, *, digest: bool) -> None:
        """``FileTensors.expect_unchanged`` of every file."""
        for file in self._files:
            file.expect_unchanged(digest=digest)
