"""What a format of other programs is: a name, a suffix, and a function that writes a timeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from megaseg.errors import FeatureError
from megaseg.export.timeline import FARTHEST, Timeline


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file. ``write`` gives its bytes; every module of a format has one as ``FORMAT``.

    ``timed``: it needs the times of shots. ``framed``: it counts frames, at a rate that editors work at.
    """

    name: str  # as users choose it
    suffix: str  # of its files, such as .chapters.xml
    title: str  # one line: what it is and what takes it
    write: Callable[[Timeline], bytes]
    timed: bool = True
    framed: bool = False

    def render(self, timeline: Timeline) -> bytes:
        """The file's bytes.

        Raises:
            FeatureError: a timeline without what the format needs.
        """
        if self.timed and not timeline.timed:
            raise FeatureError("times: expected a result with the times of its shots, got none")
        if self.timed and timeline.duration > FARTHEST:
            raise FeatureError(
                f"times: expected a film of at most {FARTHEST} seconds, got {float(timeline.duration):g}"
            )
        if self.framed:
            if timeline.rate is None:
                raise FeatureError("frame_rate: expected one such as 25 or 29.97df, got none")
            if not timeline.rate.standard:
                raise FeatureError(
                    f"frame_rate: expected a whole rate or one such as 23.976 or 29.97, got {timeline.rate}"
                )
        return self.write(timeline)
