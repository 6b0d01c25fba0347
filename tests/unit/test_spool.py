"""A spool on a disk that is full: nothing is lost, nothing counts twice, and all goes on when there is room."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from openmsi_core.errors import RetryLater, SpoolFull
from openmsi_core.files import spool as spool_module
from openmsi_core.files import wire
from openmsi_core.files.assembly import Assembler, Limits
from openmsi_core.files.chunking import chunks
from openmsi_core.files.events import Whole
from openmsi_core.files.spool import Spool, SpoolFile
from openmsi_core.model import Chunk, FileVersion, Position, Record, RelativePath
from openmsi_core.ports import NotYet, Opened
from openmsi_core.receiving.pace import Pace
from openmsi_core.testing.files import data_file
from tests.fakes import Log, values_of
from tests.rig import Rig

KIB16 = wire.MIN_CHUNK
DATA = os.urandom(5 * KIB16 + 7)
LARGE_IS_ALL = Limits(in_memory_file=0)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the file system says of itself; set ``free`` to fill it."""
    said = {"total": 1 << 30, "free": 1 << 30}
    monkeypatch.setattr(spool_module.shutil, "disk_usage", lambda _: Usage(said["total"], 0, said["free"]))
    return said


@contextmanager
def failing_writes(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC, after: int = 0) -> Iterator[None]:
    """Every write to a spool file but the first ``after`` ones fails half way."""
    left = [after]
    real = SpoolFile.write

    def write(file: SpoolFile, offset: int, data: bytes) -> None:
        left[0] -= 1
        if left[0] >= 0:
            real(file, offset, data)
            return
        with spool_module._room_for(file.path.parent, len(data)):
            with file.path.open("r+b") as out:
                out.seek(offset)
                out.write(data[: len(data) // 2])
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(SpoolFile, "write", write)
        yield


def cut(number: int, data: bytes = DATA) -> list[Chunk]:
    version = FileVersion(bytes([number]) * 16, RelativePath.parse(f"f{number}"), len(data), KIB16, 0)
    return [wire.decode(wire.encode(chunk)) for chunk in chunks(io.BytesIO(data), version)]


def record(offset: int) -> Record:
    return Record(Position("t", 0, offset), 0, None, b"-")


def state(assembler: Assembler) -> tuple[object, ...]:
    spans = {key: dict(opened.span.runs) for key, opened in assembler._open.items()}
    return len(assembler), assembler.memory, assembler.spooled, assembler.facts, spans, assembler.first_offsets(0)


def test_a_twentieth_of_the_disk_stays_free_and_at_most_ten_gib(tmp_path: Path, disk: dict[str, int]) -> None:
    with Spool(tmp_path) as spool:
        file = spool.new_file()
        disk["free"] = disk["total"] // 20 + 10
        file.write(0, b"x" * 10)
        with pytest.raises(SpoolFull, match=r"no room: 53,687,101 bytes are free"):
            file.write(10, b"x" * 11)
        disk |= {"total": 100 * 1024**4, "free": 11 * 1024**3}
        file.write(10, b"x")


def test_how_much_of_the_disk_stays_free_can_be_said(tmp_path: Path, disk: dict[str, int]) -> None:
    with Spool(tmp_path, free=1000) as spool:
        file = spool.new_file()
        disk["free"] = 1010
        file.write(0, b"x" * 10)
        with pytest.raises(SpoolFull, match=r"1,000 of them are kept for others \(spool-free\)"):
            file.write(10, b"x" * 11)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_record_that_found_no_room_changes_nothing_and_can_be_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, LARGE_IS_ALL)
        for offset, chunk in enumerate(cut(1)):
            before = state(assembler)
            with failing_writes(monkeypatch, number), pytest.raises(SpoolFull, match=os.strerror(number)):
                assembler.take(record(offset), chunk)
            assert state(assembler) == before
            assert len(list(spool.folder.iterdir())) == (1 if offset else 0)
            event = assembler.take(record(offset), chunk)
        assert isinstance(event, Whole)
        assert event.content.read() == DATA
        assert event.span.runs == {0: (0, 5, 6)}
        assert (assembler.memory, assembler.spooled, assembler.facts) == (0, 0, 0)


def test_a_file_that_must_move_from_memory_to_the_spool_stays_in_memory_when_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks_ = cut(1)
    stream = [chunks_[number] for number in (4, 3, 2, 5, 1, 0)]  # only the first and the last one say how large it is
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, Limits(in_memory_file=3 * KIB16))
        for offset in (0, 1, 2):
            assembler.take(record(offset), stream[offset])
        before = state(assembler)
        for after in (0, 1, 2):  # the third of three pieces fails, too
            with failing_writes(monkeypatch, after=after), pytest.raises(SpoolFull):
                assembler.take(record(3), stream[3])
            assert state(assembler)[:1] + state(assembler)[4:] == before[:1] + before[4:]
            assert assembler.memory + assembler.spooled == before[1]
            assert len(list(spool.folder.iterdir())) == (1 if assembler.spooled else 0)
        events = [assembler.take(record(offset), stream[offset]) for offset in (3, 4, 5)]
        assert isinstance(events[-1], Whole)
        assert events[-1].content.read() == DATA


