"""Small films for tests, written with PyAV: every stream, codec and time stamp as a test asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 64, 48
Pictures = Iterable[NDArray[np.uint8]]


@dataclass(frozen=True)
class Tone:
    """A track of sound: samples (channels, n)."""

    samples: NDArray[np.float32]
    rate: int = 48_000
    layout: str = "mono"
    codec: str = "aac"
    start: float = 0.0  # seconds
    language: str | None = None
    default: bool = True


@dataclass(frozen=True)
class Look:
    """How the pictures are stored."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    rate: Fraction | int = 24
    time_base: Fraction | None = None  # by default one frame
    stamps: Sequence[int] | None = None  # of each frame, in units of the time base
    turned: int = 0  # degrees, counterclockwise
    options: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    colour: dict[str, int] = field(default_factory=dict)  # attributes of the codec's context


def shots(count: int, length: int = 12, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Iterator[NDArray[np.uint8]]:
    """``count`` pictures (height, width, 3), of another colour and drift every ``length``."""
    rows, columns = size
    down, across = np.mgrid[:rows, :columns]
    for number in range(count):
        shot = np.random.default_rng(number // length)
        base, slope, speed = shot.integers(30, 200, 3), shot.integers(-60, 60, (2, 3)), shot.integers(1, 4)
        moved = (across + speed * number) % max(columns, 1)
        yield np.clip(base + down[..., None] / rows * slope[0] + moved[..., None] / columns * slope[1], 0, 255).astype(
            np.uint8
        )


def flat(levels: Iterable[int], size: tuple[int, int] = (HEIGHT, WIDTH)) -> Iterator[NDArray[np.uint8]]:
    """Pictures of one grey level each."""
    for level in levels:
        yield np.full((*size, 3), level, np.uint8)


def beeps(seconds: float, *, rate: int = 48_000, channels: int = 1) -> NDArray[np.float32]:
    """Samples (channels, n): a tone in every second half second."""
    time = np.arange(int(seconds * rate)) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * time) * (time % 1 < 0.5)).astype(np.float32)
    return np.repeat(tone[None], channels, axis=0)


def write_film(
    path: Path,
    pictures: Pictures,
    look: Look = Look(),
    *,
    sound: Sequence[Tone] = (),
    lines: Sequence[tuple[float, float, str]] = (),
) -> Path:
    """Write a film; its format is that of the name's ending."""
    ahead = len(sound) * (int(48_000 / 1024 / look.rate) + 1)  # packets of sound that are written after each picture
    with av.open(str(path), "w", options=look.muxer) as container:
        video: Any = None
        tracks = [_track(container, tone) for tone in sound]
        text = _text_track(container) if lines else None
        waiting = _sound_packets(tracks, sound)
        stamps = iter(look.stamps) if look.stamps is not None else None
        for number, picture in enumerate(pictures):
            if video is None:
                video = _video(container, look, picture.shape)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24" if picture.ndim == 3 else "gray")
            frame = frame.reformat(format=look.pix_fmt)
            frame.pts = number if stamps is None else next(stamps)
            frame.time_base = video.codec_context.time_base
            container.mux(video.encode(frame))
            container.mux(list(islice(waiting, ahead)))
        if video is not None:
            container.mux(video.encode(None))
        container.mux(list(waiting))
        for packet in _lines(text, lines):
            container.mux(packet)
    return path


def _video(container: Any, look: Look, shape: tuple[int, ...]) -> Any:
    stream = container.add_stream(look.codec, rate=look.rate, options=look.options)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = look.pix_fmt
    stream.codec_context.time_base = look.time_base or Fraction(1) / look.rate
    for name, value in look.colour.items():
        setattr(stream.codec_context, name, value)
    if look.turned:
        stream.set_display_rotation(look.turned)
    return stream


def _track(container: Any, tone: Tone) -> Any:
    stream = container.add_stream(tone.codec, rate=tone.rate, layout=tone.layout)
    if tone.language:
        stream.metadata["language"] = tone.language
    stream.disposition = int(tone.default)
    return stream


def _sound_packets(tracks: Sequence[Any], sound: Sequence[Tone]) -> Iterator[Any]:
    return (packet for packets in zip(*map(_encoded, tracks, sound), strict=False) for packet in packets)


def _encoded(stream: Any, tone: Tone) -> Iterator[Any]:
    kind = stream.codec_context.format.name
    resampler = av.AudioResampler(format=kind, layout=tone.layout, rate=tone.rate)
    for begin in range(0, tone.samples.shape[1], 1024):
        block = np.ascontiguousarray(tone.samples[:, begin : begin + 1024])
        frame = av.AudioFrame.from_ndarray(block, "fltp", tone.layout)
        frame.sample_rate, frame.time_base = tone.rate, Fraction(1, tone.rate)
        frame.pts = begin + round(tone.start * tone.rate)
        for converted in resampler.resample(frame):
            yield from stream.encode(converted)
    yield from stream.encode(None)


def _text_track(container: Any) -> Any:
    stream = container.add_stream("subrip")
    stream.codec_context.subtitle_header = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Text\n"
    return stream


def _lines(stream: Any, lines: Sequence[tuple[float, float, str]]) -> Iterator[Any]:
    for begin, end, text in lines:
        packet = av.Packet(text.encode())
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = round(begin * 1000)
        packet.duration = round((end - begin) * 1000)
        yield packet
