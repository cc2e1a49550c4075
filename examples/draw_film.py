"""Draw a short film of our own, the story of ``lighthouse.fountain`` and its end: pictures, sound, subtitles.

    python examples/draw_film.py lighthouse.mp4

Five scenes in 28 shots, 75 s: set-ups that recur, cuts, a dissolve, night and day, waves, wind and voices, and a
``.srt`` beside the film. Needs the extra ``video``. Everything is drawn here, so that the film may go anywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE, SAMPLES = 384, 216, 24, 48_000
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) / HEIGHT  # 0 to 1 down, 0 to 1.78 across
SOFT = 1.5 / HEIGHT  # width of an edge
Picture = NDArray[np.float32]  # (height, width, 3), 0 to 255
Colour = tuple[int, int, int]
Part = tuple[slice, slice]
NIGHT, DAWN, DUSK = ((6, 10, 26), (22, 32, 62)), ((150, 160, 178), (232, 206, 178)), ((58, 40, 92), (236, 128, 74))


def within(left: float, top: float, right: float, bottom: float) -> Part:
    """Rows and columns of a rectangle and the edge around it."""
    rows, columns = ((low * HEIGHT - 2, high * HEIGHT + 3) for low, high in ((top, bottom), (left, right)))
    return slice(*(max(0, int(at)) for at in rows)), slice(*(max(0, int(at)) for at in columns))


WHOLE = within(0, 0, 2, 1)


def paint(
    picture: Picture, mask: NDArray[np.float32], colour: Colour, strength: float = 1.0, part: Part = WHOLE
) -> None:
    """Lay a colour over a part of a picture where its mask (height, width) of 0 to 1 is."""
    own = picture[part]
    own += (strength * mask)[..., None] * (np.array(colour, np.float32) - own)


def edge(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mask of where a signed distance is negative."""
    return np.clip(0.5 - distance / SOFT, 0, 1)


def sky(colours: tuple[Colour, Colour]) -> Picture:
    """A gradient from the top's colour to the bottom's."""
    top, bottom = (np.array(colour, np.float32) for colour in colours)
    return np.ascontiguousarray(top + np.clip(Y, 0, 1)[..., None] * (bottom - top))


def disc(picture: Picture, x: float, y: float, radius: float, colour: Colour, strength: float = 1.0) -> None:
    """A filled circle."""
    part = within(x - radius, y - radius, x + radius, y + radius)
    paint(picture, edge(np.hypot(X[part] - x, Y[part] - y) - radius), colour, strength, part)


