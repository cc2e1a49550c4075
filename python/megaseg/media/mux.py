"""Chapters written into a copy of a film: every stream is copied as it is, nothing is decoded or encoded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

from megaseg.engine.inputs.files import atomic_write
from megaseg.errors import FeatureError, UnsupportedError
from megaseg.media.container import Film, opened
from megaseg.media.timestamps import Continuity

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm"}
_MILLI = Fraction(1, 1000)  # of chapters; Matroska and WebM have frames to it as well
_SECOND = 1_000_000  # ticks of libav's own time base
_SLACK = 1  # seconds by which a chapter may begin after a film's end, which files round
_PEEK = 1000  # packets within which each stream of pictures and sound is expected to begin
_PICTURES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}  # attachments of covers
_LONGEST = 255  # bytes of a chapter's name in MP4 and MOV
_KEPT_TAGS = frozenset({"hvc1", "dvh1", "avc3"})  # of codecs with several in MP4 and MOV; some players take one only
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Chapter:
    """One chapter; times are seconds from the start of the presentation."""

    start: Fraction
    end: Fraction
    name: str


def write_chapters(source: str | Path, target: str | Path, chapters: Sequence[Chapter]) -> tuple[str, ...]:
    """Write a copy of a film that has these chapters instead of its own; whole or not at all.

    Streams, attachments and texts are those of the source. Returns what was left out: streams of data of a kind that
    the target's format has no place for.

    Raises:
        FeatureError: no film, chapters of a longer one, or ``target`` is the source itself.
        UnsupportedError: a format without chapters, or one that cannot hold a stream of the film.
        OSError: the target cannot be written.
    """
    source, target = Path(source), Path(target)
    kind = format_of(source, target)
    with opened(source) as film, atomic_write(target) as temporary:
        _require_writer()
        _require_within(chapters, film)
        return _Copy(film, kind, str(target)).write(temporary, chapters)


def format_of(source: Path, target: Path) -> str:
    """The format of a copy, by its suffix.

    Raises:
        FeatureError: the copy would be the film itself.
        UnsupportedError: a format without chapters.
    """
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise UnsupportedError(f"{target}: expected one of {', '.join(FORMATS)}, which hold chapters")
    if target.exists() and source.exists() and target.samefile(source):
        raise FeatureError(f"{target}: expected another file than the film itself, which is left as it is")
    return kind


def _require_writer() -> None:
    from av.container import OutputContainer

    if not (hasattr(OutputContainer, "set_chapters") and hasattr(OutputContainer, "add_attachment")):
        raise UnsupportedError("chapters need a newer PyAV: pip install -U av")


def _require_within(chapters: Sequence[Chapter], film: Film) -> None:
    last = max((chapter.start for chapter in chapters), default=Fraction(0))
    if film.duration is not None and last > film.duration + _SLACK:
        raise FeatureError(
            f"chapters: expected them within the {film.duration:.3f} s of {film.name}, got one at {float(last):.3f} s"
        )


class _Copy:
    """One film that is copied into one format."""

    def __init__(self, film: Film, kind: str, name: str) -> None:
        self.film, self.kind, self.name = film, kind, name
        self.matroska = kind in ("matroska", "webm")
        self.pictures: dict[int, Any] = {}  # covers that become attachments: packets by stream
        self.left: list[str] = []

    def write(self, path: Path, chapters: Sequence[Chapter]) -> tuple[str, ...]:
        import av

        options = {} if self.matroska else {"movflags": "+faststart"}
        packets = self._packets()
        first = self._first(packets)
        start = Fraction(self.film.container.start_time or 0, _SECOND)  # time stamp at which the presentation starts
        shift = max(start, Fraction(0))
        if self.matroska:  # which has no time before 0: what leads, such as the delay of a sound codec, moves all
            shift = min([shift, *(packet.pts * packet.time_base for packet in first if packet.pts is not None)])
        try:
            with av.open(f"file:{path}", "w", format=self.kind, container_options=options) as output:
                output.metadata.update(self.film.container.metadata)
                streams = self._streams(output)
                output.set_chapters(self._chapters(chapters, start - shift))
                with _told(self.name):
                    output.start_encoding()
                for packet in chain(first, packets):
                    if packet.stream.index in streams:
                        _move(packet, shift)
                        packet.stream = streams[packet.stream.index]
                        with _told(self.name):
                            output.mux_one(packet)
        except av.error.FFmpegError as error:  # of the last bytes
            raise OSError(error.errno, str(error.strerror), self.name) from error
        return tuple(self.left)

    def _streams(self, output: Any) -> dict[int, Any]:
        """The output's stream of each of the film's that is copied, by index."""
        from av.stream import Disposition

        own_chapters = bool(self.film.container.chapters())
        streams = {}
        for stream in self.film.container.streams:
            if stream.type == "data":  # formats make those of chapters and of the time code themselves
                if "timecode" not in stream.metadata and not (stream.name == "bin_data" and own_chapters):
                    self.left.append(f"stream {stream.index} ({_label(stream)})")
            elif self.kind == "mov" and stream.disposition & Disposition.attached_pic:
                self.left.append(f"cover {stream.index}")
            elif stream.type == "attachment" and self.kind != "matroska":
                self.left.append(f"attachment {stream.metadata.get('filename', stream.index)}")
            elif stream.index in self.pictures:
                name, mime = _PICTURES[stream.codec_context.codec.canonical_name]
                data = bytes(self.pictures[stream.index])
                output.add_attachment(stream.metadata.get("filename", name), mime, data)
            else:
                streams[stream.index] = self._stream(output, stream)
        return streams

    def _stream(self, output: Any, stream: Any) -> Any:
        try:
            copy = output.add_stream_from_template(stream, opaque=True)
        except ValueError as error:
            raise UnsupportedError(
                f"{self.name}: expected a format that holds stream {stream.index} of {self.film.name} "
                f"({_label(stream)}), got {self.kind}"
            ) from error
        copy.metadata.clear()
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        if not self.matroska and (tag := getattr(stream, "codec_tag", "")) in _KEPT_TAGS:
            copy.codec_context.codec_tag = tag
        return copy

    def _chapters(self, chapters: Sequence[Chapter], late: Fraction) -> Any:
        """Chapters of libav, ``late`` seconds later; the first has what leads as well."""
        longest = None if self.matroska else _LONGEST
        return [
            {
                "id": number,
                "start": max(round((chapter.start + late) / _MILLI), 0) if chapter.start else 0,
                "end": max(round((chapter.end + late) / _MILLI), 0),
                "time_base": _MILLI,
                "metadata": {"title": _title(chapter.name, longest)},
            }
            for number, chapter in enumerate(chapters, 1)
        ]

    def _packets(self) -> Iterator[Any]:
        """The film's packets in the order of the file, without jumps of their time stamps."""
        from av.stream import Discard

        continuity = Continuity(forward=self.film.may_jump)
        read = [stream for stream in self.film.container.streams if stream.type not in ("attachment", "data")]
        for stream in read:
            stream.discard = Discard.default
        with _told(self.film.name):
            for packet in self.film.container.demux(read):
                if packet.size == 0 and packet.dts is None and packet.pts is None:
                    continue  # the flush after the last
                stream = packet.stream
                if self.film.may_jump:
                    steady = stream.type in ("video", "audio")
                    continuity.correct(packet, stream.index, float(stream.time_base), steady=steady)
                yield packet

    def _first(self, packets: Iterator[Any]) -> list[Any]:
        """The first packets, until each stream of pictures and sound has times of decoding; covers are kept apart."""
        from av.stream import Disposition

        due = {stream.index for stream in self.film.container.streams if stream.type in ("video", "audio")}
        first = []
        for packet in islice(packets, _PEEK):
            stream = packet.stream
            cover = stream.type == "video" and stream.disposition & Disposition.attached_pic
            if self.kind == "matroska" and cover and stream.codec_context.codec.canonical_name in _PICTURES:
                self.pictures[stream.index] = packet
            first.append(packet)
            if packet.dts is not None:
                due.discard(stream.index)
            if not due:
                break
        _fill(first)
        return first


