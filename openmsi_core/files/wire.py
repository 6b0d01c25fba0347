"""File record, version 1: the bytes of one Kafka record's value.

The format is written out, byte by byte, in docs/design/wire-format.md. `encode` and `decode` are inverse. `decode`
trusts nothing: lengths are compared before anything is allocated, and whatever is not exactly a file record raises
BadRecord with the reason.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NoReturn

import google_crc32c

from openmsi_core.errors import BadRecord, PathRefused
from openmsi_core.files.packing import pack, unpack
from openmsi_core.model import Chunk, FileVersion, RelativePath

MAGIC = b"OMSI"
VERSION = 1
FIRST, LAST, ABORT = 1, 2, 4

MIN_CHUNK = 16 * 1024
MAX_CHUNK = 8 * 1024 * 1024
MAX_METADATA = 65_535
MAX_FILE_SIZE = (1 << 63) - 1
_MAX_DEPTH = 8
_MAX_ITEMS = 4096
_ITEM_MEMORY = 160  # bytes, of a small text and its place in a dict; msgpack needs one byte for an empty dict
_CHAR_MEMORY = 4  # bytes, of each character in a text that has one beyond the basic plane

_HEAD = struct.Struct(">4sBBH16sIQII")  # all of the fixed part but the checksum
_CHECKSUM = struct.Struct(">I")
HEAD_BYTES = _HEAD.size + _CHECKSUM.size
_NO_CHECKSUM = bytes(4)
_KNOWN = frozenset({"path", "size", "chunk", "mtime_ns", "mode", "sent_ns", "source", "user", "bytes", "sha256"})


def encode(chunk: Chunk) -> bytes:
    """The value of the record that carries ``chunk``; its ``checksum`` field is not looked at.

    Raises ValueError when the metadata does not fit 65,535 bytes or the payload 8 MiB.
    """
    flags = (FIRST if chunk.version else 0) | (LAST if chunk.last else 0) | (ABORT if chunk.abort else 0)
    metadata = _metadata(chunk)
    if len(metadata) > MAX_METADATA:
        raise ValueError(f"metadata of {len(metadata):,} bytes, at most {MAX_METADATA:,} fit: send less user metadata")
    if len(chunk.payload) > MAX_CHUNK:
        raise ValueError(f"a payload of {len(chunk.payload):,} bytes, at most {MAX_CHUNK:,} fit")
    head = _HEAD.pack(
        MAGIC, VERSION, flags, len(metadata), chunk.file_id, chunk.sequence, chunk.offset, len(chunk.payload), 0
    )
    checksum = _checksum(head, metadata, chunk.payload)
    return b"".join((head, _CHECKSUM.pack(checksum), metadata, chunk.payload))


def decode(value: bytes | None, max_file_size: int = MAX_FILE_SIZE) -> Chunk:
    """The chunk that a record's value carries. ``max_file_size`` is bytes. Raises BadRecord."""
    if not value:
        _bad("an empty value: a file record always has a head of 48 bytes")
    if value[:4] != MAGIC:
        _bad(f"the value begins with {value[:4].hex()}, a file record with {MAGIC.hex()} ('OMSI')")
    if len(value) < HEAD_BYTES:
        _bad(f"{len(value)} bytes, the head alone has {HEAD_BYTES}")
    _, version, flags, m, file_id, sequence, offset, p, reserved = _HEAD.unpack_from(value)
    if version != VERSION:
        _bad(f"file record version {version}, this openmsi knows version {VERSION}: update the receiver")
    if flags & ~(FIRST | LAST | ABORT) or reserved:
        _bad(f"flags {flags:#04x} and reserved field {reserved:#x}: this openmsi knows flags 1, 2, 4 and 0")
    if p > MAX_CHUNK or HEAD_BYTES + m + p != len(value):
        _bad(f"lengths do not add up: head {HEAD_BYTES} + metadata {m} + payload {p} != {len(value)}")
    (checksum,) = _CHECKSUM.unpack_from(value, _HEAD.size)
    metadata, payload = value[HEAD_BYTES : HEAD_BYTES + m], value[HEAD_BYTES + m :]
    if _checksum(value[: _HEAD.size], metadata, payload) != checksum:
        _bad("the checksum does not match: the record was damaged")
    _check_flags(flags, sequence, offset, p)
    if offset + p > max_file_size:
        _bad(f"it claims bytes up to {offset + p:,}, max-file-size is {max_file_size:,}")
    facts, items = _unpack(metadata) if m else ({}, 0)
    memory = m * _CHAR_MEMORY + items * _ITEM_MEMORY
    first = _version(file_id, facts, max_file_size, memory) if flags & FIRST else None
    sha256, size = _ending(facts, offset + p) if flags & LAST else (None, None)
    if first is not None and (p != min(first.chunk, first.size) or (bool(flags & LAST) != (p == first.size))):
        _bad(f"a first record with {p:,} bytes of a file of {first.size:,} in chunks of {first.chunk:,}")
    return Chunk(
        file_id=file_id,
        sequence=sequence,
        offset=offset,
        payload=payload,
        version=first,
        last=bool(flags & LAST),
        sha256=sha256,
        size=size,
        abort=bool(flags & ABORT),
        checksum=checksum,
    )


def _checksum(head: bytes, metadata: bytes, payload: bytes) -> int:
    """CRC-32C of the whole value with its own four bytes 0."""
    state = google_crc32c.value(head + _NO_CHECKSUM + metadata)
    return int(google_crc32c.extend(state, payload)) if payload else int(state)


