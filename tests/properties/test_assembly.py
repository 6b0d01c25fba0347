"""Assembly, whatever the order: properties."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi_core.files import wire
from openmsi_core.files.assembly import Assembler, Limits
from openmsi_core.files.chunking import abort_of, chunks
from openmsi_core.files.events import Aborted, Broken, Ignored, Whole
from openmsi_core.files.spool import Spool
from openmsi_core.model import Chunk, FileVersion, Position, Record, RelativePath, What

KIB16 = wire.MIN_CHUNK


def version(number: int, size: int) -> FileVersion:
    return FileVersion(bytes([number]) * 16, RelativePath.parse(f"f{number}"), size, KIB16, 0)


def cut(number: int, data: bytes) -> list[Chunk]:
    return [
        wire.decode(wire.encode(chunk)) for chunk in chunks(io.BytesIO(data), version(number, len(data)))
    ]  # decoded, so that checksums are there


def record(offset: int, partition: int = 0) -> Record:
    return Record(Position("t", partition, offset), 1000 + offset, None, b"-")


def feed(assembler: Assembler, stream: list[Chunk], partition: int = 0) -> list[object]:
    events = [assembler.take(record(offset, partition), chunk) for offset, chunk in enumerate(stream)]
    return [event for event in events if event is not None]


files = st.lists(st.binary(max_size=5 * KIB16 + 7), min_size=1, max_size=3)


@settings(max_examples=120, deadline=None)
@given(data=files, random=st.randoms(use_true_random=False), limit=st.sampled_from([0, KIB16, 1 << 23]))
def test_any_order_with_duplicates_gives_each_file_once_and_right(data, random, limit) -> None:
    stream = [chunk for number, each in enumerate(data) for chunk in cut(number, each)]
    stream += random.sample(stream, len(stream) // 2)
    random.shuffle(stream)
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
        assembler = Assembler(spool, Limits(in_memory_file=limit))
        wholes = feed(assembler, stream)
        assert sorted(whole.version.path.name for whole in wholes) == [f"f{n}" for n in range(len(data))]
        for whole in wholes:
            content = data[int(whole.version.path.name[1:])]
            assert whole.content.read() == content
            assert whole.version.sha256 == hashlib.sha256(content).digest()
            whole.content.discard()
        assert (len(assembler), assembler.memory, assembler.spooled) == (0, 0, 0)
        assert list(spool.folder.iterdir()) == []


@settings(max_examples=120, deadline=None)
@given(
    data=st.integers(0, 2 * KIB16).map(lambda more: b"abc" * (KIB16 + more)),
    missing=st.integers(0, 10),
    random=st.randoms(use_true_random=False),
)
def test_a_file_with_a_missing_record_is_never_whole(data, missing, random) -> None:
    stream = cut(1, data)
    del stream[missing % len(stream)]
    random.shuffle(stream)
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
        assembler = Assembler(spool)
        assert feed(assembler, stream) == []
        assert assembler.stale(10**9) == [b"\1" * 16]
        dropped = assembler.drop(b"\1" * 16, What.INCOMPLETE, "gone")
        assert dropped.what is What.INCOMPLETE
        assert (assembler.memory, assembler.spooled) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=3 * KIB16), at=st.integers(0, 1 << 20))
def test_content_that_does_not_match_its_digest_is_never_handed_out(data, at) -> None:
    stream = cut(1, data)
    bad = at % len(stream)
    chunk = stream[bad]
    flipped = bytes([chunk.payload[0] ^ 1]) + chunk.payload[1:]
    stream[bad] = wire.decode(wire.encode(Chunk(**{f: getattr(chunk, f) for f in FIELDS} | {"payload": flipped})))
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
        (event,) = feed(Assembler(spool), stream)
    assert isinstance(event, Broken)
    assert event.what is What.DIGEST_MISMATCH


FIELDS = Chunk.__dataclass_fields__


def test_two_different_records_with_one_number_break_the_version(tmp_path) -> None:
    stream = cut(1, b"a" * (3 * KIB16))
    other = cut(1, b"b" * (3 * KIB16))
    with Spool(tmp_path) as spool:
        (event,) = feed(Assembler(spool), [stream[0], stream[1], other[1]])
    assert isinstance(event, Broken)
    assert event.what is What.CONTRADICTORY
    assert "sequence number 1" in event.reason


def test_an_abort_ends_the_version_and_frees_it(tmp_path) -> None:
    stream = cut(1, b"a" * (3 * KIB16))[:2]
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool)
        (event,) = feed(assembler, [*stream, abort_of(b"\1" * 16, 2, 2 * KIB16)])
        assert isinstance(event, Aborted)
        assert (len(assembler), assembler.memory) == (0, 0)


def test_late_duplicates_of_a_finished_version_are_counted_and_dropped(tmp_path) -> None:
    stream = cut(1, b"a" * (2 * KIB16))
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool)
        assert len(feed(assembler, stream + stream)) == 1
        assert assembler.late == 2


def test_what_nobody_wants_is_counted_but_not_kept(tmp_path) -> None:
    stream = cut(1, b"a" * (4 * KIB16))
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, Limits(in_memory_file=KIB16), wanted=lambda _: False)
        assert feed(assembler, stream[:3]) == []
        assert (assembler.memory, assembler.spooled) == (0, 0)
        assert list(spool.folder.iterdir()) == []
        (event,) = feed(assembler, [stream[3]])
        assert isinstance(event, Ignored)


def test_headless_records_wait_for_their_first_one_on_disk_too(tmp_path) -> None:
    data = bytes(range(256)) * 64 * 5
    stream = cut(1, data)
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, Limits(in_memory_file=2 * KIB16))
        (whole,) = feed(assembler, stream[::-1])
        assert isinstance(whole, Whole)
        assert whole.content.path() is not None
        assert whole.content.read() == data


def test_many_open_versions_together_stay_within_the_memory_limit(tmp_path) -> None:
    limits = Limits(memory=10 * KIB16)
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, limits)
        streams = [cut(number, bytes([number]) * (3 * KIB16)) for number in range(30)]
        for step in range(2):
            for stream in streams:
                assert assembler.take(record(0), stream[step]) is None
                assert assembler.memory <= limits.memory
        assert assembler.spooled > 0
        wholes = [assembler.take(record(0), stream[2]) for stream in streams]
        assert all(isinstance(whole, Whole) for whole in wholes)
        assert [whole.content.read() for whole in wholes] == [bytes([n]) * (3 * KIB16) for n in range(30)]


def test_beyond_the_limit_of_open_versions_the_stalest_go_first(tmp_path) -> None:
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, Limits(open_versions=2))
        for number in range(4):
            assembler.take(record(number), cut(number, b"x" * (2 * KIB16))[0])
        assert assembler.excess() == [bytes([0]) * 16, bytes([1]) * 16]


def test_partitions_that_are_taken_away_leave_nothing_behind(tmp_path) -> None:
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, Limits(in_memory_file=0))
        feed(assembler, cut(1, b"x" * (2 * KIB16))[:1], partition=1)
        feed(assembler, cut(2, b"x" * (2 * KIB16))[:1], partition=2)
        assembler.forget_partitions({1})
        assert len(assembler) == 1
        assert not assembler.has_ended(b"\1" * 16)
        assert len(list(spool.folder.iterdir())) == 1


def test_a_version_that_lies_on_several_partitions_knows_where(tmp_path) -> None:
    stream = cut(1, b"x" * (3 * KIB16))
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool)
        assembler.take(record(7, 1), stream[0])
        assembler.take(record(3, 0), stream[2])
        whole = assembler.take(record(9, 1), stream[1])
    assert isinstance(whole, Whole)
    assert whole.span.runs == {1: (7, 9, 2), 0: (3, 3, 1)}


def test_a_leftover_spool_of_a_dead_process_is_removed_and_a_living_one_is_not(tmp_path) -> None:
    dead = tmp_path / "spool-1-dead"
    dead.mkdir()
    (dead / "x").write_bytes(b"x")
    dead.with_suffix(".lock").touch()
    with Spool(tmp_path) as first:
        assert not dead.exists()
        with Spool(tmp_path):
            assert first.folder.exists()


def test_a_file_larger_than_the_spool_may_become_ends_with_its_first_record(tmp_path) -> None:
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, Limits(in_memory_file=0, file=3 * KIB16))
        first, *rest = cut(1, bytes(4 * KIB16))
        (event,) = feed(assembler, [first])
        assert isinstance(event, Broken)
        assert event.what is What.INCOMPLETE
        assert "larger than spool-limit" in event.reason
        assert feed(assembler, rest) == []
        assert (len(assembler), assembler.spooled) == (0, 0)
        assert isinstance(feed(assembler, cut(2, bytes(3 * KIB16)))[0], Whole)
