"""What OpenMSIStream wrote: its own records, damaged ones, generations mixed up, and one process for each group."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import msgpack
import pytest

from openmsi_core.errors import BadRecord, TopicError
from openmsi_core.files import openmsistream
from openmsi_core.files.decoding import decode
from openmsi_core.model import Chunk, FileVersion, RelativePath
from openmsi_core.receiving.generations import Generations
from tests.fakes import Log, values_of
from tests.rig import Rig

WRITTEN = Path(__file__).resolve().parents[1] / "corpus" / "openmsistream"  # by OpenMSIStream 1.8.8 itself


def records_of(path: str, data: bytes, size: int, mtime: float = 1e9, **more) -> list[bytes]:
    """As the predecessor cuts a file; ``more`` replaces items by their number, ``items`` says how many there are."""
    folder, _, name = path.rpartition("/")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    whole = hashlib.sha512(data).digest()
    return [
        msgpack.packb(
            [name, whole, hashlib.sha512(piece).digest(), number * size, number + 1, len(pieces), folder,
             more.get("inserted", ""), piece, mtime][: more.get("items", 10)]
        )
        for number, piece in enumerate(pieces)
    ]  # fmt: skip


def test_records_that_openmsistream_wrote_become_the_files_that_it_sent(tmp_path) -> None:
    told = json.loads((WRITTEN / "records.json").read_text())
    log = Log(1 + max(each["partition"] for each in told["records"]))
    for each in sorted(told["records"], key=lambda record: record["offset"]):
        value = (WRITTEN / each["value"]).read_bytes()
        chunk = decode(value)
        log.put(value, partition=each["partition"])
        assert openmsistream.key_of(chunk, chunk.version, msgpack.unpackb(value)[5]).decode() == each["key"]
    rig = Rig(tmp_path, log, lambda file: {"mtime": file.mtime.timestamp()})
    assert rig.run() == 0
    found = {
        each["file"]["path"]: (each["file"]["size"], each["file"]["sha256"], each["metadata"]["mtime"])
        for each in rig.results()
    }
    assert found == {path: (facts["size"], facts["sha256"], facts["mtime"]) for path, facts in told["files"].items()}


def test_a_record_of_ours_in_its_format_is_read_back_as_it_was() -> None:
    version = FileVersion(b"i" * 16, RelativePath.parse("a b/é/c.tar.gz"), 5, 3, 1_500_000_000)
    whole = hashlib.sha512(b"hello").digest()
    chunk = Chunk(b"i" * 16, 1, 3, b"lo", last=True, sha512=whole)
    back = decode(openmsistream.encode(chunk, version, 2))
    assert (back.sequence, back.offset, back.payload, back.last, back.size, back.sha512) == (
        1,
        3,
        b"lo",
        True,
        5,
        whole,
    )
    assert (back.version.path, back.version.chunk, back.version.mtime_ns) == (version.path, 3, 1_500_000_000)
    assert openmsistream.key_of(chunk, version, 2) == "a b_é_c.tar.gz_chunk_2_of_2".encode()


@pytest.mark.parametrize(
    ("chunk", "path", "match"),
    [
        (Chunk(b"i" * 16, 0, 0, b"", last=True, sha512=b"s" * 64), "a", "no record for an empty file"),
        (Chunk(b"i" * 16, 0, 0, b"x", last=True, sha512=b"s" * 64), "\udcff", "not UTF-8"),
    ],
)
def test_what_its_format_cannot_say_is_refused(chunk, path, match) -> None:
    with pytest.raises(ValueError, match=match):
        openmsistream.encode(chunk, FileVersion(b"i" * 16, RelativePath((path,)), 1, 1, 0), 1)


def test_the_inserted_text_goes_before_the_last_suffix() -> None:
    (value,) = records_of("d/scan.tar.gz", b"x", 5, inserted="_head")
    assert str(decode(value).version.path) == "d/scan.tar_head.gz"


def test_older_records_of_nine_and_an_unknown_time_take_the_time_of_the_record() -> None:
    (nine,) = records_of("a", b"x", 5, items=9)
    (zero,) = records_of("a", b"x", 5, mtime=0.0)
    assert decode(nine, timestamp_ms=1234).version.mtime_ns == 1_234_000_000
    assert decode(zero, timestamp_ms=1234).version.mtime_ns == 1_234_000_000
    assert decode(zero).version.mtime_ns == 0


def replaced(at: int, value: object) -> bytes:
    fields = msgpack.unpackb(records_of("d/a", b"abcdefgh", 3)[1])
    fields[at] = value
    return msgpack.packb(fields)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (b"\x9a", "the value is not msgpack"),
        (msgpack.packb([1] * 8 + [2]), "must be text"),
        (msgpack.packb([1] * 20), "nor one of OpenMSIStream"),
        (replaced(0, ""), "path is refused"),
        (replaced(0, "../x"), "path is refused"),
        (replaced(6, "../../etc"), "path is refused"),
        (replaced(6, "/etc"), "path is refused"),
        (replaced(1, b"short"), "must be 64 bytes"),
        (replaced(2, bytes(64)), "was damaged"),
        (replaced(3, 4), "chunks of 3 bytes put it at 3"),
        (replaced(3, 1 << 62), "chunks of 3 bytes put it at"),
        (replaced(3, -1), "must be an integer"),
        (replaced(3, True), "must be an integer"),
        (replaced(4, 0), "must be an integer"),
        (replaced(4, 4), "must be an integer from 4"),
        (replaced(5, 1 << 40), "must be an integer"),
        (replaced(8, "text"), "must be any number of bytes"),
        (replaced(8, b""), "was damaged"),
        (replaced(9, float("nan")), "must be epoch seconds"),
        (replaced(9, "today"), "must be epoch seconds"),
        (replaced(9, 1e300), "must be epoch seconds"),
    ],
)
def test_a_record_that_cannot_be_is_bad(value, match) -> None:
    with pytest.raises(BadRecord, match=match):
        decode(value)


def test_a_claim_of_a_huge_file_is_refused_before_anything_is_allocated() -> None:
    value = records_of("a", b"abcdef", 3)[0]
    fields = msgpack.unpackb(value)
    fields[5] = 1 << 30
    with pytest.raises(BadRecord, match=r"up to 3,221,225,472 bytes, max-file-size is 1,000"):
        decode(msgpack.packb(fields), 1000)


@pytest.mark.parametrize("seed", range(500))
def test_two_generations_of_a_path_mixed_up_over_the_partitions_are_both_whole(tmp_path, seed) -> None:
    """Failure 2 of the predecessor: there, neither ever was. Which one stands at the end: the later time of change."""
    chance = random.Random(seed)
    size, partitions = chance.randrange(1, 40), chance.randrange(1, 5)
    old = chance.randbytes(chance.randrange(1, 200))
    new = chance.choice([old + b"more", old[: max(1, len(old) // 2)], chance.randbytes(len(old))])
    values = records_of("d/x.dat", old, size, mtime=100.0) + records_of("d/x.dat", new, size, mtime=200.0)
    values += chance.sample(values, chance.randrange(len(values)))  # late duplicates
    chance.shuffle(values)
    log = Log(partitions)
    for value in values:
        log.put(value, partition=chance.randrange(partitions))
    stored: list[bytes] = []
    rig = Rig(tmp_path, log, lambda file: stored.append(file.read_bytes()) or "done")
    assert rig.run() == 0
    outcomes = sorted(receipt["outcome"] for receipt in rig.receipts())
    if stored == [new]:  # the old one came later, and was whole too
        assert outcomes == ["done"] if old == new else outcomes == ["done", "superseded"]
    else:
        assert (stored, outcomes) == ([old, new], ["done", "done"])
    assert {number: commit.offset for number, commit in log.commits.items()} == {
        number: len(log.partitions[number]) for number in range(partitions)
    }


def test_a_damaged_whole_is_a_digest_mismatch(tmp_path) -> None:
    log = Log()
    first, second = records_of("a", b"abcdef", 3)
    fields = msgpack.unpackb(second)
    fields[8], fields[2] = b"DEF", hashlib.sha512(b"DEF").digest()
    log.put(first, msgpack.packb(fields))
    rig = Rig(tmp_path, log, lambda file: "done")
    rig.run()
    (letter,) = rig.letters()
    assert letter["what"] == "digest-mismatch"
    assert "SHA-512" in json.dumps(letter)
    assert rig.results() == []


def test_a_file_sent_in_chunks_of_another_size_with_the_same_number_of_them_is_contradictory(tmp_path) -> None:
    log = Log()
    data = b"abcdefg"  # two chunks of four, or of five
    log.put(records_of("a", data, 4)[0], records_of("a", data, 5)[1])
    rig = Rig(tmp_path, log, lambda file: "done")
    rig.run()
    assert [letter["what"] for letter in rig.letters()] == ["contradictory"]


def test_a_large_file_of_its_goes_through_the_spool_in_any_order(tmp_path) -> None:
    data = random.Random(1).randbytes(9 * 1024 * 1024)
    values = records_of("big", data, 524_288)
    random.Random(2).shuffle(values)
    log = Log(3)
    for number, value in enumerate(values):
        log.put(value, partition=number % 3)
    stored = []
    rig = Rig(tmp_path, log, lambda file: stored.append(hashlib.sha256(file.read_bytes()).digest()) or "done")
    assert rig.run() == 0
    assert stored == [hashlib.sha256(data).digest()]


def test_a_run_that_is_not_alone_on_a_topic_of_its_ends_with_what_to_do() -> None:
    generations = Generations()
    generations.must_be_alone("t", 1, 4, 1e6)  # nothing of OpenMSIStream was seen
    generations.saw(decode(records_of("a", b"abc", 5)[0]))
    generations.must_be_alone("t", 1, 4, 1e6)  # a file of one chunk lies in one partition
    generations.saw(decode(records_of("a", b"abcdef", 3)[0]))
    generations.must_be_alone("t", 4, 4, 1e6)
    generations.must_be_alone("t", 1, 4, 59.0)  # a member that was killed may hold the others
    with pytest.raises(TopicError, match="Start one run for each group"):
        generations.must_be_alone("t", 1, 4, 121.0)


def test_a_stray_record_of_its_does_not_end_a_run_on_native_files(caplog) -> None:
    generations = Generations()
    generations.saw(decode(records_of("a", b"abcdef", 3)[0]))
    generations.saw(decode(values_of("b", b"native")[0]))
    generations.must_be_alone("t", 1, 4, 121.0)
    generations.must_be_alone("t", 1, 4, 122.0)
    assert caplog.text.count("Start one run for each group") == 1