def test_a_memory_limit_that_cannot_be_kept_stops_the_next_record_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [cut(number) for number in range(4)]
    with Spool(tmp_path) as spool:
        assembler = Assembler(spool, Limits(memory=3 * KIB16))
        for number in range(3):
            assembler.take(record(number), streams[number][0])
        before = state(assembler)
        with failing_writes(monkeypatch), pytest.raises(SpoolFull):
            assembler.take(record(3), streams[3][0])
        assert state(assembler) == before
        wholes = []
        for offset, (place, number) in enumerate((place, number) for place in range(6) for number in range(4)):
            wholes.append(assembler.take(record(offset), streams[number][place]))
            assert assembler.memory <= 3 * KIB16
        assert [each.content.read() for each in wholes if isinstance(each, Whole)] == [DATA] * 4


def test_what_waiting_does_not_mend_is_an_error_of_the_system(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        shutil.rmtree(spool.folder)
        with pytest.raises(FileNotFoundError):
            Assembler(spool, LARGE_IS_ALL).take(record(0), cut(1)[0])


@pytest.mark.parametrize("sealed", [False, True])
def test_a_run_waits_for_room_says_so_once_and_goes_on(
    tmp_path: Path, disk: dict[str, int], caplog: pytest.LogCaptureFixture, sealed: bool
) -> None:
    class Late:
        """Opens nothing at first, so that every record is parked."""

        turns = 0

        def open_value(self, topic: str, value: bytes) -> Opened | NotYet:
            return NotYet(b"k") if sealed and self.turns < 3 else Opened(value)

    log, found = Log(), {}
    for number in range(3):
        log.put(*values_of(f"large-{number}", DATA), *values_of(f"small-{number}", b"small"))
    sealer, commits = Late(), []

    def before_poll() -> None:
        sealer.turns += 1
        commits.append(log.commits[0].offset if 0 in log.commits else 0)

    rig = Rig(
        tmp_path,
        log,
        lambda file: found.__setitem__(str(file.path), file.read_bytes()),
        limits=Limits(in_memory_file=KIB16),
        sealer=sealer,
    )
    rig.source.before_poll = before_poll
    turns = [0]
    real = rig.stream._wait_for_room

    def wait_for_room(source: object) -> None:
        turns[0] += 1
        disk["free"] = 1 << 30 if turns[0] == 4 else disk["free"]
        real(source)

    rig.stream._wait_for_room = wait_for_room  # type: ignore[method-assign,assignment]
    real_keep = rig.stream._keep_house

    def keep_house(source: object) -> None:
        turns[0] += sealed
        disk["free"] = 1 << 30 if turns[0] >= 40 else disk["free"]
        real_keep(source)

    rig.stream._keep_house = keep_house  # type: ignore[method-assign,assignment]
    disk["free"] = 0
    assert rig.run() == 0
    assert found == {f"large-{number}": DATA for number in range(3)} | {f"small-{n}": b"small" for n in range(3)}
    assert rig.letters() == []
    assert log.commits[0].offset == len(log.partitions[0])
    if not sealed:
        assert rig.counts.records == len(log.partitions[0])
        assert len([each for each in caplog.records if "reading stops" in each.message]) == 1
        assert commits[0] == 0


def test_a_stop_while_the_spool_is_full_commits_nothing_beyond_the_waiting_record(
    tmp_path: Path, disk: dict[str, int]
) -> None:
    log = Log()
    log.put(*values_of("small", b"small"), *values_of("large", DATA), *values_of("after", b"after"))
    rig = Rig(tmp_path, log, lambda _: {}, limits=Limits(in_memory_file=KIB16))
    disk["free"] = 0
    rig.stream._wait_for_room = lambda _: rig.stream.stopping.set()  # type: ignore[method-assign]
    with rig.stack:
        assert rig.stream.run(rig.source, rig.store) == 1
    assert log.commits[0].offset == 1
    disk["free"] = 1 << 30
    again = Rig(tmp_path, log, lambda _: {}, limits=Limits(in_memory_file=KIB16))
    assert again.run() == 0
    assert [each["file"]["path"] for each in again.results()] == ["small", "large", "after"]


def test_a_record_that_waits_is_forgotten_with_its_partition(tmp_path: Path, disk: dict[str, int]) -> None:
    log = Log(2)
    log.put(*values_of("large", DATA), partition=0)
    pace = Pace(longest=0.05, housekeeping=0.0, stall_before_pause=0.0)  # paused at once, and polled meanwhile
    rig = Rig(tmp_path, log, lambda _: {}, limits=Limits(in_memory_file=KIB16), pace=pace)
    disk["free"] = 0
    turns = [0]

    def before_poll() -> None:
        turns[0] += 1
        if turns[0] == 3:
            rig.source.revoke([0])
            assert not rig.intake.waiting
            disk["free"] = 1 << 30
            rig.source.assign([0])

    rig.source.before_poll = before_poll
    assert rig.run() == 0
    assert turns[0] > 3
    assert [each["file"]["path"] for each in rig.results()] == ["large"]
    assert log.commits[0].offset == len(log.partitions[0])


def test_a_copy_for_a_library_waits_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = data_file(b"abc", "x.dat", workdir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _full)
        with pytest.raises(RetryLater, match="no room for a copy"):
            file.local_path()
    assert list(tmp_path.iterdir()) == []
    assert file.local_path().read_bytes() == b"abc"
    file.release()


def _full(*_: object, **__: object) -> object:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
