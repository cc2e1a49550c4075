"""A film's file, opened: its streams, its packets in order, and what it says of itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from megaseg.errors import FeatureError, UnsupportedError
from megaseg.media.timestamps import Continuity
from megaseg.media.video import Track, VideoInfo

# Formats of one file each. Lists of other files or addresses (HLS, DASH, concat), devices and text are none of them.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,asf,ogg,mxf,gif,apng,rm,dv,nut,"
    "yuv4mpegpipe,wtv,gxf,mpegtsraw,vc1,vvc,mjpeg,nsv,bink,smk,mv,r3d,swf"
)
_TEXT = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
_TS_DISCONT = 0x0200  # libavformat: a jump of time stamps is none of the film's time
_MOST_FAILURES = 100  # reads in a row that fail before the rest of a file is given up
_DECODING_TIMES = frozenset({"avi"})  # formats whose packets have no other time; libav makes up one to show them
_LARGE = 10_000_000  # pixels of a frame, from which each further thread of a decoder holds tens of megabytes
_FEW = 4  # threads for these
_ROUNDING = Fraction(1, 5000)  # of a frame rate; 24 and 23.976 differ by five times as much
_SECOND = 1_000_000  # ticks of libav's own time base
_SHORT = 0.95, 1.0  # share of the length that a file claims, and seconds, that a whole one may lack


class Film:
    """A file that is open for reading, with the streams that are read."""

    def __init__(self, container: Any, name: str) -> None:
        from av.stream import Discard

        self.name = name
        self.container = container
        self.video = _video(container, name)
        self.audio = _preferred([stream for stream in container.streams.audio if _decodable(stream)])
        self.subtitles = _preferred([stream for stream in container.streams.subtitles if _text(stream)])
        self.damaged = 0  # packets that could not be read or decoded
        self._reached = 0.0  # seconds of the presentation that packets have come to
        self.time_base = Fraction(self.video.time_base)  # seconds of one tick
        start = Fraction(container.start_time or 0, _SECOND)  # time stamp at which the presentation starts
        self.start_seconds = float(start)
        self.start = round(start / self.time_base)  # the same in ticks
        self.frame_step = max(round(1 / ((self.video.guessed_rate or 25) * self.time_base)), 1)  # ticks of a frame
        own, whole = self.video.duration, container.duration
        self.duration = float(own * self.time_base) if own else whole / _SECOND if whole else None  # seconds
        self.delay = Delay() if container.format.name in _DECODING_TIMES else None
        self._read = [stream for stream in (self.video, self.audio, self.subtitles) if stream is not None]
        for stream in container.streams:
            if stream not in self._read:
                stream.discard = Discard.all

    @property
    def may_jump(self) -> bool:
        """Whether jumps of the time stamps are none of the film's time."""
        return bool(self.container.format.flags & _TS_DISCONT)

    def seek(self, tick: int) -> None:
        """Go to the key frame before a tick, to the start where the file cannot."""
        from av.error import FFmpegError

        if self.delay:
            self.delay = Delay()
        for stamp in (max(tick, 0) + self.start, self.start):
            with contextlib.suppress(FFmpegError, OverflowError):
                self.container.seek(stamp, stream=self.video)
                return

    def packet_tick(self, packet: Any) -> int | None:
        """Tick of a video packet's frame; None where it has no time stamp."""
        stamp = packet.dts if packet.pts is None or self.delay else packet.pts
        return None if stamp is None else int(stamp - self.start)

    def stamp(self, frame: Any) -> int | None:
        """Time stamp of a video frame."""
        if self.delay:
            return self.delay.stamp(frame)
        stamp = frame.dts if frame.pts is None else frame.pts
        return None if stamp is None else int(stamp)

    def packets(self) -> Iterator[Any]:
        """Packets of the streams that are read, without jumps of their time stamps; those after damage are found."""
        continuity = Continuity(forward=self.may_jump)
        units = {stream.index: float(stream.time_base) for stream in self._read}
        for packet in self._raw_packets():
            stream = packet.stream
            unit = units[stream.index]
            continuity.correct(packet, stream.index, unit, steady=stream is not self.subtitles)
            if packet.dts is not None:
                end = (packet.dts + (packet.duration or 0)) * unit - self.start_seconds
                self._reached = max(self._reached, end)
            yield packet

    @property
    def cut_short(self) -> bool:
        """Whether the packets end well before the length that the file claims; known when all have been read."""
        share, seconds = _SHORT
        claimed = 0.0 if self.duration is None or self.may_jump else self.duration  # with jumps it is no length
        return self._reached < claimed * share - seconds

    def _raw_packets(self) -> Iterator[Any]:
        from av.error import FFmpegError

        failures = 0
        while failures < _MOST_FAILURES:
            try:
                for packet in self.container.demux(self._read):
                    if packet.size == 0 and packet.dts is None and packet.pts is None:
                        return  # the flush after the last
                    failures = 0
                    self.damaged += packet.is_corrupt
                    yield packet
                return
            except FFmpegError:  # a damaged size that no memory holds is one as well
                failures += 1
                self.damaged += 1

    def frames(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Video frames of packets, of which other streams' are passed over, and what is left after the last."""
        for packet in packets:
            if packet.stream_index == self.video.index:
                yield from self.decode(self.video, packet)
        yield from self.decode(self.video, None)

    def decode(self, stream: Any, packet: Any) -> list[Any]:
        """Frames of a packet, those left at the end for None; none of a damaged packet."""
        from av.error import FFmpegError

        if self.delay and stream is self.video and packet is not None:
            self.delay.see(packet)
        try:
            return list(stream.codec_context.decode(packet))
        except MemoryError:
            raise
        except (FFmpegError, ValueError):
            self.damaged += 1
            return []

    def shape(self, frame: Any) -> float:
        """Width of a frame as it is shown, by its height."""
        shape: float = frame.width / frame.height * float(self.video.codec_context.sample_aspect_ratio or 1)
        return shape if rotation(frame) % 2 == 0 else 1 / shape

    def info(self, frame: Any) -> VideoInfo:
        """What the file and its first frame say."""
        turned = rotation(frame) % 2 == 1
        size = (frame.height, frame.width) if turned else (frame.width, frame.height)
        return VideoInfo(
            width=size[0],
            height=size[1],
            rotation=-90 * rotation(frame) % 360,
            codec=self.video.codec_context.codec.canonical_name,
            time_base=self.time_base,
            start=self.start,
            frame_rate=frame_rate(self.video),
            duration=self.duration,
            audio=_tracks(self.container.streams.audio, self.audio),
            subtitles=_tracks(self.container.streams.subtitles, self.subtitles),
            timecode=_timecode(self.container),
        )


class Delay:
    """Times of frames by those of packets, where a format has times of decoding only.

    A frame bears the time of the packet that was decoded last before it was shown: later by a constant.
    """

    def __init__(self, late: int | None = None) -> None:
        self._first: int | None = None
        self.late = late  # the constant, in ticks; None until the first frame

    def see(self, packet: Any) -> None:
        """Take note of a packet that is about to be decoded."""
        if self._first is None:
            self._first = packet.dts

    def stamp(self, frame: Any) -> int | None:
        """Time stamp of a frame."""
        if frame.dts is None or self._first is None:
            return None
        if self.late is None:
            self.late = int(frame.dts) - self._first
        return int(frame.dts) - self.late


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Film]:
    """A film's file, open for reading.

    Raises:
        FeatureError: no video file, or one without a video stream that can be decoded.
        UnsupportedError: the extra ``video`` is missing.
    """
    try:
        import av
    except ImportError as error:
        raise UnsupportedError(f"{path}: films need {error.name}: pip install 'megaseg[video]'") from error
    av.logging.set_libav_level(av.logging.PANIC)
    # A name is a file's, whatever it looks like, and so is what the file refers to.
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    try:
        container = av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        raise FeatureError(f"{path}: expected a video file, got what cannot be opened as one ({reason})") from error
    with container:
        film = Film(container, str(path))
        film.video.thread_type = "AUTO"
        if film.video.codec_context.width * film.video.codec_context.height > _LARGE:
            film.video.codec_context.thread_count = _FEW
        yield film