def _fill(packets: Sequence[Any]) -> None:
    """Give packets without a time of decoding, such as the first in Matroska, the one before the next packet's."""
    due: dict[int, int] = {}
    for packet in reversed(packets):
        index = packet.stream.index
        if packet.dts is None:
            step = packet.duration or 1
            known = due.get(index, packet.pts if packet.pts is not None else step)
            packet.dts = min(known - step, known if packet.pts is None else packet.pts)
        due[index] = packet.dts


def _move(packet: Any, shift: Fraction) -> None:
    """Subtract seconds from a packet's time stamps."""
    ticks = round(shift / packet.time_base)
    packet.pts, packet.dts = (None if stamp is None else stamp - ticks for stamp in (packet.pts, packet.dts))


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Errors of libav as errors of a file."""
    import av

    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        if isinstance(error, OSError):  # a full disk and the like
            raise OSError(error.errno, reason, name) from error
        raise UnsupportedError(f"{name}: expected streams that can be copied as they are, got: {reason}") from error


def _label(stream: Any) -> str:
    name = stream.name if stream.codec_context is None else stream.codec_context.codec.canonical_name
    return f"{stream.type} {name or 'of an unknown kind'}"


def _title(name: str, longest: int | None) -> str:
    """A name in one line, cut at a whole character where a format has so many bytes for it."""
    line = " ".join(_CONTROLS.sub(" ", name).split())
    return line if longest is None else line.encode()[:longest].decode(errors="ignore")
