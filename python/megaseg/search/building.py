"""Titles of a catalogue into an index: those that are new or changed, by workers here or on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from megaseg.catalog.run import in_batches
from megaseg.catalog.workers import Workers
from megaseg.errors import FeatureError
from megaseg.search.contents import Contents
from megaseg.search.writer import IndexWriter, TitleScenes

_EVERY = 30.0  # seconds after which what was added becomes part of the index, so that a kill loses no more


@dataclass
class Built:
    """What a run did: titles added, replaced and left as before, and those that failed with the reason.

    ``elsewhere`` are titles that were replaced by another file than before, with the file that they had.
    """

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)


def titles_left(writer: IndexWriter, titles: Mapping[str, str], contents: Contents, built: Built) -> dict[str, str]:
    """Digests by title of those to index; others become part of ``built``, and of those that moved the path is kept."""
    left, damaged = {}, writer.damaged()
    for title, path in titles.items():
        try:
            content = contents.of(title, path)
        except FeatureError as error:
            built.failed[title] = str(error)
            continue
        known = writer.manifest.titles.get(title)
        if known is not None and known.content == content and title not in damaged:
            built.unchanged.append(title)
        else:
            left[title] = content
    writer.relocate({title: titles[title] for title in built.unchanged})
    return left


def build_index(
    writer: IndexWriter,
    titles: Mapping[str, str],
    left: Mapping[str, str],
    workers: Workers,
    built: Built,
    *,
    batch_size: int = 8,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Index the titles of ``left``, digests by title, whose paths are in ``titles``; ``advance`` is called after each.

    A title that fails keeps what the index had of it.
    """
    latest = time.monotonic()
    for outcome in workers.run(in_batches(list(left), titles, batch_size)):
        if isinstance(outcome.result, bytes):
            known = writer.manifest.titles.get(outcome.title)
            made = TitleScenes.from_bytes(outcome.result)
            writer.add(outcome.title, made, source=outcome.path, content=left[outcome.title])
            (built.added if known is None else built.replaced).append(outcome.title)
            if known is not None and known.source != outcome.path:
                built.elsewhere[outcome.title] = known.source
        else:
            built.failed[outcome.title] = str(outcome.error)
        advance()
        if time.monotonic() - latest > _EVERY:
            writer.commit()
            latest = time.monotonic()
    writer.commit()
