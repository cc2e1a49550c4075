"""Decoded frames made small: points of their planes for every frame, scaled pictures for some."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from megaseg.media.container import rotation
from megaseg.media.measures import CHROMA, LUMA, PICTURE, SmallFrames

_FULL_RANGE = 2  # libavutil: luma 0 to 255 instead of 16 to 235
_HD_ROWS = 576  # frames of more rows are BT.709 where the file does not say
_UNSPECIFIED = 2  # libavutil: unknown colour space
_DEPTHS = {"": 8, "9le": 9, "10le": 10, "12le": 12, "14le": 14, "16le": 16}
# Bits of a sample in formats whose luma, Cb and Cr (or luma alone) are planes of their own; alpha is left out.
_PLANAR = {
    **{f"{kind}{end}": bits for kind in ("yuv420p", "yuv422p", "yuv444p", "gray") for end, bits in _DEPTHS.items()},
    **{f"{kind}{end}": bits for kind in ("yuva420p", "yuva422p", "yuva444p") for end, bits in _DEPTHS.items()},
    **dict.fromkeys(("yuvj420p", "yuvj422p", "yuvj444p", "nv12"), 8),
}
_LIMITED_LUMA = np.clip(np.rint(16 + np.arange(256) * (219 / 255)), 0, 255).astype(np.uint8)
_LIMITED_CHROMA = np.clip(np.rint(128 + (np.arange(256) - 128) * (224 / 255)), 0, 255).astype(np.uint8)


class Sampler:
    """Small frames of frames: points of the planes as they are stored, turned as the frame is shown."""

    def __init__(self) -> None:
        self._points: dict[tuple[int, ...], NDArray[np.intp]] = {}
        self._scaler: Any = None

    def sample(self, frame: Any, luma: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> None:
        """Write ``luma`` (108, 192) and ``chroma`` (2, 54, 96) of a frame of any format."""
        turns = rotation(frame)
        if frame.format.name not in _PLANAR or any(plane.line_size <= 0 for plane in frame.planes):
            frame = self._scaled(frame, turns)
        name, planes = frame.format.name, frame.planes
        bits = _PLANAR[name]
        self._plane(planes[0], LUMA, turns, bits, luma)
        if name == "nv12":
            for part in (0, 1):
                self._plane(planes[1], CHROMA, turns, bits, chroma[part], every=2, first=part)
        elif len(planes) < 3:
            chroma[:] = 128
        else:
            for part in (0, 1):
                self._plane(planes[part + 1], CHROMA, turns, bits, chroma[part])
        if frame.color_range == _FULL_RANGE or name.startswith(("yuvj", "gray")):  # libav's gray is of full range
            luma[:] = _LIMITED_LUMA[luma]
            chroma[:] = _LIMITED_CHROMA[chroma]

    def _plane(
        self,
        plane: Any,
        size: tuple[int, int],
        turns: int,
        bits: int,
        out: NDArray[np.uint8],
        every: int = 1,
        first: int = 0,
    ) -> None:
        """``out`` (rows, columns) of one plane whose samples are ``every`` units apart, from unit ``first``."""
        data = np.frombuffer(plane, np.uint8 if bits == 8 else "<u2")
        stride = plane.line_size // data.itemsize
        key = (plane.height, plane.width, stride, turns, every, first, *size)
        points = self._points.get(key)
        if points is None:
            points = self._points[key] = _points(plane.height, plane.width, stride, turns, size) * every + first
        if bits == 8:
            data.take(points, out=out, mode="clip")
        else:
            out[:] = np.minimum(data.take(points) >> (bits - 8), 255)

    def _scaled(self, frame: Any, turns: int) -> Any:
        from av.video.reformatter import VideoReformatter

        if self._scaler is None:
            self._scaler = VideoReformatter()
        rows, columns = LUMA if turns % 2 == 0 else LUMA[::-1]
        return self._scaler.reformat(
            frame, columns, rows, "yuv420p", interpolation="POINT", dst_color_range="MPEG", threads=1
        )


def _points(height: int, width: int, stride: int, turns: int, size: tuple[int, int]) -> NDArray[np.intp]:
    """Where in a plane the points of a grid lie that is spread over the frame as shown."""
    rows, columns = size if turns % 2 == 0 else size[::-1]
    down = (2 * np.arange(rows) + 1) * height // (2 * rows)
    across = (2 * np.arange(columns) + 1) * width // (2 * columns)
    return np.ascontiguousarray(np.rot90(down[:, None] * stride + across, turns)).astype(np.intp)


class Scaler:
    """RGB pictures of frames, scaled to any size and turned as the frame is shown."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._scaler = VideoReformatter()

    def picture(self, frame: Any, height: int = PICTURE, width: int = PICTURE) -> NDArray[np.uint8]:
        """Picture (height, width, 3) of a frame."""
        turns = rotation(frame)
        rows, columns = (height, width) if turns % 2 == 0 else (width, height)
        space = frame.colorspace
        if space == _UNSPECIFIED and frame.height > _HD_ROWS:
            space = 1
        rgb = self._scaler.reformat(
            frame, columns, rows, "rgb24", src_colorspace=space, interpolation="AREA", threads=1
        )
        return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), turns))


class Ring:
    """The latest small frames of a film, by their number in it."""

    def __init__(self, size: int, first: int = 0) -> None:
        """``size`` frames are kept; ``first`` is the number of the first that comes."""
        self._luma = np.empty((size, *LUMA), np.uint8)
        self._chroma = np.empty((size, 2, *CHROMA), np.uint8)
        self._sampler = Sampler()
        self._first = first
        self.count = first  # the number of the next frame

    def push(self, frame: Any) -> None:
        """Add one frame."""
        slot = self.count % len(self._luma)
        self._sampler.sample(frame, self._luma[slot], self._chroma[slot])
        self.count += 1

    def latest(self) -> NDArray[np.uint8]:
        """Luma of the latest frame: a view, until so many frames have come as are kept."""
        luma: NDArray[np.uint8] = self._luma[(self.count - 1) % len(self._luma)]
        return luma

    def window(self, first: int, last: int) -> SmallFrames:
        """Frames ``first`` to ``last``, that one left out; where the film has none they repeat its first or last."""
        slots = np.clip(np.arange(first, last), self._first, self.count - 1) % len(self._luma)
        return SmallFrames(self._luma[slots], self._chroma[slots])
