"""Films of drawn, moving pictures with known edits: cuts, dissolves, fades through black, wipes, and flashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, RATE = 320, 180, 24
EDITS = ("cut", "dissolve", "fade", "wipe")
LENGTHS = {"cut": (0, 1), "dissolve": (8, 33), "fade": (16, 49), "wipe": (8, 25)}  # frames of a transition, from and to
LONGEST = 200  # frames of a shot with its transitions


@dataclass(frozen=True)
class Edits:
    """First and last frame (n, 2) of each transition; at a cut the last frame of one shot and the first of the next."""

    frames: int
    transitions: np.ndarray


class Shot:
    """A place with a slow pan, sprites that cross it, the camera's noise and now and then a flash."""

    def __init__(self, random: np.random.Generator, *, flash: bool) -> None:
        self.random = random
        self.light = random.uniform(0.35, 1.0)
        base = random.uniform(20, 235, 3)
        coarse = np.clip(base + random.normal(0, 35, (5, 14, 3)), 0, 255)
        fine = random.normal(0, 14, (45, 128, 1))
        self.pan = random.choice([0.0, 0.0, 0.5, 1.5, 3.0])
        width = WIDTH + round(self.pan * LONGEST)
        self.place = _enlarged(coarse, HEIGHT, width) + _enlarged(fine, HEIGHT, width)
        self.sprites = [
            (random.uniform(0, (HEIGHT, WIDTH)), random.normal(0, 2.5, 2), random.uniform(12, 55, 2), _colour(random))
            for _ in range(random.integers(1, 5))
        ]
        self.flash = int(random.integers(12, 30)) if flash else -2

    def frame(self, number: int) -> np.ndarray:
        """Picture (height, width, 3) as float."""
        shift = round(self.pan * number)
        picture = self.place[:, shift : shift + WIDTH].copy()
        rows, columns = np.ogrid[:HEIGHT, :WIDTH]
        for begin, speed, size, colour in self.sprites:
            row, column = begin + speed * number
            inside = ((rows - row) / size[0]) ** 2 + ((columns - column) / size[1]) ** 2 < 1
            picture[inside] = colour
        picture = picture * self.light + self.random.normal(0, 2.5, (HEIGHT, WIDTH, 1))
        return picture * 0.2 + 200 if number in (self.flash, self.flash + 1) else picture


def _colour(random: np.random.Generator) -> np.ndarray:
    return random.uniform(0, 255, 3)


def _enlarged(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Bilinear enlargement (rows, columns, channels)."""
    for axis, size in enumerate((rows, columns)):
        at = np.linspace(0, picture.shape[axis] - 1, size)
        low = np.minimum(at.astype(int), picture.shape[axis] - 2)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        picture = picture.take(low, axis) * (1 - share) + picture.take(low + 1, axis) * share
    return picture


def mixed(edit: str, share: float, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """One frame of a transition, of which ``share`` (0 to 1) is done."""
    if edit == "dissolve":
        return before * (1 - share) + after * share
    if edit == "fade":
        return (before if share < 0.5 else after) * min(abs(1 - 2 * share) * 1.25, 1)
    edge = round(share * WIDTH)
    return np.concatenate([after[:, :edge], before[:, edge:]], 1)


def write_film(path: Path, edit: str, shots: int, seed: int) -> Edits:
    """Write a film whose shots of 1.5 to 4 seconds are joined by one kind of edit; what was written."""
    random = np.random.default_rng(seed)
    transitions: list[tuple[int, int]] = []
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        count = 0
        for picture in _pictures(random, edit, shots, transitions):
            frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base, count = count, Fraction(1, RATE), count + 1
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return Edits(count, np.array(transitions))


def _pictures(
    random: np.random.Generator, edit: str, shots: int, transitions: list[tuple[int, int]]
) -> Iterator[np.ndarray]:
    shot, number, done = Shot(random, flash=False), 0, 0
    for remaining in reversed(range(shots)):
        for _ in range(random.integers(36, 96)):
            yield shot.frame(number)
            number, done = number + 1, done + 1
        if not remaining:
            return
        following, length = Shot(random, flash=random.random() < 0.2), int(random.integers(*LENGTHS[edit]))
        for step in range(length):
            yield mixed(edit, (step + 1) / (length + 1), shot.frame(number + step), following.frame(step))
        transitions.append((done - 1, done + length))
        shot, number, done = following, length, done + length


def f1(found: np.ndarray, transitions: np.ndarray, tolerance: int = 2) -> float:
    """F1 of first frames of shots: one hits a transition from its beginning to its end, each at most once."""
    free = np.ones(len(found), bool)
    hits = 0
    for first, last in transitions:
        near = np.flatnonzero(free & (found > first - tolerance) & (found <= last + tolerance))
        if len(near):
            free[near[0]] = False
            hits += 1
    return 2 * hits / max(len(found) + len(transitions), 1)