def _metadata(chunk: Chunk) -> bytes:
    facts: dict[str, object] = {}
    version = chunk.version
    if version is not None:
        facts.update(version.extra)
        facts["path"] = [_part_to_wire(part) for part in version.path.parts]
        facts.update(size=version.size, chunk=version.chunk, mtime_ns=version.mtime_ns, mode=version.mode)
        facts.update(sent_ns=version.sent_ns, source=version.source)
        if version.user:
            facts["user"] = dict(version.user)
        if version.span is not None:
            facts["bytes"] = list(version.span)
    if chunk.last:
        facts.update(sha256=chunk.sha256, size=chunk.size)
    return pack(facts) if facts else b""


def _part_to_wire(part: str) -> str | bytes:
    raw = part.encode("utf-8", "surrogateescape")
    return raw if any("\udc80" <= char <= "\udcff" for char in part) else part


def _check_flags(flags: int, sequence: int, offset: int, p: int) -> None:
    if bool(flags & FIRST) != (sequence == 0) or (sequence == 0 and offset):
        _bad(f"sequence number {sequence} at offset {offset:,} with flags {flags:#04x}: number 0 is the first record")
    if flags & ABORT and (flags != ABORT or p):
        _bad("an abort record that carries content")
    if sequence and offset < sequence * MIN_CHUNK and not flags & ABORT:
        _bad(f"sequence number {sequence} cannot begin at offset {offset:,}: chunks have at least {MIN_CHUNK:,} bytes")
    if p == 0 and sequence and not flags & ABORT:
        _bad("a record that carries nothing")


def _unpack(metadata: bytes) -> tuple[dict[str, object], int]:
    """What the metadata say, and how many items that are."""
    facts = unpack(metadata, "the metadata")
    if not isinstance(facts, dict) or not all(isinstance(key, str) for key in facts):
        _bad("the metadata is not a map with text as keys")
    return facts, _items_in(facts)


def _items_in(facts: object) -> int:
    """How many items there are on all levels. Raises BadRecord when they are too many or too deep."""
    level, items = [facts], 0
    for _ in range(_MAX_DEPTH):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        items += len(inner)
        if not inner:
            return items
        if items > _MAX_ITEMS:
            _bad(f"the metadata has more than {_MAX_ITEMS:,} items")
        level = inner
    raise BadRecord(f"the metadata is nested deeper than {_MAX_DEPTH} levels")


def _version(file_id: bytes, facts: Mapping[str, object], max_file_size: int, memory: int) -> FileVersion:
    size = _integer(facts, "size", 0, MAX_FILE_SIZE)
    if size > max_file_size:
        _bad(f"a file of {size:,} bytes, max-file-size is {max_file_size:,}")
    return FileVersion(
        id=file_id,
        path=_path(facts.get("path")),
        size=size,
        chunk=_integer(facts, "chunk", MIN_CHUNK, MAX_CHUNK),
        mtime_ns=_integer(facts, "mtime_ns", -(1 << 63), MAX_FILE_SIZE),
        mode=_integer(facts, "mode", 0, 0o7777),
        sent_ns=_integer(facts, "sent_ns", -(1 << 63), MAX_FILE_SIZE),
        source=_text(facts, "source"),
        user=_user(facts.get("user", {})),
        span=_span(facts.get("bytes"), size),
        extra={key: value for key, value in facts.items() if key not in _KNOWN},
        memory=memory,
    )


def _path(parts: object) -> RelativePath:
    if not isinstance(parts, list):
        _bad(f"the path is not a list of parts but {type(parts).__name__}")
    texts: list[str] = []
    for part in parts:
        if not isinstance(part, str | bytes):
            _bad(f"a part of the path is {type(part).__name__}, not text or bytes")
        texts.append(part if isinstance(part, str) else part.decode("utf-8", "surrogateescape"))
    try:
        return RelativePath(tuple(texts))
    except PathRefused as error:
        raise BadRecord(f"the path is refused: {error}") from error


def _integer(facts: Mapping[str, object], key: str, low: int, high: int) -> int:
    value = facts.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        _bad(f"metadata {key!r} is {_brief(value)}, it must be an integer from {low} to {high}")
    return value


def _text(facts: Mapping[str, object], key: str) -> str:
    value = facts.get(key)
    if not isinstance(value, str):
        _bad(f"metadata {key!r} is {_brief(value)}, it must be text")
    return value


def _user(value: object) -> Mapping[str, str | int | float]:
    if not isinstance(value, dict) or not all(
        isinstance(key, str) and isinstance(item, str | int | float) for key, item in value.items()
    ):
        _bad(f"metadata 'user' is {_brief(value)}, it must be a map from text to text or numbers")
    return value


def _span(value: object, size: int) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(item) is int for item in value):
        _bad(f"metadata 'bytes' is {_brief(value)}, it must be start and stop")
    start, stop = value
    if not 0 <= start <= stop <= MAX_FILE_SIZE or stop - start != size:
        _bad(f"bytes {start}-{stop} were selected, but the size is {size}")
    return start, stop


def _ending(facts: Mapping[str, object], end: int) -> tuple[bytes, int]:
    sha256 = facts.get("sha256")
    if not isinstance(sha256, bytes) or len(sha256) != 32:
        _bad(f"the last record's 'sha256' is {_brief(sha256)}, it must be 32 bytes")
    size = _integer(facts, "size", 0, MAX_FILE_SIZE)
    if size != end:
        _bad(f"the last record ends at byte {end:,} of a file of {size:,}")
    return sha256, size


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _bad(reason: str) -> NoReturn:
    raise BadRecord(reason)
