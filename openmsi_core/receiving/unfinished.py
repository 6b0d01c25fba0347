"""The metadata string of a commit: which versions above the committed offset are unfinished.

``1`` (version of this encoding), then base85 (RFC 1924 alphabet) of zlib of: topic id (length byte, UTF-8), H as
varint, the number of offsets as varint, the offsets as varints, each as the difference to the one before. ASCII,
without NUL, and kept below 4,000 characters, because Kafka's limit is 4,095 bytes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

VERSION = "1"
MAX_OFFSETS = 100_000  # more are never listed, however well they compress
_MAX_PLAIN = 1024 * 1024  # MAX_OFFSETS varints and a name fit; a bomb does not


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a commit's metadata says: every version that began below ``below`` is dealt with unless it is listed."""

    topic_id: str
    below: int
    offsets: tuple[int, ...]


def encode(topic_id: str, below: int, offsets: Sequence[int]) -> str:
    """The metadata for ``offsets`` in ascending order.

    >>> decode(encode("t", 120, [7, 100]))
    Unfinished(topic_id='t', below=120, offsets=(7, 100))
    """
    name = topic_id.encode("utf-8")[:255]
    plain = bytearray([len(name)]) + name
    _put(plain, below)
    _put(plain, len(offsets))
    previous = 0
    for offset in offsets:
        _put(plain, offset - previous)
        previous = offset
    return VERSION + base64.b85encode(zlib.compress(bytes(plain), 9)).decode("ascii")


def decode(text: str) -> Unfinished | None:
    """What ``text`` says, or None when it is empty, garbage, or of another encoding."""
    if not text.startswith(VERSION):
        return None
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(base64.b85decode(text[1:]), _MAX_PLAIN)
        if unpacker.unconsumed_tail or not unpacker.eof:
            return None
        return _read(plain)
    except (ValueError, zlib.error, IndexError):
        return None


def _read(plain: bytes) -> Unfinished | None:
    end = 1 + plain[0]
    topic_id = plain[1:end].decode("utf-8")
    below, at = _get(plain, end)
    count, at = _get(plain, at)
    offsets, previous = [], 0
    for _ in range(count):
        step, at = _get(plain, at)
        previous += step
        offsets.append(previous)
    return Unfinished(topic_id, below, tuple(offsets)) if at == len(plain) else None


def _put(out: bytearray, number: int) -> None:
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _get(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
