"""What is sealed: the same bytes as the library's, and no bytes that break anything."""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmsi_core.crypto import blobs

VECTORS = json.loads((Path(__file__).parents[1] / "corpus" / "sealed-vectors.json").read_text())["vectors"]
PURPOSES = {"key": blobs.KEY, "value": blobs.VALUE}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: f"{each['root']}-{each['purpose']}-{len(each['plain'])}")
def test_what_the_library_sealed_opens_for_its_purpose_alone(vector) -> None:
    sealed, secret = bytes.fromhex(vector["sealed"]), bytes.fromhex(vector["secret"])
    blob = blobs.parsed(sealed)
    index = vector["index"]
    assert blob.index == (index if isinstance(index, int) else bytes.fromhex(index))
    assert blobs.opened(blob, secret, PURPOSES[vector["purpose"]]) == bytes.fromhex(vector["plain"])
    other = blobs.VALUE if vector["purpose"] == "key" else blobs.KEY
    assert blobs.opened(blob, secret, other) is None


@given(st.binary(max_size=2000), st.one_of(st.binary(min_size=1, max_size=64), st.integers(0, 1 << 60)))
def test_what_is_sealed_opens_again_and_is_little_longer(data, index) -> None:
    sealed = blobs.seal(index, bytes(range(32)), data, blobs.VALUE)
    blob = blobs.parsed(sealed)
    assert (blob.index, blobs.opened(blob, bytes(range(32)), blobs.VALUE)) == (index, data)
    assert len(sealed) - len(data) <= blobs.OVERHEAD
    assert blobs.opened(blob, bytes(32), blobs.VALUE) is None


def test_the_same_bytes_are_never_sealed_alike() -> None:
    assert len({blobs.seal(b"i", bytes(32), b"same", blobs.VALUE) for _ in range(1000)}) == 1000


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(data) -> None:
    for each in (data, b"\x01" + data, b"\x01\x93" + data):
        try:
            blob = blobs.parsed(each)
        except blobs.NotSealed:
            continue
        assert isinstance(blob.index, bytes | int)
        assert len(blob.salt) == 16
        blobs.opened(blob, bytes(32), blobs.VALUE)


BOX = bytes(40)
MALFORMED = {
    "plain": b"OMSI\x01 a file record",
    "plain, empty": b"",
    "cut off": b"\x01" + msgpack.packb([b"i", bytes(16), BOX])[:-3],
    "not msgpack": b"\x01\xc1\xc1",
    "has not the three parts": b"\x01" + msgpack.packb([b"i", bytes(16)]),
    "has not the three": b"\x01" + msgpack.packb(7),
    "key index is neither": b"\x01" + msgpack.packb([[1], bytes(16), BOX]),
    "neither a number nor": b"\x01" + msgpack.packb([True, bytes(16), BOX]),
    "nor at most 256 bytes": b"\x01" + msgpack.packb([bytes(257), bytes(16), BOX]),
    "salt has not 16 bytes": b"\x01" + msgpack.packb([b"i", bytes(15), BOX]),
    "too short to hold": b"\x01" + msgpack.packb([b"i", bytes(16), bytes(15)]),
}


@pytest.mark.parametrize("why", MALFORMED)
def test_what_is_not_sealed_says_why(why) -> None:
    words = {"plain, empty": "plain", "not msgpack": "cut off or damaged"}.get(why, why)
    with pytest.raises(blobs.NotSealed, match=words):
        blobs.parsed(MALFORMED[why])
