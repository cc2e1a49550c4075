"""Small encoded pictures of a film, about one a second and one of every new view, made while it is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGER = 160  # pixels of a thumbnail's longer side
LEAST = 16  # of the shorter one
MOST = 2400  # bytes of a thumbnail: in base64, those of 1,500 shots take less than 5 MB
MIME = "image/webp"
_QUALITIES = (60, 30, 10, 0)  # the first that keeps to MOST
_EFFORT = 2  # of libwebp, 0 to 6: more takes twice the time and saves 8% of the bytes
_EVERY = 1  # seconds from one thumbnail to the next where the view stays the same
_OTHER = 10.0  # mean change of a picture's levels since the last thumbnail that makes another view
_POINTS = 8  # rows and columns from one compared point to the next


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Encoded pictures of a film at increasing ``ticks`` (n,), all of type ``mime`` and one ``size`` (width, height).

    ``size`` is that of the film as it is shown, made small. Without pictures it is (0, 0).
    """

    ticks: NDArray[np.int64]
    pictures: tuple[bytes, ...]
    mime: str = MIME
    size: tuple[int, int] = (0, 0)

    @classmethod
    def none(cls) -> Thumbnails:
        """No pictures."""
        return cls(np.empty(0, np.int64), ())

    @classmethod
    def joined(cls, parts: Sequence[Thumbnails]) -> Thumbnails:
        """Pictures of consecutive parts of a film."""
        ticks = np.concatenate([np.empty(0, np.int64), *(part.ticks for part in parts)])
        pictures = tuple(picture for part in parts for picture in part.pictures)
        return cls(ticks, pictures, size=max((part.size for part in parts), default=(0, 0)))

    def of_shots(self, times: NDArray[np.int64]) -> list[bytes]:
        """The picture nearest to the middle of each shot (shots, 2), in ticks, of those in it; b"" without pictures.

        A shot too short to have one gets the nearest of the film.
        """
        if not self.pictures:
            return [b""] * len(times)
        middles = times.sum(axis=1) // 2
        firsts, ends = np.searchsorted(self.ticks, times, "left").T
        after = np.searchsorted(self.ticks, middles, "left")
        found = []
        for first, end, near, middle in zip(firsts, ends, after, middles, strict=True):
            low, high = (first, end - 1) if end > first else (0, len(self.ticks) - 1)
            before, behind = (int(np.clip(place, low, high)) for place in (near - 1, near))
            later = abs(self.ticks[behind] - middle) < abs(self.ticks[before] - middle)
            found.append(self.pictures[behind if later else before])
        return found


def thumbnail_size(shape: float) -> tuple[int, int]:
    """Width and height, both even, of thumbnails of a film that is ``shape`` times as wide as high."""
    shorter = max(round(LONGER * min(shape, 1 / shape) / 2) * 2, LEAST)
    return (LONGER, shorter) if shape >= 1 else (shorter, LONGER)


def can_encode() -> bool:
    """Whether the codecs that are there write thumbnails."""
    import av

    return "libwebp" in av.codecs_available


class ThumbnailEncoder:
    """Pictures (224, 224, 3) to files of one size; equal pictures give equal bytes."""

    name, width, identity = "thumbnails", LONGER, "webp/1"  # of the cache's key; the identity changes with the bytes

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._codecs: dict[int, Any] = {}

    def encode(self, picture: NDArray[np.uint8]) -> bytes:
        """One picture as a file of at most ``MOST`` bytes, in the best quality that allows it."""
        import av

        width, height = self.size
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame = frame.reformat(width, height, "yuv420p", interpolation="AREA")
        data = b""
        for quality in _QUALITIES:
            frame.pts = 0
            data = b"".join(map(bytes, self._codec(quality).encode(frame)))
            if len(data) <= MOST:
                break
        return data

    def _codec(self, quality: int) -> Any:
        import av

        if quality not in self._codecs:
            codec: Any = av.CodecContext.create("libwebp", "w")
            codec.width, codec.height = self.size
            codec.pix_fmt, codec.time_base, codec.thread_count = "yuv420p", Fraction(1), 1
            codec.options = {"quality": str(quality), "compression_level": str(_EFFORT)}
            self._codecs[quality] = codec
        return self._codecs[quality]


class ThumbnailValues:
    """Thumbnails of a pass; those of each part depend on that part alone."""

    def __init__(self, size: tuple[int, int], time_base: Fraction) -> None:
        """``size`` is that of the parts before; at (0, 0) the first picture decides."""
        self._encoder = ThumbnailEncoder(size) if any(size) else None
        self._every = float(_EVERY / time_base)
        self._view: NDArray[np.int16] | None = None  # points of the picture that became the last thumbnail
        self._ticks: list[int] = []  # of thumbnails that no part has taken yet
        self._pictures: list[bytes] = []

    def push(self, picture: NDArray[np.uint8], tick: int, shape: float) -> None:
        """Look at a picture (224, 224, 3) of a frame that is shown ``shape`` times as wide as high.

        It becomes a thumbnail where its view is new or the last thumbnail is old.
        """
        self._encoder = self._encoder or ThumbnailEncoder(thumbnail_size(shape))
        view = picture[::_POINTS, ::_POINTS].astype(np.int16)
        before = self._view
        if before is None or tick - self._ticks[-1] >= self._every or np.abs(view - before).mean() > _OTHER:
            self._view = view
            self._ticks.append(tick)
            self._pictures.append(self._encoder.encode(picture))

    def close(self) -> None:
        """End a part: the next picture becomes a thumbnail."""
        self._view = None

    def take(self, end: int) -> Thumbnails:
        """Remove the thumbnails before a tick."""
        count = int(np.searchsorted(self._ticks, end))
        size = self._encoder.size if self._encoder else (0, 0)
        taken = Thumbnails(np.array(self._ticks[:count], np.int64), tuple(self._pictures[:count]), size=size)
        del self._ticks[:count], self._pictures[:count]
        return taken
