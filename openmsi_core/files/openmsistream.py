"""The records of OpenMSIStream: one msgpack array for each chunk, and no record that speaks for the whole file.

::

    0  str     name of the file               5  int    number of chunks
    1  bin 64  SHA-512 of the whole file      6  str    folder below the root, "/" between its parts
    2  bin 64  SHA-512 of this chunk          7  str    text that goes before the name's last suffix
    3  int     where the chunk begins         8  bin    the chunk
    4  int     its number, from 1             9  float  time of change, epoch seconds, 0: unknown (older ones lack it)

Facts of its version 1.8.8, checked against records that it wrote. Text may come as str or bin. There is no file id:
versions of a path are told apart by the digest and the number of chunks, so the same content sent again is the same
version. Its chunks lie on all partitions, because each has a key of its own.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from pathlib import PurePosixPath
from typing import NoReturn

from openmsi_core.errors import BadRecord, PathRefused
from openmsi_core.files.packing import pack, unpack
from openmsi_core.files.wire import MAX_FILE_SIZE
from openmsi_core.model import Chunk, FileVersion, RelativePath

FORMAT = "openmsistream"
MAX_CHUNK = 64 * 1024 * 1024  # bytes; its users may choose any size that their broker takes
MAX_CHUNKS = 1 << 31
_HEADS = frozenset({0x99, 0x9A, 0xDC, 0xDD})
_NANO = 1_000_000_000


def is_one(value: bytes) -> bool:
    """True when a value may be such a record: it begins as a msgpack array of nine or ten items does."""
    return value[:1] != b"" and value[0] in _HEADS


def decode(value: bytes, max_file_size: int = MAX_FILE_SIZE, timestamp_ms: int = -1) -> Chunk:
    """The chunk that such a record carries. Every one of them carries the version.

    Its size is what it can be at most, until the last chunk says it. ``timestamp_ms`` (the record's) takes the place
    of an unknown time of change. Raises BadRecord.
    """
    fields = _fields(value)
    name, folder, inserted = _text(fields, 0), _text(fields, 6), _text(fields, 7)
    digest, own = _bytes(fields, 1, 64), _bytes(fields, 2, 64)
    offset, number = _integer(fields, 3, 0, MAX_FILE_SIZE), _integer(fields, 4, 1, MAX_CHUNKS)
    count, data = _integer(fields, 5, number, MAX_CHUNKS), _bytes(fields, 8)
    if hashlib.sha512(data).digest() != own:
        _bad("the chunk's bytes do not match its SHA-512: the record was damaged")
    size, chunk = _sizes(offset, number, count, len(data))
    if size > max_file_size:
        _bad(f"a file of up to {size:,} bytes, max-file-size is {max_file_size:,}")
    path = _path(folder, name, inserted)
    file_id = hashlib.sha256(b"\0".join((path.key, digest, b"%d" % count))).digest()[:16]
    mtime_ns = _mtime(fields[9] if len(fields) > 9 else 0.0, timestamp_ms)
    version = FileVersion(file_id, path, size, chunk, mtime_ns, source="OpenMSIStream", extra={"format": FORMAT})
    return Chunk(
        file_id=file_id,
        sequence=number - 1,
        offset=offset,
        payload=data,
        version=version,
        last=number == count,
        size=size if number == count else None,
        checksum=zlib.crc32(data),
        sha512=digest,
    )


def encode(chunk: Chunk, version: FileVersion, chunks: int) -> bytes:
    """The record that OpenMSIStream would have written for ``chunk`` of a file of ``chunks``; its ``sha512`` is needed.

    Raises ValueError for what that format cannot say: an empty file, and a name that is not UTF-8.
    """
    if not chunk.payload or chunk.sha512 is None:
        raise ValueError("OpenMSIStream has no record for an empty file")
    *folder, name = version.path.parts
    fields = [
        name,
        chunk.sha512,
        hashlib.sha512(chunk.payload).digest(),
        chunk.offset,
        chunk.sequence + 1,
        chunks,
        "/".join(folder),
        "",
        chunk.payload,
        version.mtime_ns / _NANO,
    ]
    try:
        return pack(fields)
    except UnicodeEncodeError as error:
        raise ValueError(f"OpenMSIStream's records cannot carry the name {version.path}: it is not UTF-8") from error


def key_of(chunk: Chunk, version: FileVersion, chunks: int) -> bytes:
    """The key that OpenMSIStream gives such a record."""
    *folder, name = version.path.parts
    return f"{'_'.join(folder)}_{name}_chunk_{chunk.sequence + 1}_of_{chunks}".encode()


def _fields(value: bytes) -> list[object]:
    fields = unpack(value, "the value", errors="surrogateescape")
    if not isinstance(fields, list) or len(fields) not in {9, 10}:
        _bad("neither a file record of ours nor one of OpenMSIStream, which is a msgpack array of 9 or 10")
    return fields


def _sizes(offset: int, number: int, count: int, length: int) -> tuple[int, int]:
    """What the file's size is at most, and its chunk size."""
    if not 0 < length <= MAX_CHUNK:
        _bad(f"a chunk of {length:,} bytes, 1 to {MAX_CHUNK:,} are possible")
    if number < count:
        chunk = length
    else:
        chunk, rest = divmod(offset, count - 1) if count > 1 else (length, 0)
        if rest or length > chunk:
            _bad(f"the last of {count} chunks begins at {offset:,} and has {length:,} bytes: the others were not equal")
    if offset != (number - 1) * chunk:
        _bad(f"chunk {number} begins at {offset:,}; chunks of {chunk:,} bytes put it at {(number - 1) * chunk:,}")
    return (offset + length if number == count else count * chunk), chunk


def _path(folder: str, name: str, inserted: str) -> RelativePath:
    if inserted:
        pure = PurePosixPath(name)
        name = f"{pure.stem}{inserted}{pure.suffix}"
    try:
        return RelativePath((*(folder.split("/") if folder else ()), name))
    except PathRefused as error:
        raise BadRecord(f"the path is refused: {error}") from error


def _mtime(value: object, timestamp_ms: int) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > MAX_FILE_SIZE / _NANO:
        _bad(f"the time of change is {str(value)[:60]}, it must be epoch seconds")
    part, seconds = math.modf(value)  # apart, because 1.7e18 is more than a float can count
    return int(seconds) * _NANO + round(part * _NANO) or max(0, timestamp_ms) * 1_000_000


def _text(fields: list[object], at: int) -> str:
    value = fields[at]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        _bad(f"item {at} is {type(value).__name__}, it must be text")
    return value


def _bytes(fields: list[object], at: int, length: int | None = None) -> bytes:
    value = fields[at]
    if not isinstance(value, bytes) or (length is not None and len(value) != length):
        _bad(f"item {at} is {type(value).__name__}, it must be {length or 'any number of'} bytes")
    return value


def _integer(fields: list[object], at: int, low: int, high: int) -> int:
    value = fields[at]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        _bad(f"item {at} is {str(value)[:60]}, it must be an integer from {low} to {high}")
    return value


def _bad(reason: str) -> NoReturn:
    raise BadRecord(reason)
