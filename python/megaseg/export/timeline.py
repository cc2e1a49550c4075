"""A result as other programs see a film: named parts on one exact clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import PurePath

from megaseg.engine.results.segmentation import Segmentation
from megaseg.engine.results.source import Source
from megaseg.engine.tasks.track import Point, Segment, Track
from megaseg.errors import FeatureError
from megaseg.export.ads.rules import AdRules
from megaseg.export.text import one_line, shortened
from megaseg.media.timecode import FrameRate, can_drop, conformed, marks_drop, parse

WORDS = 48  # letters of a scene's first words in its name
LEAD = 1  # second: sound leads the first picture by less, pictures that begin later are meant to
FARTHEST = 10**6  # seconds: no film is longer, no offset larger


@dataclass(frozen=True, slots=True)
class Part:
    """A scene or an act. Times are seconds from the start of the presentation, exact; 0 where there are none.

    ``score`` is of the boundary that begins it, 1 for the first. ``act`` is the number of the act in which a scene
    begins, where acts are known; ``caption`` its first words.
    """

    number: int  # from 1
    name: str
    start: Fraction
    end: Fraction
    first_shot: int
    last_shot: int
    score: float
    act: int | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point, such as a turning point, at the start of its shot."""

    name: str
    seconds: Fraction
    score: float
    shot: int


@dataclass(frozen=True)
class Timeline:
    """What files of editors, players and ad servers are written from.

    ``scenes`` are the parts of the finest track, ``acts`` empty without acts. ``rate`` is None where it is not known;
    ``start_frame`` the number that the first frame's timecode counts. ``media`` is the film's file name or path.
    """

    result: Segmentation
    title: str
    scenes: tuple[Part, ...]
    acts: tuple[Part, ...]
    points: tuple[Mark, ...]
    lead: Fraction  # seconds from the start of the presentation to the first picture, which is frame 0
    duration: Fraction  # seconds from the start of the presentation to the last part's end
    rate: FrameRate | None
    start_frame: int
    size: tuple[int, int] | None  # width, height in pixels
    media: str
    offset: Fraction = Fraction(0)  # seconds that were added to all times
    ads: AdRules = field(default_factory=AdRules)

    @property
    def timed(self) -> bool:
        """Whether the shots have times."""
        return self.result.times is not None and self.result.time_base is not None

    @property
    def marked(self) -> tuple[Part, ...]:
        """The scenes that marker lists have: none where the acts are the parts, which have markers of their own."""
        return () if self.scenes == self.acts else self.scenes

    @property
    def file_name(self) -> str:
        """The film's file without its folders."""
        return PurePath(self.media).name

    @property
    def sound(self) -> bool:
        """Whether the film has sound, as films have that the result knows nothing of."""
        return self.result.source is None or self.result.source.loudness is not None

    @classmethod
    def of(
        cls,
        result: Segmentation,
        *,
        title: str | None = None,
        frame_rate: FrameRate | Fraction | str | float | None = None,
        start_timecode: str | None = None,
        offset: Fraction | float | str = 0,
        media: str | None = None,
        ads: AdRules | None = None,
    ) -> Timeline:
        """The timeline of a result; what is not given is what the result knows of its source.

        ``offset`` seconds are added to all times: parts that then lie before 0 are left out, or cut at 0.
        ``start_timecode`` is that of the film's first frame, drop-frame where it is written with ``;``. ``ads`` are the
        rules of ad breaks.

        Raises:
            FeatureError: a rate, timecode or offset that is none.
        """
        source = result.source
        rate, start_frame = _counting(frame_rate, start_timecode, source)
        shift = _seconds(offset)
        tracks = list(result.tracks.values())
        acts = _parts(result, result.tracks["acts"], (), ()) if "acts" in result.tracks else ()
        captions = source.captions if source else ()
        scenes = acts if tracks[0].name == "acts" else _parts(result, tracks[0], acts, captions)
        duration = scenes[-1].end + shift
        if shift and result.times is not None and duration <= 0:
            raise FeatureError(f"offset: expected one that leaves some of the film, got {float(shift):g} seconds")
        named = media or (source.name if source else None)
        return cls(
            result=result,
            title=title or (PurePath(named).stem if named else "") or "Untitled",
            scenes=scenes if result.times is None else _moved(scenes, shift),
            acts=acts if result.times is None else _moved(acts, shift),
            points=tuple(
                Mark(_point_name(point), begin, point.score, point.shot)
                for point in result.turning_points
                if (begin := _start(result, point.shot) + shift) >= 0
            ),
            lead=_lead(result),
            duration=max(duration, Fraction(0)),
            rate=rate,
            start_frame=start_frame,
            size=source.size if source else None,
            media=named or title or "Untitled",
            offset=shift,
            ads=ads or AdRules(),
        )


