"""One run over a catalogue: titles without a result go to the workers, outcomes to the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from megaseg.catalog.results import Results
from megaseg.catalog.workers import Batch, Workers
from megaseg.pipelines.pipeline import check_same_features
from megaseg.pipelines.sources import FEATURE_FILES, VIDEOS


def check_titles(titles: Mapping[str, str], descriptions: Sequence[Mapping[str, Any]]) -> None:
    """Check before any work that the models can read feature files together, where a title is one.

    ``descriptions`` are those of the workers.

    Raises:
        FeatureError: models of different recipes.
    """
    file = next((path for path in titles.values() if path.lower().endswith(FEATURE_FILES)), None)
    if file is not None:
        check_same_features([description["recipe"] for description in descriptions], file)


def titles_left(titles: Mapping[str, str], results: Results, *, retry_failed: bool = False) -> list[str]:
    """Titles without a result; titles that failed before only with ``retry_failed``."""
    skipped = results.done if retry_failed else results.done | results.failures.keys()
    return [title for title in titles if title not in skipped]


def segment_titles(
    left: Sequence[str],
    titles: Mapping[str, str],
    results: Results,
    workers: Workers,
    *,
    batch_size: int = 8,
    advance: Callable[[], object] = lambda: None,
    reason: Callable[[str], str] = str,
) -> int:
    """Keep the result or the failure of every title in ``left``, and return how many have a result now.

    ``titles`` are paths by title; ``advance`` is called after each; ``reason`` makes an error's text that of a failure.
    """
    done = 0
    for outcome in workers.run(in_batches(left, titles, batch_size)):
        if outcome.result is None:
            results.fail(outcome.title, outcome.path, reason(str(outcome.error)))
        else:
            results.keep(outcome.title, outcome.result)
            done += 1
        advance()
    return done


def in_batches(left: Sequence[str], titles: Mapping[str, str], size: int) -> Iterator[Batch]:
    """Titles of up to ``size`` together; a film, which takes minutes, by itself: its result is kept when it is done."""
    batch: list[tuple[str, str]] = []
    for title in left:
        path = titles[title]
        if path.lower().endswith(VIDEOS):
            yield [(title, path)]
            continue
        batch.append((title, path))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
