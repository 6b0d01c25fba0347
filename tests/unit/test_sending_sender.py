"""The sender against a fake sink: whatever happens to a file while it is read, nobody ever gets a mixture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.files.wire import decode
from openmsi_core.model import Chunk
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.ledger import Ledger, NoJournal
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget
from openmsi_core.sending.reading import open_file
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import Seen
from openmsi_core.sending.sender import Sender
from tests.sending_fakes import FakeSink, arrived, seen, tampering

CHUNK = 16 * 1024
BIG = bytes(range(256)) * 64 * 3 + b"tail"  # three whole chunks and a short one


class Bench:
    """A sender, its fake sink, and what it reported."""

    def __init__(
        self, root: Path, opener: Callable[[str], BinaryIO] = open_file, budget: Budget | None = None, **sink: object
    ) -> None:
        self.root = root
        self.sink = FakeSink(**sink)  # type: ignore[arg-type]
        self.reports: list[Report] = []
        self.journal = NoJournal()
        self.sender = Sender(
            self.sink, self.journal, self.reports.append, Manner(CHUNK, source="test"), budget=budget, opener=opener
        )
        self.sender.start()

    def put(self, name: str, content: bytes) -> Path:
        file = self.root / name
        file.write_bytes(content)
        os.utime(file, ns=(10**18, 10**18))  # long ago: every later change is a later time
        return file

    def send(self, *files: Path) -> list[Ending]:
        for file in files:
            self.sender.offer(seen(file, self.root))
        for _ in range(1000):
            if self.sender.is_idle:
                return [report.ending for report in self.reports]
            self.sender.step(0.0)
        raise AssertionError("the sender does not come to an end")


def test_a_file_of_several_chunks_arrives_whole_and_is_reported_with_its_position(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.send(bench.put("a.bin", BIG)) == [Ending.SENT]
    assert arrived(bench.sink).whole == {"a.bin": [BIG]}
    (report,) = bench.reports
    first = decode(bench.sink.records[0][2])
    assert first.version is not None
    assert (report.offset, report.partition, report.id) == (0, bench.sink.records[0][0], first.file_id)
    assert (first.version.mtime_ns, first.version.size, first.version.source) == (10**18, len(BIG), "test")
    assert len({partition for partition, _, _ in bench.sink.records}) == 1


def test_an_empty_file_is_one_record(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.send(bench.put("empty", b"")) == [Ending.SENT]
    assert len(bench.sink.records) == 1
    assert arrived(bench.sink).whole == {"empty": [b""]}


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_sizes_around_a_chunk_arrive_whole(tmp_path: Path, size: int) -> None:
    bench = Bench(tmp_path)
    content = os.urandom(size)
    assert bench.send(bench.put("f", content)) == [Ending.SENT]
    assert arrived(bench.sink).whole == {"f": [content]}
    assert len(bench.sink.records) == -(-size // CHUNK)


def _grow(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b"more")


def _shrink(file: Path) -> None:
    os.truncate(file, 5)


def _overwrite(file: Path) -> None:
    with file.open("r+b") as out:
        out.write(b"X" * 100)


def _overwrite_the_end(file: Path) -> None:
    with file.open("r+b") as out:
        out.seek(-3, os.SEEK_END)
        out.write(b"NEW")


def _replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    os.utime(other, ns=(10**18, 10**18))  # equal in size and time: only the inode tells
    other.rename(file)


@pytest.mark.parametrize("change", [_grow, _shrink, _overwrite, _overwrite_the_end, _replace])
@pytest.mark.parametrize("read", [0, 1, 2, 3, 4])
def test_a_file_that_changes_at_any_read_is_given_up_and_never_a_mixture(
    tmp_path: Path, change: Callable[[Path], None], read: int
) -> None:
    file = tmp_path / "a.bin"
    bench = Bench(tmp_path, tampering(read, lambda: change(file)))
    bench.put("a.bin", BIG)
    assert bench.send(file) == [Ending.CHANGED]
    found = arrived(bench.sink)
    assert found.whole == {}
    assert found.unfinished == []
    assert len(found.aborted) == (1 if bench.sink.records else 0)
    assert bench.send(file)[1:] == [Ending.SENT]
    assert arrived(bench.sink).whole == {"a.bin": [file.read_bytes()]}


@pytest.mark.parametrize("change", [_grow, _shrink, _overwrite, _replace])
def test_a_small_file_that_changes_while_it_is_read_leaves_no_record(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    file = tmp_path / "small"
    bench = Bench(tmp_path, tampering(1, lambda: change(file)))
    bench.put("small", b"x" * 200)
    assert bench.send(file) == [Ending.CHANGED]
    assert bench.sink.records == []


def test_a_file_that_is_deleted_while_it_is_read_is_whole_in_our_hands_and_sent(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    bench = Bench(tmp_path, tampering(2, file.unlink))
    bench.put("a.bin", BIG)
    assert bench.send(file) == [Ending.SENT]
    assert arrived(bench.sink).whole == {"a.bin": [BIG]}


def test_a_file_that_changed_since_it_was_seen_goes_back_before_anything_is_sent(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    file = bench.put("a.bin", BIG)
    bench.sender.offer(seen(file, tmp_path))
    _grow(file)
    bench.sender.step(0.0)
    assert [report.ending for report in bench.reports] == [Ending.CHANGED]
    assert bench.sink.records == []


def test_a_file_that_is_gone_is_an_ordinary_event(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    file = bench.put("a", b"1")
    bench.sender.offer(seen(file, tmp_path))
    file.unlink()
    bench.sender.step(0.0)
    assert [report.ending for report in bench.reports] == [Ending.VANISHED]


def test_a_file_that_somebody_holds_locked_is_reported_with_the_reason(tmp_path: Path) -> None:
    def locked(file: str) -> BinaryIO:
        raise PermissionError(13, "Permission denied", file)

    bench = Bench(tmp_path, locked)
    assert bench.send(bench.put("a", b"1")) == [Ending.UNREADABLE]
    assert bench.reports[0].reason == "Permission denied"


def test_a_disk_that_fails_in_mid_file_gives_the_version_up(tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError(5, "Input/output error")

    bench = Bench(tmp_path, tampering(2, broken))
    assert bench.send(bench.put("a.bin", BIG)) == [Ending.UNREADABLE]
    assert len(arrived(bench.sink).aborted) == 1


def test_a_pipe_in_the_place_of_a_file_does_not_hold_the_sender(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    file = bench.put("a", b"1")
    look = seen(file, tmp_path)
    file.unlink()
    os.mkfifo(file)
    bench.sender.offer(look)
    bench.sender.step(0.0)
    assert [report.ending for report in bench.reports] == [Ending.CHANGED]


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    file = bench.put("a", b"1")
    look = seen(file, tmp_path)
    file.unlink()
    file.symlink_to("/etc/passwd")
    bench.sender.offer(look)
    bench.sender.step(0.0)
    assert [report.ending for report in bench.reports] == [Ending.UNREADABLE]
    assert bench.sink.records == []


@pytest.mark.parametrize("number", [1, 3])
def test_a_refused_record_fails_its_file_and_gives_it_up(tmp_path: Path, number: int) -> None:
    def refuses(count: int, chunk: Chunk) -> str:
        return "" if chunk.abort or chunk.sequence != number else "message too large"

    bench = Bench(tmp_path, refuses=refuses)
    assert bench.send(bench.put("a.bin", BIG)) == [Ending.REFUSED]
    assert bench.reports[0].reason == "message too large"
    assert any(decode(value).abort for _, _, value in bench.sink.records)


def test_a_refused_small_file_needs_no_abort(tmp_path: Path) -> None:
    bench = Bench(tmp_path, refuses=lambda number, chunk: "no" if number == 0 else "")
    assert bench.send(bench.put("a", b"1"), bench.put("b", b"2")) == [Ending.REFUSED, Ending.SENT]
    assert arrived(bench.sink).whole == {"b": [b"2"]}


def test_nothing_is_reported_before_the_last_acknowledgement(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_late=True)
    bench.sender.offer(seen(bench.put("a.bin", BIG), tmp_path))
    for _ in range(20):
        bench.sender.step(0.0)
    assert bench.reports == []
    assert bench.sink.pending() == 4
    bench.sink.is_late = False
    bench.sender.step(0.0)
    assert [report.ending for report in bench.reports] == [Ending.SENT]


def test_reading_stops_when_the_broker_is_late_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    budget = Budget(bytes=4 * CHUNK)
    bench = Bench(tmp_path, budget=budget, is_late=True)
    files = [bench.put(f"{n}.bin", BIG) for n in range(20)] + [bench.put(f"{n}.txt", b"s" * 900) for n in range(200)]
    for file in files:
        bench.sender.offer(seen(file, tmp_path))
    for _ in range(100):
        bench.sender.step(0.0)
    assert bench.sink.queued_bytes() <= budget.bytes + 1024  # heads and keys come on top of the payload
    bench.sink.is_late = False
    assert set(bench.send()) == {Ending.SENT}
    assert len(arrived(bench.sink).whole) == 220


def test_a_broker_that_goes_away_loses_no_record_and_doubles_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.sender.offer(seen(bench.put("a.bin", BIG), tmp_path))
    bench.sender.offer(seen(bench.put("small", b"s"), tmp_path))
    for _ in range(4):
        bench.sink.is_away = True
        with pytest.raises(BrokerUnreachable):
            bench.sender.step(0.0)
        bench.sink.is_away = False
        bench.sender.step(0.0)
    assert set(bench.send()) == {Ending.SENT}
    assert arrived(bench.sink).whole == {"a.bin": [BIG], "small": [b"s"]}


def test_small_files_are_not_held_up_behind_big_ones(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    big = [bench.put(f"{n}.bin", BIG * 20) for n in range(12)]
    assert set(bench.send(*big, bench.put("small", b"s"))) == {Ending.SENT}
    names = [report.seen.relative.text for report in bench.reports]
    assert names[0] == "small"


def test_a_path_is_offered_again_only_after_its_report(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    look = seen(bench.put("a", b"1"), tmp_path)
    bench.sender.offer(look)
    assert bench.sender.is_busy_with(b"a")
    with pytest.raises(ValueError, match="on its way"):
        bench.sender.offer(look)
    bench.send()
    assert not bench.sender.is_busy_with(b"a")


def test_a_stop_gives_up_half_produced_files_and_waits_for_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    half, small = bench.put("half.bin", BIG), bench.put("small", b"s")
    bench.sender.offer(seen(half, tmp_path))
    bench.sender.step(0.0)
    bench.sender.offer(seen(small, tmp_path))
    bench.sink.is_late = True
    bench.sender.step(0.0)
    bench.sender.offer(seen(bench.put("unbegun", b"u"), tmp_path))
    bench.sink.is_late = False
    bench.sender.finish(1.0)
    endings = {report.seen.relative.text: report.ending for report in bench.reports}
    assert endings == {"unbegun": Ending.STOPPED, "half.bin": Ending.STOPPED, "small": Ending.SENT}
    assert len(arrived(bench.sink).aborted) == 1
    assert bench.sender.is_idle


@pytest.mark.parametrize("trouble", ["is_late", "is_away"])
def test_a_stop_while_the_broker_is_silent_ends_in_time_and_leaves_the_file_unsent(
    tmp_path: Path, trouble: str
) -> None:
    bench = Bench(tmp_path)
    bench.sink.is_late = True
    bench.sender.offer(seen(bench.put("a.bin", BIG), tmp_path))
    bench.sender.step(0.0)
    setattr(bench.sink, trouble, True)
    now = iter(range(100))
    bench.sender.finish(5.0, clock=lambda: float(next(now)))
    assert [report.ending for report in bench.reports] == [Ending.STOPPED]


def test_the_ledger_says_sending_before_the_first_record_and_sent_after_the_last_answer(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with Ledger(tmp_path / "state" / "l.sqlite", root=tmp_path / "in", topic="t") as ledger:
        bench = Bench(tmp_path / "in", is_late=True)
        sender = Sender(bench.sink, ledger, bench.reports.append, Manner(CHUNK))
        sender.start()
        sender.offer(seen(bench.put("a.bin", BIG), bench.root))
        sender.step(0.0)
        (entry,) = ledger.half_sent()
        assert entry.id == decode(bench.sink._queue[0][2]).file_id
        assert entry.state is State.SENDING
        bench.sink.is_late = False
        for _ in range(10):
            sender.step(0.0)
        sent = ledger.entry(b"a.bin")
        assert sent is not None
        assert (sent.state, sent.size, sent.acknowledged, sent.first_offset) == (State.SENT, len(BIG), 4, 0)
        assert ledger.known(b"a.bin", len(BIG), 10**18)


def test_what_an_earlier_process_left_half_sent_is_given_up_before_the_file_is_sent_anew(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_late=True)
    half = Entry(b"a.bin", len(BIG), 1, State.SENDING, id=b"i" * 16, partition=2, chunk=CHUNK)
    elsewhere = Entry(b"b", 1, 1, State.SENDING, id=b"j" * 16, partition=99, chunk=CHUNK)
    assert bench.sender.abandon([half, elsewhere]) == 1
    assert bench.sender.is_busy_with(b"a.bin")
    bench.sink.is_late = False
    bench.send()
    ((partition, key, value),) = bench.sink.records
    assert (partition, key, decode(value).abort, decode(value).file_id) == (2, b"a.bin", True, b"i" * 16)
    assert not bench.sender.is_busy_with(b"a.bin")


def test_a_name_that_is_not_utf8_goes_through(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    name = os.fsdecode(b"caf\xe9\n\"' \xe2\x82\xac")
    file = bench.put(name, b"1")
    bench.sender.offer(Seen(str(file), os.fsencode(name), seen(file, tmp_path).facts))
    assert bench.send() == [Ending.SENT]
    assert bench.sink.records[0][1] == b"caf\xe9\n\"' \xe2\x82\xac"
