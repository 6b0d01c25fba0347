"""The metadata string of a commit: which versions above the committed offset are unfinished.

``1`` (version of this encoding), then base85 (RFC 1924 alphabet) of zlib of: topic id (length byte, UTF-8), H as
varint, the number of offsets as varint, the offsets as varints, each as the difference to the one before. ASCII,
without NUL, and kept below 4,000 characters, because Kafka's limit is 4,095 bytes.
"""

from __future__ import annotations

import base64
import operator
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol, Self

VERSION = "1"
MAX_OFFSETS = 100_000  # more are never listed, however well they compress
_MAX_PLAIN = 1024 * 1024  # MAX_OFFSETS varints and a name fit; a bomb does not
_LARGEST = (1 << 63) - 1
_SURE = 256  # so many always fit: 9 bytes each are less than 4,000 characters hold
_FINE = 16  # how near to the most that fits is near enough


class _Packer(Protocol):
    """What zlib.compressobj makes; the type has no name at run time."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...

    def copy(self) -> Self: ...


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
    plain = _head(topic_id, below, len(offsets)) + _steps(0, offsets)
    return VERSION + base64.b85encode(zlib.compress(plain, 9)).decode("ascii")


def fitting(topic_id: str, offsets: Iterable[int], room: int) -> tuple[list[int], int | None]:
    """As many of the ascending ``offsets`` as `encode` puts into ``room`` characters, and the first one left out.

    ``room`` is 4,000 or so: `_SURE` offsets must always fit. Takes no more of ``offsets`` than it needs, packs each of
    them a few times at most, and may stop a little early (`_FINE`): a million of them take as long as a few thousand.
    """
    every = islice(offsets, MAX_OFFSETS + 1)  # one more, to know whether it was all
    chosen = list(islice(every, _SURE))
    packer, packed = zlib.compressobj(9), 0
    most = (room - len(VERSION)) * 4 // 5 - len(_head(topic_id, _LARGEST, MAX_OFFSETS))
    packed += len(packer.compress(_steps(0, chosen)))
    while block := list(islice(every, len(chosen))):  # twice as many each time
        before, took = packer.copy(), packed
        packed += len(packer.compress(_steps(chosen[-1], block)))
        if packed + len(packer.copy().flush()) > most:
            count = _beginning(before, most - took, chosen[-1], block)
            return [*chosen, *block[:count]], block[count]
        chosen += block
    return (chosen[:MAX_OFFSETS], chosen[MAX_OFFSETS]) if len(chosen) > MAX_OFFSETS else (chosen, None)


def _beginning(packer: _Packer, most: int, previous: int, block: Sequence[int]) -> int:
    """How many of ``block``, which does not fit, the packer gets into ``most`` bytes; fewer than all."""
    count, step = 0, len(block)
    while step > _FINE:
        step //= 2
        trial = packer.copy()
        packed = len(trial.compress(_steps(previous, block[count : count + step])))
        if packed + len(trial.copy().flush()) <= most:
            packer, most, previous, count = trial, most - packed, block[count + step - 1], count + step
    return count


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


def _head(topic_id: str, below: int, count: int) -> bytes:
    name = topic_id.encode("utf-8")[:255]
    plain = bytearray([len(name)]) + name
    _put(plain, below)
    _put(plain, count)
    return bytes(plain)


def _steps(previous: int, offsets: Sequence[int]) -> bytes:
    """Each offset as its difference to the one before."""
    steps = list(map(operator.sub, offsets, chain((previous,), offsets)))
    if max(steps, default=0) < 0x80:
        return bytes(steps)
    out = bytearray()
    for step in steps:
        _put(out, step)
    return bytes(out)


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
