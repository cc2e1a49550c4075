"""Splice inserts of SCTE 35: the bytes that tell a stream's servers and receivers of an ad break."""

from __future__ import annotations

from fractions import Fraction

from megaseg.media.timecode import ticks

CLOCK = 90_000  # ticks a second of MPEG-2 transport streams
_WRAP = 1 << 33
_CRC = 0x04C11DB7  # polynomial of CRC-32/MPEG-2
_INSERT = 5  # splice_command_type of splice_insert


def splice_insert(event: int, seconds: Fraction, length: Fraction, number: int, expected: int) -> bytes:
    """A splice_info_section (SCTE 35 2023, 9.6 and 9.7.3) with a break out of the network, at its presentation time.

    ``length`` in seconds, after which the network returns by itself; 0 where it is not known. ``number`` of
    ``expected`` breaks.
    """
    timed = length > 0
    command = event.to_bytes(4, "big")
    command += bytes([0x7F])  # not cancelled
    command += bytes([0x80 | 0x40 | timed << 5 | 0x0F])  # out of network, whole programme, duration, not immediate
    command += (0xFE << 32 | ticks(seconds, CLOCK) % _WRAP).to_bytes(5, "big")  # time is specified, 6 reserved, 33 bits
    if timed:
        command += (0xFE << 32 | ticks(length, CLOCK) % _WRAP).to_bytes(5, "big")  # auto-return, 6 reserved, 33 bits
    command += (1).to_bytes(2, "big") + bytes([min(number, 255), min(expected, 255)])
    return _section(command)


def _section(command: bytes) -> bytes:
    body = bytes([0])  # protocol_version
    body += bytes(5)  # not encrypted, pts_adjustment 0
    body += bytes([0])  # cw_index
    body += (0xFFF << 12 | len(command)).to_bytes(3, "big")  # tier, splice_command_length
    body += bytes([_INSERT]) + command
    body += bytes(2)  # no descriptors
    head = bytes([0xFC]) + (0x3 << 12 | len(body) + 4).to_bytes(2, "big")  # table_id, flags and section_length
    return head + body + crc32(head + body).to_bytes(4, "big")


def crc32(data: bytes) -> int:
    """CRC-32/MPEG-2 (ISO 13818-1, annex A): most significant bit first, from all ones, not inverted."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (_CRC if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value