def box(picture: Picture, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """A filled rectangle."""
    part = within(left, top, right, bottom)
    x, y = X[part], Y[part]
    paint(
        picture, edge(np.maximum(np.maximum(left - x, x - right), np.maximum(top - y, y - bottom))), colour, part=part
    )


def wedge(
    picture: Picture, top: tuple[float, float, float], bottom: tuple[float, float, float], colour: Colour
) -> None:
    """A trapezium between two level lines, each (height, middle, half width)."""
    most = max(top[2], bottom[2])
    part = within(min(top[1], bottom[1]) - most, top[0], max(top[1], bottom[1]) + most, bottom[0])
    share = (Y[part] - top[0]) / (bottom[0] - top[0])
    middle, half = top[1] + share * (bottom[1] - top[1]), top[2] + share * (bottom[2] - top[2])
    paint(picture, edge(np.maximum(np.abs(X[part] - middle) - half, np.maximum(-share, share - 1))), colour, part=part)


def sea(picture: Picture, time: float, level: float, colour: Colour, swell: float = 0.02) -> None:
    """Four rows of waves, each nearer, darker and higher than the one behind."""
    for row in range(4):
        near = row / 3
        wave = level + (1 - level) * near * 0.7
        part = within(0, wave - 1.5 * swell, 2, 1)
        height = swell * (0.4 + near)
        crest = wave + height * np.sin(9 * X[:1] / (0.5 + near) + (1.2 + row) * time + 2 * row)
        shade = tuple(int(value * (1.15 - 0.3 * near)) for value in colour)
        paint(picture, edge(crest - Y[part]), shade, part=part)  # type: ignore[arg-type]


def rain(picture: Picture, time: float, random: np.random.Generator) -> None:
    """Slanted drops, new ones in every frame."""
    for x, y in random.uniform((0, -0.1), (1.78, 1), (26, 2)):
        part = within(x - 0.03, y, x, y + 0.09)
        along, down = X[part] - x + 0.25 * (Y[part] - y), Y[part]
        drop = edge(np.maximum(np.abs(along) - 0.0012, np.maximum(y - down, down - y - 0.09)))
        paint(picture, drop, (150, 165, 190), 0.5, part)


def tower(picture: Picture, x: float, lit: float, time: float) -> None:
    """The lighthouse on its rock; ``lit`` is how bright its turning beam is."""
    wedge(picture, (0.72, x, 0.12), (1.0, x, 0.42), (34, 34, 40))
    for part in range(5):
        top, bottom = 0.3 + 0.09 * part, 0.39 + 0.09 * part
        colour = (190, 60, 52) if part % 2 else (222, 216, 204)
        wedge(picture, (top, x, 0.05 + 0.006 * part), (bottom, x, 0.056 + 0.006 * part), colour)
    box(picture, x - 0.045, 0.22, x + 0.045, 0.3, (250, 226, 150) if lit else (44, 46, 54))
    wedge(picture, (0.15, x, 0.004), (0.22, x, 0.06), (120, 36, 34))
    if lit:
        slope = 0.5 * np.sin(0.9 * time)
        for side in (-1, 1):
            reach = side * (X - x)
            width = 0.03 + 0.14 * np.clip(reach, 0, None)
            beam = edge(np.abs(Y - 0.26 - slope * reach) - width) * np.clip(1 - reach / 1.3, 0, 1) * (reach > 0.04)
            paint(picture, beam, (255, 240, 180), 0.55 * lit)


def person(picture: Picture, x: float, y: float, size: float, coat: Colour, hair: Colour, time: float) -> None:
    """Head and shoulders; the mouth moves."""
    wedge(picture, (y + 0.62 * size, x, 0.35 * size), (y + 2.4 * size, x, 1.1 * size), coat)
    disc(picture, x, y - 0.06 * size, 0.56 * size, hair)
    disc(picture, x, y, 0.5 * size, (226, 178, 146))
    for side in (-1, 1):
        disc(picture, x + side * 0.18 * size, y - 0.08 * size, 0.05 * size, (40, 34, 34))
    mouth = size * (0.03 + 0.04 * abs(np.sin(7 * time)))
    part = within(x - size, y, x + size, y + size)
    paint(picture, edge(np.hypot((X[part] - x) * 0.5, Y[part] - y - 0.24 * size) - mouth), (136, 62, 58), part=part)


def boat(picture: Picture, x: float, y: float, size: float, hull: Colour, time: float) -> None:
    """A fishing boat that rocks."""
    y = y + 0.012 * np.sin(2 * time + 5 * x)
    wedge(picture, (y, x, size), (y + 0.28 * size, x, 0.7 * size), hull)
    box(picture, x - 0.35 * size, y - 0.4 * size, x + 0.1 * size, y, (220, 214, 200))
    box(picture, x + 0.3 * size, y - 1.1 * size, x + 0.33 * size, y, (70, 54, 44))


def tower_by(colours: tuple[Colour, Colour], water: Colour, lit: float, storm: bool) -> Callable[..., Picture]:
    """The lighthouse from the sea at an hour."""

    def draw(time: float, random: np.random.Generator) -> Picture:
        picture = sky(colours)
        sea(picture, time, 0.74, water, 0.04 if storm else 0.02)
        tower(picture, 1.2, lit, time)
        if storm:
            rain(picture, time, random)
        return picture

    return draw


def lamp_room(wall: Colour, lamp: Colour, storm: bool) -> Callable[..., Picture]:
    """The room under the lamp: windows, a clock on a table."""

    def draw(time: float, random: np.random.Generator) -> Picture:
        picture = sky((wall, tuple(int(0.6 * value) for value in wall)))  # type: ignore[arg-type]
        for left in (0.15, 0.75, 1.35):
            box(picture, left, 0.12, left + 0.3, 0.5, (20, 28, 52) if storm else (214, 130, 92))
        if storm:
            rain(picture, time, random)
        box(picture, 0.3, 0.74, 1.5, 0.8, (84, 56, 36))
        disc(picture, 0.88, 0.62, 0.11, (196, 158, 74))
        disc(picture, 0.88, 0.62, 0.085, (240, 230, 206))
        for angle, length in ((0.4 * time, 0.07), (4.8 * time, 0.05)):
            tip = np.array([0.88 + length * np.sin(angle), 0.62 - length * np.cos(angle)])
            disc(picture, float(tip[0]), float(tip[1]), 0.012, (50, 40, 36))
        disc(picture, 1.45, 0.66, 0.05, lamp)
        return picture

    return draw


def portrait(
    back: tuple[Colour, Colour], coat: Colour, hair: Colour, at: float, water: Colour | None = None
) -> Callable[..., Picture]:
    """Somebody who speaks, before the room's or the harbour's colours."""

    def draw(time: float, random: np.random.Generator) -> Picture:
        picture = sky(back)
        if water:
            sea(picture, time, 0.6, water)
        person(picture, at + 0.01 * np.sin(time), 0.42, 0.34, coat, hair, time)
        return picture

    return draw


def harbour(time: float, random: np.random.Generator) -> Picture:
    """Boats before the pier at dawn."""
    picture = sky(DAWN)
    for x, height in ((0.1, 0.2), (0.32, 0.3), (0.6, 0.24)):
        box(picture, x, 0.5 - height, x + 0.2, 0.55, (150, 132, 124))
        wedge(picture, (0.42 - height, x + 0.1, 0.01), (0.5 - height, x + 0.1, 0.13), (142, 84, 70))
    sea(picture, time, 0.55, (96, 122, 138))
    for x, y, hull in ((0.35, 0.68, (160, 58, 48)), (0.95, 0.74, (52, 92, 128)), (1.45, 0.7, (206, 170, 72))):
        boat(picture, x, y, 0.17, hull, time)  # type: ignore[arg-type]
    return picture


def nets(time: float, random: np.random.Generator) -> Picture:
    """One boat from near."""
    picture = sky(((170, 176, 186), (214, 200, 186)))
    sea(picture, time, 0.5, (88, 116, 132), 0.03)
    boat(picture, 0.85, 0.55, 0.55, (52, 92, 128), time)
    return picture


def hall(time: float, random: np.random.Generator) -> Picture:
    """The town hall, full of people."""
    picture = sky(((126, 84, 46), (88, 56, 34)))
    for left in (0.2, 0.8, 1.4):
        box(picture, left, 0.08, left + 0.2, 0.45, (246, 226, 170))
    for row in range(3):
        for seat in range(9):
            x, y = 0.1 + 0.2 * seat + 0.1 * (row % 2), 0.66 + 0.14 * row + 0.008 * np.sin(3 * time + seat + row)
            coat = ((92, 44, 40), (50, 62, 80), (70, 74, 48))[(seat + row) % 3]
            disc(picture, x, y, 0.05, (206, 164, 134))
            wedge(picture, (y + 0.05, x, 0.04), (y + 0.3, x, 0.1), coat)  # type: ignore[arg-type]
    return picture


def open_sea(time: float, random: np.random.Generator) -> Picture:
    """The boats come home by the light."""
    picture = sky(NIGHT)
    sea(picture, time, 0.5, (26, 44, 74), 0.03)
    boat(picture, 0.4 + 0.02 * time, 0.62, 0.2, (160, 58, 48), time)
    boat(picture, 1.1 + 0.02 * time, 0.7, 0.24, (52, 92, 128), time)
    paint(picture, edge(np.abs(Y - 0.3 - 0.2 * np.sin(0.9 * time)) - 0.05), (255, 240, 180), 0.4)
    return picture


STORM = tower_by(NIGHT, (24, 36, 64), 0.0, True)
ROOM = lamp_room((40, 42, 56), (90, 84, 70), True)
MARA = portrait(((36, 38, 52), (22, 24, 36)), (78, 40, 52), (170, 170, 176), 0.7)
TOM = portrait(DAWN, (44, 70, 96), (92, 58, 34), 1.1, (96, 122, 138))
FISHER = portrait(((176, 182, 192), (206, 192, 180)), (196, 166, 60), (60, 50, 44), 0.6, (88, 116, 132))
MAYOR = portrait(((118, 78, 44), (92, 58, 36)), (34, 32, 38), (120, 112, 104), 0.9)
SPEAKER = portrait(((132, 90, 50), (80, 50, 32)), (78, 40, 52), (170, 170, 176), 0.6)
EVENING = tower_by(DUSK, (96, 66, 92), 0.9, False)
EVENING_ROOM = lamp_room((150, 96, 70), (255, 236, 170), False)
KEEPERS = portrait(((168, 104, 74), (110, 66, 52)), (78, 40, 52), (170, 170, 176), 1.0)
BEAM = tower_by(NIGHT, (26, 44, 74), 1.0, False)


@dataclass(frozen=True)
class Shot:
    """A set-up for some seconds, what is said in it, and how much of it fades into the next shot."""

    draw: Callable[..., Picture]
    seconds: float
    line: str = ""
    dissolve: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Shots at one place and hour, and how loud wind, waves and voices are there."""

    name: str
    shots: tuple[Shot, ...]
    wind: float
    waves: float
    voices: float


FILM = (
    Scene("the lamp is dark", (
        Shot(STORM, 3.0), Shot(ROOM, 2.5), Shot(MARA, 3.0, "Every night at nine. Every night for forty years."),
        Shot(STORM, 2.0), Shot(ROOM, 2.0), Shot(MARA, 2.5, "And tonight you refuse."), Shot(STORM, 2.5),
    ), 0.3, 0.12, 0.0),
    Scene("the harbour", (
        Shot(harbour, 3.0), Shot(TOM, 2.5, "The light went out! Did anybody see it?"),
        Shot(FISHER, 2.5, "Storm took the line."), Shot(nets, 2.5), Shot(TOM, 2.0, "Then who goes up there?"),
        Shot(FISHER, 2.0, "Ask the mayor."), Shot(harbour, 2.5),
    ), 0.06, 0.2, 0.0),
    Scene("the town hall", (
        Shot(hall, 3.0), Shot(MAYOR, 2.5, "Order! One at a time, please."), Shot(hall, 2.0),
        Shot(SPEAKER, 3.0, "Give me wire and two good hands."), Shot(MAYOR, 2.5, "You shall have them by noon."),
        Shot(hall, 3.0, dissolve=1.0),
    ), 0.0, 0.0, 0.25),
    Scene("the lamp burns", (
        Shot(EVENING, 4.0), Shot(EVENING_ROOM, 2.5), Shot(KEEPERS, 3.0, "There. As if it had only slept."),
        Shot(EVENING_ROOM, 2.5), Shot(EVENING, 2.5),
    ), 0.04, 0.1, 0.0),
    Scene("the boats come home", (Shot(open_sea, 3.5), Shot(BEAM, 2.5), Shot(open_sea, 3.5)), 0.12, 0.25, 0.0),
)  # fmt: skip


def pictures() -> Iterator[Picture]:
    """Every frame of the film; the last second fades to black."""
    random = np.random.default_rng(1)
    shots = [shot for scene in FILM for shot in scene.shots]
    left = sum(round(shot.seconds * RATE) for shot in shots)
    for shot, following in zip(shots, [*shots[1:], None], strict=True):
        count, mixed = round(shot.seconds * RATE), round(shot.dissolve * RATE)
        for frame in range(count):
            picture = shot.draw(frame / RATE, random)
            if following and frame >= count - mixed:
                share = (frame - count + mixed + 1) / (mixed + 1)
                picture += share * (following.draw(0.0, random) - picture)
            left -= 1
            yield picture * min(1.0, left / RATE)


def sound(scene: Scene, random: np.random.Generator) -> NDArray[np.float32]:
    """Samples of a scene: wind and waves are noise that swells, voices tones that come and go."""
    seconds = sum(shot.seconds for shot in scene.shots)
    count = round(seconds * SAMPLES)
    time = np.arange(count, dtype=np.float32) / SAMPLES
    noise = random.standard_normal(count).astype(np.float32)
    sums = np.cumsum(np.pad(noise, (200, 0)))
    low = (sums[200:] - sums[:-200]) / 60  # a low rumble
    out = (
        scene.wind * 0.4 * low * (1 + 0.5 * np.sin(1.3 * time)) + scene.waves * noise * (0.5 + 0.5 * np.sin(time)) ** 2
    )
    for pitch in (110, 147, 196, 233):
        out += 0.3 * scene.voices * np.sin(2 * np.pi * pitch * time) * (np.sin(3.1 * time + pitch) > 0.2)
    begin = 0.0
    for shot in scene.shots:
        own = slice(round(begin * SAMPLES), round((begin + shot.seconds) * SAMPLES))
        if shot.line:
            tone = sum(np.sin(2 * np.pi * pitch * time[own]) / k for k, pitch in enumerate((140, 280, 420, 560), 1))
            out[own] += 0.1 * tone * (np.sin(2 * np.pi * 4 * time[own]) > -0.3)
        begin += shot.seconds
    return np.clip(out, -1, 1).astype(np.float32)


def subtitles() -> str:
    """The film's lines as SubRip text."""
    entries, begin = [], 0.0
    for shot in (shot for scene in FILM for shot in scene.shots):
        if shot.line:
            start, end = (_clock(begin + at) for at in (0.2, shot.seconds - 0.2))
            entries.append(f"{len(entries) + 1}\n{start} --> {end}\n{shot.line}\n")
        begin += shot.seconds
    return "\n".join(entries)


def _clock(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{thousandths:03}"


def write(path: Path) -> None:
    """Write the film, and its subtitles beside it, in a folder that is made where there is none."""
    random = np.random.default_rng(2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", RATE, options={"crf": "26", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = file.add_stream("aac", SAMPLES, layout="mono")
        for picture in pictures():
            frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), "rgb24")
            file.mux(video.encode(frame))
        file.mux(video.encode())
        samples = np.concatenate([sound(scene, random) for scene in FILM])[None]
        for begin in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(samples[:, begin : begin + 1024], "fltp", "mono")
            block.sample_rate, block.pts = SAMPLES, begin
            file.mux(audio.encode(block))
        file.mux(audio.encode())
    path.with_suffix(".srt").write_text(subtitles(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("film", type=Path, help="The .mp4 to write; its .srt comes beside it.")
    write(parser.parse_args().film)