def rotation(frame: Any) -> int:
    """Quarters of a turn, counterclockwise, by which a frame is shown: 0 to 3."""
    return int(round(frame.rotation / 90) % 4)


def frame_rate(stream: Any) -> Fraction | None:
    """Frames a second on average; the nominal rate where the average differs by rounding of times only."""
    average, nominal = stream.average_rate or stream.guessed_rate, stream.base_rate
    if average and nominal and abs(average - nominal) < nominal * _ROUNDING:
        return Fraction(nominal)
    return Fraction(average) if average else None


def _decodable(stream: Any) -> bool:
    return stream.codec_context is not None


def _text(stream: Any) -> bool:
    return _decodable(stream) and stream.codec_context.codec.canonical_name in _TEXT


def _video(container: Any, name: str) -> Any:
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise FeatureError(f"{name}: expected a video stream, got none")
    chosen = _preferred([stream for stream in streams if _decodable(stream)])
    if chosen is None:
        raise FeatureError(f"{name}: expected a video stream of a known codec, got an unknown one")
    return chosen


def _preferred(streams: Sequence[Any]) -> Any | None:
    """The default stream, else the first; forced subtitles, which are few, last."""
    from av.stream import Disposition

    def rank(stream: Any) -> tuple[bool, bool]:
        return bool(stream.disposition & Disposition.forced), not stream.disposition & Disposition.default

    return min(streams, key=rank, default=None)


def _tracks(streams: Sequence[Any], read: Any | None) -> tuple[Track, ...]:
    return tuple(
        Track(
            codec=stream.codec_context.codec.canonical_name if _decodable(stream) else "unknown",
            language=stream.language,
            read=stream is read,
        )
        for stream in streams
    )


def _timecode(container: Any) -> str | None:
    own = [stream.metadata for stream in container.streams if stream.type in ("video", "data")]
    tags = (tag for metadata in (*own, container.metadata) for tag in metadata.items())
    return next((str(code) for key, code in tags if code and key.lower() == "timecode"), None)  # Matroska: TIMECODE
