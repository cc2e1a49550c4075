"""The folder of results: one file a title, which alone says what is done, and a manifest of failures."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.files import atomic_write, locked
from megaseg.errors import FeatureError, OverloadedError

FORMAT = "megaseg.catalog/1"
JSON, FEATURES = ".json", ".npz"  # suffixes of results, and of embeddings
_LEFT = re.compile(r"\..+\.(json|npz)\..{8}\.\1")  # by atomic_write in a process that was killed


class Results:
    """Results under ``folder`` in the titles' own folders, ``catalog.json`` (settings) and ``failures.jsonl``.

    A result is there whole or not at all. Made by ``opened``; one process writes, and counts each title once.
    """

    def __init__(self, folder: Path, suffix: str = JSON) -> None:
        self.folder, self.suffix = folder, suffix
        self.manifest = folder / "failures.jsonl"
        self.done = set(_scan(str(folder), suffix))
        self.failures = {title: entry for title, entry in _read_manifest(self.manifest) if title not in self.done}
        self._folders: set[Path] = set()

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, settings: Mapping[str, Any], suffix: str = JSON) -> Iterator[Results]:
        """The folder for one run, new or left by an earlier run with the same settings; ``suffix`` is of the results.

        Raises:
            FeatureError: an earlier run with other settings, or a folder of other files of the suffix.
            OverloadedError: another run writes to it now.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(folder, wait=0))
            except BlockingIOError as error:
                raise OverloadedError(f"{folder}: another megaseg catalog writes there now") from error
            _settle(folder, settings, suffix)
            results = cls(folder, suffix)
            results.write_manifest()
            stack.callback(results.write_manifest)
            yield results

    def keep(self, title: str, result: str | bytes) -> None:
        """Write a title's result: JSON text, or the bytes of a feature file."""
        target = self.folder / f"{title}{self.suffix}"
        if target.parent not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(target.parent)
        with atomic_write(target) as temporary:
            temporary.write_bytes(result if isinstance(result, bytes) else f"{result}\n".encode())
        self.done.add(title)
        self.failures.pop(title, None)

    def fail(self, title: str, path: str, reason: str) -> None:
        """Add a title to the manifest: one whole line, so that a kill leaves earlier ones as they are."""
        self.failures[title] = {"title": title, "path": path, "reason": reason}
        with self.manifest.open("ab", buffering=0) as file:
            file.write(_line(self.failures[title]))

    def write_manifest(self) -> None:
        """The manifest with each failed title once, and none that has a result since."""
        with atomic_write(self.manifest) as temporary:
            temporary.write_bytes(b"".join(_line(entry) for entry in self.failures.values()))


def _line(entry: Mapping[str, str]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _scan(folder: str, suffix: str, prefix: str = "") -> Iterator[str]:
    """Titles that have a result: one listing a folder, and no look at any file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _scan(entry.path, suffix, f"{prefix}{entry.name}/")
            elif _LEFT.fullmatch(entry.name):
                os.unlink(entry.path)
            elif entry.name.endswith(suffix) and (prefix or entry.name != "catalog.json"):
                yield prefix + entry.name.removesuffix(suffix)


def _read_manifest(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if not path.is_file():
        return
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            yield entry["title"], {key: entry[key] for key in ("title", "path", "reason")}
        except (ValueError, TypeError, KeyError):
            continue  # the half line of a process that was killed as it wrote: its title has no result and runs again


def _told(value: Any) -> str:
    """A setting in a message; of a digest the first digits, which are enough to tell two apart."""
    return re.sub(r'"([0-9a-f]{12})[0-9a-f]{52}"', r"SHA-256 \1...", json.dumps(value, ensure_ascii=False))


def _settle(folder: Path, settings: Mapping[str, Any], suffix: str) -> None:
    """Write a new run's settings, or check a resumed run against those written."""
    path = folder / "catalog.json"
    if not path.is_file():
        if next(_scan(str(folder), suffix), None) is not None:
            kind = "JSON" if suffix == JSON else suffix
            raise FeatureError(f"{folder}: expected a new folder, or one of megaseg catalog, got other {kind} files")
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **settings}, indent=1) + "\n", encoding="utf-8")
        return
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FeatureError(f"{path}: expected the settings of megaseg catalog, got: {error}") from error
    if not isinstance(kept, dict) or kept.pop("format", None) != FORMAT:
        raise FeatureError(f"{path}: expected the settings of megaseg catalog ({FORMAT}), got another file")
    changed = [
        f"{key} {_told(kept.get(key))}, now {_told(value)}" for key, value in settings.items() if kept.get(key) != value
    ]
    if changed:
        raise FeatureError(
            f"{folder}: its results were made with other settings: {'; '.join(changed)}. "
            "Give these again to go on, or another folder"
        )
