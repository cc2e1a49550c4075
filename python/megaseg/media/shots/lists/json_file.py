"""``.json``: shots with frames and seconds, and how the film counts time."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from megaseg.errors import FeatureError
from megaseg.media.shots.lists.clock import FilmClock


def read(text: str, film: FilmClock) -> NDArray[np.int64]:
    """Shots (n, 2) of ``{"shots": [{"first": 0, "last": 99}, ...]}``; other members are not needed.

    Raises:
        FeatureError: another structure.
    """
    try:
        document = json.loads(text)
        spans = [(shot["first"], shot["last"]) for shot in document["shots"]]
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        raise FeatureError('expected {"shots": [{"first": 0, "last": 99}, ...]}') from error
    if not all(type(frame) is int and abs(frame) < 2**53 for span in spans for frame in span):
        raise FeatureError("shots: expected integers as first and last")
    return np.array(spans, np.int64).reshape(-1, 2)


def write(shots: NDArray[np.int64], film: FilmClock) -> str:
    document = {
        "frames": film.frames,
        "frame_rate": str(film.rate),
        "time_base": list(film.time_base.as_integer_ratio()),
        "shots": [
            {
                **{"first": first, "last": last},
                **{"start": film.seconds(first), "end": film.seconds(last + 1)},
                **{"start_tick": int(film.ticks[first]), "end_tick": int(film.ticks[last + 1])},
            }
            for first, last in shots.tolist()
        ],
    }
    return json.dumps(document, indent=1) + "\n"
