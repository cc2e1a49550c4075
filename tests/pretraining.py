"""Generated films to pretrain on: scenes of shots that are alike in every modality, each with its own noise."""

from __future__ import annotations

import numpy as np

from megaseg import Features

WIDTHS = {"video": 12, "audio": 9, "language": 10}


def film(seed: int, shots: int = 60, names: tuple[str, ...] = ("video", "audio", "language")) -> Features:
    """A film whose scenes have a direction each; nobody speaks in 4 of 10 shots. Labelled, off centre, out of scale."""
    rng = np.random.default_rng(seed)
    ends = rng.random(shots) < 0.15
    ends[-1] = True
    scene = np.append(0, np.cumsum(ends)[:-1])
    themes = rng.standard_normal((scene[-1] + 1, 6))
    modalities = {}
    for number, (name, width) in enumerate(WIDTHS.items()):
        view = np.random.default_rng(number).standard_normal((6, width))
        rows = (themes[scene] @ view + 0.5 * rng.standard_normal((shots, width))) * 10**number + number
        if name == "language":
            rows[rng.random(shots) < 0.4] = 0
        if name in names:
            modalities[name] = rows.astype(np.float32)
    return Features(modalities, labels=ends.astype(np.uint8), recipe="toy/1")


def plain_film(seed: int, shots: int = 200) -> Features:
    """A film whose shots are nearly the same throughout a scene, in video and in audio; a tenth are boundaries."""
    rng = np.random.default_rng(seed)
    ends = rng.random(shots) < 0.1
    ends[-1] = True
    scene = np.append(0, np.cumsum(ends)[:-1])
    video = rng.standard_normal((scene[-1] + 1, 4))[scene] + 0.05 * rng.standard_normal((shots, 4))
    audio = video @ np.random.default_rng(0).standard_normal((4, 5))
    arrays = {"video": video.astype(np.float32), "audio": audio.astype(np.float32)}
    return Features(arrays, labels=ends.astype(np.uint8))


def with_tokens(movie: Features, counts: int = 3, seed: int = 7) -> Features:
    """The film with up to ``counts`` tokens a shot in place of its language rows."""
    rng = np.random.default_rng(seed)
    rows = movie.modalities["language"]
    shots = np.repeat(np.arange(len(rows)), rng.integers(0, counts + 1, len(rows))).astype(np.int32)
    tokens = rows[shots] + rng.standard_normal((len(shots), rows.shape[1])).astype(np.float32)
    return Features({**movie.modalities, "language": tokens}, token_shots={"language": shots}, recipe=movie.recipe)


def films(count: int = 10) -> dict[str, Features]:
    """Films of 24 to 60 shots, every third without language, every fourth without audio."""
    every = ("video", "audio", "language")
    return {
        f"film{k}": film(k, 24 + 4 * k, tuple(m for m, n in zip(every, (99, 4, 3), strict=True) if k % n or not k))
        for k in range(count)
    }
