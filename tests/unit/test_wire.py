"""The bytes of a file record."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import struct
from pathlib import Path

import google_crc32c
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmsi_core.errors import BadRecord, FileChanged, PathRefused
from openmsi_core.files import wire
from openmsi_core.files.chunking import abort_of, chunks
from openmsi_core.model import Chunk, FileVersion, RelativePath

VECTORS = json.loads((Path(__file__).parent.parent / "corpus" / "wire-vectors.json").read_text("utf-8"))
FACTS = {"path": ["a"], "size": 1, "chunk": 16384, "mtime_ns": 0, "mode": 0, "sent_ns": 0, "source": ""}
ENDING = {"sha256": bytes(32), "size": 1}


def raw(
    flags: int = 3, seq: int = 0, offset: int = 0, meta: object = None, payload: bytes = b"x", **head: int
) -> bytes:
    """A record built without our encoder."""
    metadata = meta if isinstance(meta, bytes) else msgpack.packb(FACTS | ENDING if meta is None else meta)
    fields = struct.pack(
        ">4sBBH16sIQIII",
        b"OMSI",
        head.get("version", 1),
        flags,
        head.get("m", len(metadata)),
        bytes(16),
        seq,
        offset,
        head.get("p", len(payload)),
        head.get("reserved", 0),
        0,
    )
    crc = google_crc32c.value(fields + metadata + payload)
    return fields[:44] + struct.pack(">I", crc ^ head.get("crc", 0)) + metadata + payload


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_the_golden_vectors_decode_to_what_they_say(name) -> None:
    vector = VECTORS[name]
    chunk = wire.decode(bytes.fromhex(vector["value"]))
    assert chunk.file_id.hex() == vector["id"]
    assert (chunk.sequence, chunk.offset, chunk.last, chunk.abort) == tuple(vector["head"])
    assert chunk.payload.hex() == vector["payload"]
    assert (chunk.version.path.as_json() if chunk.version else None) == vector["path"]
    assert (chunk.sha256.hex() if chunk.sha256 else None) == vector["sha256"]


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_the_golden_vectors_are_what_we_encode(name) -> None:
    value = bytes.fromhex(VECTORS[name]["value"])
    assert wire.encode(wire.decode(value)) == value


@given(
    size=st.integers(0, 3 * wire.MIN_CHUNK),
    parts=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5),
    user=st.dictionaries(st.text(max_size=9), st.one_of(st.text(max_size=9), st.integers(-(2**63), 2**63 - 1))),
    mtime=st.integers(-(2**63), 2**63 - 1),
)
def test_what_is_encoded_is_decoded_to_the_same(size, parts, user, mtime) -> None:
    try:
        path = RelativePath(tuple(part.decode("utf-8", "surrogateescape") for part in parts))
    except PathRefused:
        return
    version = FileVersion(b"i" * 16, path, size, wire.MIN_CHUNK, mtime, user=user, extra={"later": [1, "x"]})
    for chunk in chunks(io.BytesIO(bytes(size)), version):
        assert dataclasses.replace(wire.decode(wire.encode(chunk)), checksum=0) == chunk


@given(st.binary(max_size=300))
def test_random_bytes_are_a_bad_record_and_nothing_else(data) -> None:
    for value in (data, b"OMSI" + data, b"OMSI\1" + data):
        with pytest.raises(BadRecord):
            wire.decode(value)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_every_flipped_bit_is_noticed(at, bit) -> None:
    value = bytearray(raw())
    value[at % len(value)] ^= 1 << bit
    with pytest.raises(BadRecord):
        wire.decode(bytes(value))


NESTED = {"x": 1}
for _ in range(20):
    NESTED = {"x": NESTED}

HOSTILE = {
    "no value": (None, "empty value"),
    "empty value": (b"", "empty value"),
    "predecessor": (b"\x9a\xa1x", "begins with 9aa178"),
    "short": (b"OMSI\1", "the head alone has 48"),
    "version": (raw(version=2), "version 2"),
    "flag": (raw(flags=0x13), "flags 0x13"),
    "reserved": (raw(reserved=1), "reserved"),
    "too long": (raw() + b"x", "lengths do not add up"),
    "metadata longer than the value": (raw(m=60000), "lengths do not add up"),
    "payload of 4 GB": (raw(p=2**32 - 1), "lengths do not add up"),
    "checksum": (raw(crc=1), "checksum"),
    "first with a number": (raw(seq=1, offset=16384), "sequence number 1"),
    "middle with number 0": (raw(flags=0, meta=b""), "sequence number 0"),
    "first with an offset": (raw(offset=5), "offset 5"),
    "abort with content": (raw(flags=4, seq=1), "abort"),
    "offset that does not fit the number": (raw(flags=0, seq=9, offset=1, meta=b""), "cannot begin"),
    "nothing in the middle": (raw(flags=0, seq=1, offset=16384, meta=b"", payload=b""), "carries nothing"),
    "offset beyond everything": (raw(flags=0, seq=1, offset=2**64 - 1, meta=b""), "max-file-size"),
    "metadata not msgpack": (raw(meta=b"\xc1"), "not msgpack"),
    "metadata claims 4 billion items": (raw(meta=b"\xdf\xff\xff\xff\xff"), "not msgpack"),
    "metadata an array": (raw(meta=[1]), "not a map"),
    "metadata with number keys": (raw(meta=b"\x81\x01\x01"), "metadata"),
    "metadata nested": (raw(meta=FACTS | ENDING | {"extra": NESTED}), "nested deeper"),
    "metadata nested 60,000 deep": (raw(meta=b"\x91" * 60000), "not msgpack"),
    "metadata with 5,000 items": (raw(meta=FACTS | ENDING | {"extra": [0] * 5000}), "more than 4,096 items"),
    "no path": (raw(meta=ENDING | {"chunk": 16384}), "not a list of parts but NoneType"),
    "path text": (raw(meta=FACTS | ENDING | {"path": "a"}), "not a list"),
    "path of numbers": (raw(meta=FACTS | ENDING | {"path": [1]}), "part of the path is int"),
    "path empty": (raw(meta=FACTS | ENDING | {"path": []}), "refused"),
    "path up": (raw(meta=FACTS | ENDING | {"path": ["..", "..", "x"]}), "refused"),
    "path with a slash": (raw(meta=FACTS | ENDING | {"path": ["../../x"]}), "refused"),
    "path absolute": (raw(meta=FACTS | ENDING | {"path": ["", "etc", "passwd"]}), "refused"),
    "path NUL": (raw(meta=FACTS | ENDING | {"path": ["a\0b"]}), "refused"),
    "path part too long": (raw(meta=FACTS | ENDING | {"path": ["é" * 128]}), "refused"),
    "path too long": (raw(meta=FACTS | ENDING | {"path": ["a" * 250] * 17}), "refused"),
    "size negative": (raw(meta=FACTS | ENDING | {"size": -1}), "'size'"),
    "size true": (raw(meta=FACTS | ENDING | {"size": True}), "'size'"),
    "chunk tiny": (raw(meta=FACTS | ENDING | {"chunk": 1}), "'chunk'"),
    "mtime text": (raw(meta=FACTS | ENDING | {"mtime_ns": "now"}), "'mtime_ns'"),
    "source number": (raw(meta=FACTS | ENDING | {"source": 1}), "'source'"),
    "user list": (raw(meta=FACTS | ENDING | {"user": [1]}), "'user'"),
    "user nested": (raw(meta=FACTS | ENDING | {"user": {"a": {}}}), "'user'"),
    "bytes backwards": (raw(meta=FACTS | ENDING | {"bytes": [5, 4]}), "bytes 5-4"),
    "bytes one": (raw(meta=FACTS | ENDING | {"bytes": [5]}), "'bytes'"),
    "digest short": (raw(meta=FACTS | ENDING | {"sha256": b"x"}), "'sha256'"),
    "digest missing": (raw(meta=FACTS), "'sha256'"),
    "end not the size": (raw(meta=FACTS | ENDING, payload=b""), "ends at byte 0"),
    "first and only, but more was promised": (raw(flags=1, meta=FACTS | {"size": 5}), "first record"),
    "last missing": (raw(flags=1, meta=FACTS), "first record"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_records_are_refused_with_a_reason(name) -> None:
    value, reason = HOSTILE[name]
    with pytest.raises(BadRecord, match="(?s)" + re.escape(reason)):
        wire.decode(value)


def test_a_file_above_the_limit_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(BadRecord, match="max-file-size is 100"):
        wire.decode(raw(flags=1, meta=FACTS | {"size": 101}, payload=b"x" * 101), max_file_size=100)


def test_metadata_that_does_not_fit_is_refused_when_it_is_encoded() -> None:
    version = FileVersion(b"i" * 16, RelativePath.parse("a"), 0, 16384, 0, user={"note": "x" * 70_000})
    (chunk,) = chunks(io.BytesIO(b""), version)
    with pytest.raises(ValueError, match="less user metadata"):
        wire.encode(chunk)


def test_an_abort_is_a_record_of_48_bytes() -> None:
    value = wire.encode(abort_of(b"i" * 16, 2, 32768))
    assert len(value) == 48
    assert wire.decode(value).abort


@pytest.mark.parametrize("there", [b"", b"x" * 16384, b"x" * 19_999, b"x" * 20_001])
def test_a_file_that_ends_early_or_late_is_never_cut_to_its_end(there) -> None:
    version = FileVersion(b"i" * 16, RelativePath.parse("a"), 20_000, 16384, 0)
    out: list[Chunk] = []
    with pytest.raises(FileChanged):
        out.extend(chunks(io.BytesIO(there), version))
    assert not any(chunk.last for chunk in out)


class Dribble(io.BytesIO):
    """A reader that answers with less than it was asked for, as an unbuffered file may."""

    def read(self, count=-1):
        return super().read(min(count, 777))


def test_a_reader_that_dribbles_gives_the_same_chunks() -> None:
    version = FileVersion(b"i" * 16, RelativePath.parse("a"), 40_000, 16384, 0)
    data = bytes(n % 251 for n in range(40_000))
    assert list(chunks(Dribble(data), version)) == list(chunks(io.BytesIO(data), version))
