"""Recipe ``video-shots/1``: rows that a scene model reads, made of raw features of shots from whatever extractor.

Row i tells about the gap after shot i, from the ``HALF`` shots on either side of it alone, so that a stream gives the
same rows ``HALF`` shots later. A modality's row holds similarities of these shots (``neighbours``), then the row of
modality ``rhythm`` (``rhythm``); modality ``pictures`` sees visual and colour features together. A row is zero where
the modality is not there: without it, or where its own rows are zero. Column 0 is 1 in every other row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from megaseg.engine.inputs.features import Features, check_times
from megaseg.engine.inputs.modality import Modality
from megaseg.errors import FeatureError
from megaseg.features.video import neighbours, rhythm
from megaseg.features.video.neighbours import HALF

RECIPE = "video-shots/1"
RAW = "video-raw/1"  # recipe of raw features, which need not name it
KNOWN = ("visual", "colour", "audio", "dialogue")  # modalities that rows are made of
_UNREAD = ("motion",)  # modalities that raw features may have besides
_WIDTHS = {**dict.fromkeys(KNOWN, neighbours.WIDTH), "pictures": neighbours.TOGETHER_WIDTH}
MODALITIES = (*(Modality(n, w + rhythm.WIDTH) for n, w in _WIDTHS.items()), Modality("rhythm", rhythm.WIDTH))


def rows_of(features: Features) -> Features:
    """Rows of a whole film's raw features: float32 (shots, width) of each of ``MODALITIES``, with times and labels.

    Raises:
        FeatureError: rows or features of another recipe, no modality of ``KNOWN``, or one that is unknown.
    """
    stream = ShotRows()
    parts = [part for part in (stream.push(features), stream.finish()) if part is not None]
    rows = {m.name: np.concatenate([part.modalities[m.name] for part in parts]) for m in MODALITIES}
    return Features(rows, features.times, features.time_base, features.labels, RECIPE)


def prepared(features: Features, recipe: str | None) -> Features:
    """Features as a model of this recipe reads them: rows of raw ones where the recipe is ``RECIPE``.

    Raises:
        FeatureError: as ``rows_of``.
    """
    return rows_of(features) if recipe == RECIPE and features.recipe in (None, RAW) else features


def is_raw(features: Features) -> bool:
    """Whether features are raw ones of a film's shots, of any widths and whoever made them."""
    return features.recipe in (None, RAW) and set(features.modalities) <= {*KNOWN, *_UNREAD}


class ShotRows:
    """``rows_of`` for a film whose shots come one by one: every push has the same modalities, times in all or none."""

    def __init__(self) -> None:
        self._kept: Features | None = None  # shots from ``_first`` on
        self._first = self._done = 0  # number of the first shot kept, and of the next row

    def push(self, features: Features) -> Features | None:
        """The film's next shots, one or more; gives the rows that have become known, or None.

        Raises:
            FeatureError: as ``rows_of``, or shots unlike those before; the stream is as before.
        """
        check_raw(features)
        self._kept = features if self._kept is None else _joined(self._kept, features)
        return self._rows(self._first + self._kept.num_shots - HALF)

    def finish(self) -> Features | None:
        """The film ends here: the rows of its last shots."""
        return None if self._kept is None else self._rows(self._first + self._kept.num_shots)

    def _rows(self, end: int) -> Features | None:
        kept, begin = self._kept, self._done
        if kept is None or end <= begin:
            return None
        gaps, shots = range(begin, end), range(self._first, self._first + kept.num_shots)
        own = range(begin - self._first, end - self._first)  # of what is kept
        given = {name: array for name, array in kept.modalities.items() if name in KNOWN}
        found = neighbours.similarity_rows(given, own)
        there = np.stack([found[n][:, 0] > 0 if n in found else np.zeros(len(gaps), bool) for n in KNOWN], axis=1)
        beat = rhythm.rhythm_rows(kept.times, float(kept.time_base or 0), there, shots, gaps)
        rows = {m.name: np.zeros((len(gaps), m.feature_size), np.float32) for m in MODALITIES if m.name in _WIDTHS}
        for name, similarities in found.items():
            rows[name][:] = np.where(similarities[:, :1] > 0, np.hstack([similarities, beat]), 0)
        times = None if kept.times is None else kept.times[own.start : own.stop]
        labels = None if kept.labels is None else kept.labels[own.start : own.stop]
        result = Features({**rows, "rhythm": beat}, times, kept.time_base, labels, RECIPE)
        self._done = end
        self._forget(end - HALF)
        return result

    def _forget(self, first: int) -> None:
        """Drop the shots before ``first``, which no later row sees."""
        if self._kept is not None and first > self._first:
            self._kept = _from(self._kept, first - self._first)
            self._first = first


def check_raw(features: Features) -> None:
    """Check that rows can be made of features.

    Raises:
        FeatureError: another recipe, no modality of ``KNOWN``, one that is unknown, or ids.
    """
    if features.recipe not in (None, RAW):
        raise FeatureError(f"recipe: expected raw features ({RAW} or none), got {features.recipe!r}")
    names = list(features.modalities)
    if not set(names) & set(KNOWN) or set(names) - {*KNOWN, *_UNREAD}:
        raise FeatureError(f"features: expected some of the modalities {', '.join(KNOWN)}, got {', '.join(names)}")
    for name, array in features.modalities.items():
        if array.dtype == np.int32:
            raise FeatureError(f"{name}: expected float32 or float16, got int32 ids")


def _joined(kept: Features, new: Features) -> Features:
    """Shots and those after them.

    Raises:
        FeatureError: other modalities or widths, times in one of both only, or times before those that came.
    """
    if _shape(kept) != _shape(new):
        raise FeatureError(f"features: expected shots like those before ({_shape(kept)}), got {_shape(new)}")
    arrays = {name: np.concatenate([array, new.modalities[name]]) for name, array in kept.modalities.items()}
    times = labels = None
    if kept.times is not None and new.times is not None:
        times = np.concatenate([kept.times, new.times])
        check_times(times, kept.time_base, len(times))
    if kept.labels is not None and new.labels is not None:
        labels = np.concatenate([kept.labels, new.labels])
    return Features(arrays, times, kept.time_base, labels, kept.recipe)


def _shape(features: Features) -> Mapping[str, object]:
    widths: dict[str, object] = {name: array.shape[1] for name, array in sorted(features.modalities.items())}
    return {**widths, "time_base": features.time_base if features.times is not None else None}


def _from(features: Features, first: int) -> Features:
    arrays = {name: array[first:].copy() for name, array in features.modalities.items()}
    times = None if features.times is None else features.times[first:]
    labels = None if features.labels is None else features.labels[first:]
    return Features(arrays, times, features.time_base, labels, features.recipe)