def _counting(
    given: FrameRate | Fraction | str | float | None, timecode: str | None, source: Source | None
) -> tuple[FrameRate | None, int]:
    """Frame rate and first frame's number: as given, else as the source says."""
    own = timecode or (source.timecode if source else None)
    rate = _rate(given)
    if rate is None and source and source.frame_rate:
        rate = FrameRate(conformed(source.frame_rate))
    if rate is None:
        if timecode:
            raise FeatureError("frame_rate: expected one with start_timecode, got none")
        return None, 0
    if own and marks_drop(own) and not rate.drop and (timecode or can_drop(rate.exact)):
        rate = replace(rate, drop=True)
    try:
        return rate, rate.number(own) if own else 0
    except FeatureError as error:
        if timecode is None:  # of a file that says something else: its rate counts
            return rate, 0
        raise FeatureError(f"start_timecode: {error}") from error


def _rate(given: FrameRate | Fraction | str | float | None) -> FrameRate | None:
    if given is None or isinstance(given, FrameRate):
        return given
    if isinstance(given, (str, int, Fraction)):
        return parse(str(given))
    return parse(f"{given:.9g}")


def _seconds(offset: Fraction | float | str) -> Fraction:
    """Seconds as users give them: a number, ``1.5``, ``1001/24000``."""
    try:
        if isinstance(offset, str) and (len(offset) > 64 or "e" in offset.lower()):
            raise ValueError
        seconds = Fraction(offset)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise FeatureError(f"offset: expected seconds, got {offset!r:.40}") from error
    if abs(seconds) > FARTHEST:
        raise FeatureError(f"offset: expected at most {FARTHEST} seconds, got {offset!r:.40}")
    return seconds


def _start(result: Segmentation, shot: int) -> Fraction:
    """Start of a shot in seconds; 0 without times."""
    if result.times is None or result.time_base is None:
        return Fraction(0)
    return int(result.times[shot, 0]) * result.time_base


def _lead(result: Segmentation) -> Fraction:
    """Seconds of sound before the first picture, such as the 23 ms that AAC begins with."""
    first = _start(result, 0)
    return first if 0 < first < LEAD else Fraction(0)


def _parts(result: Segmentation, track: Track, acts: Sequence[Part], captions: Sequence[str]) -> tuple[Part, ...]:
    """The segments of a track, named; those of a person's own names keep them."""
    names: Mapping[int, str] = result.names.get(track.name, {})
    firsts = [act.first_shot for act in acts]
    base = result.time_base or Fraction(0)
    parts, score = [], 1.0
    for number, segment in enumerate(track.segments, 1):
        first, last = segment.first_shot, segment.last_shot
        act = bisect_right(firsts, first) or None
        caption = next(filter(None, captions[first : last + 1]), "")
        own = names.get(first, "")
        name = own if one_line(own) else _name(result, track, number, segment, act, caption)
        start, end = ((ticks or 0) * base for ticks in (segment.start_ticks, segment.end_ticks))
        parts.append(Part(number, name, start, end, first, last, score, act, caption))
        score = segment.score
    return tuple(parts)


def _name(result: Segmentation, track: Track, number: int, segment: Segment, act: int | None, caption: str) -> str:
    """``Scene 12 · Act 2 · First words…``, or ``Act 2 · after opportunity``."""
    words = [f"{track.name.removesuffix('s').capitalize()} {number}"]
    if act is not None:
        words.append(f"Act {act}")
    if track.name == "acts":
        words += [
            f"after {_point_name(point)}" for point in result.turning_points if point.shot == segment.first_shot - 1
        ]
    if caption:
        words.append(shortened(caption, WORDS))
    return " · ".join(words)


def _point_name(point: Point) -> str:
    """A turning point's name, where it has more than a number."""
    return f"turning point {point.name}" if point.name.isdigit() else point.name


def _moved(parts: Sequence[Part], shift: Fraction) -> tuple[Part, ...]:
    """Parts on the clock that begins ``shift`` seconds earlier; what then lies before 0 is cut off."""
    return tuple(
        replace(part, start=max(part.start + shift, Fraction(0)), end=part.end + shift)
        for part in parts
        if part.end + shift > 0
    )
