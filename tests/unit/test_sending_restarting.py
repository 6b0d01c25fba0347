"""A restart after a kill: what is whole in the topic counts as sent, and nothing that is not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from openmsi_core.model import Position, Record
from openmsi_core.sending import restarting
from openmsi_core.sending.goals import OnePass
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.reports import Report
from openmsi_core.sending.rules import Rules
from openmsi_core.sending.sender import Sender
from openmsi_core.sending.watching import Watch
from tests.sending_fakes import FakeSink, arrived, seen

CHUNK = 16 * 1024
OLD = 10**18 + 1


class Reader:
    """The RecordReader of what a fake sink holds."""

    def __init__(self, sink: FakeSink) -> None:
        self._logs = {number: [each for each in sink.records if each[0] == number] for number in range(sink.count)}
        self.ranges: Mapping[int, tuple[int, int]] = {}

    def ends(self) -> Mapping[int, tuple[int, int]]:
        return {number: (0, len(log)) for number, log in self._logs.items()}

    def since(self, timestamp_ms: int) -> Mapping[int, int]:
        raise AssertionError("nobody asks")

    def between(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record | None]:
        self.ranges = ranges
        for number, (begin, end) in ranges.items():
            yield None
            for offset in range(begin, end):
                _, key, value = self._logs[number][offset]
                yield Record(Position("t", number, offset), 0, key, value)


def _put(tmp_path: Path, name: str, content: bytes) -> Path:
    file = tmp_path / "in" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, ns=(OLD, OLD))
    return file


def _ledger(tmp_path: Path) -> Ledger:
    return Ledger(ledger_file(tmp_path / "state", tmp_path / "in", "t"), root=tmp_path / "in", topic="t")


def _once(tmp_path: Path, sink: FakeSink) -> list[Report]:
    """One pass of a watch that may look back."""
    reports: list[Report] = []

    @contextmanager
    def reader() -> Iterator[Reader]:
        yield Reader(sink)

    with _ledger(tmp_path) as ledger:
        rules = Rules(settle=0.06, interval=0.02)
        Watch(
            ledger, sink, OnePass(60_000_000), rules, threading.Event(), manner=Manner(CHUNK), report=reports.append,
            reader=reader,
        ).run()  # fmt: skip
    return reports


def _killed(tmp_path: Path, sink: FakeSink, *files: Path) -> None:
    """A sender whose process dies after everything was acknowledged, and before a row about it was written."""
    with _ledger(tmp_path) as ledger:
        sender = Sender(sink, ledger, lambda report: None, Manner(CHUNK))
        sender.start()
        for file in files:
            sender.offer(seen(file, tmp_path / "in"))
        while not sender.is_idle:
            sender.step(0.0)
        ledger._late.clear()
        ledger._late_offsets.clear()


def test_files_that_were_acknowledged_and_not_written_down_are_not_sent_again(tmp_path: Path) -> None:
    sink = FakeSink()
    _put(tmp_path, "before", b"b")
    assert len(_once(tmp_path, sink)) == 1
    files = [_put(tmp_path, name, os.urandom(size)) for name, size in (("a", 10), ("sub/b", 0), ("c", 3 * CHUNK))]
    _killed(tmp_path, sink, *files)
    count = len(sink.records)
    assert _once(tmp_path, sink) == []
    assert len(sink.records) == count
    with _ledger(tmp_path) as ledger:
        entry = ledger.entry(b"c")
        assert entry is not None
        assert (entry.size, entry.acknowledged, entry.sha256 is not None) == (3 * CHUNK, 3, True)


def test_what_changed_since_is_sent_and_what_was_only_touched_is_not(tmp_path: Path) -> None:
    sink = FakeSink()
    _put(tmp_path, "before", b"b")
    _once(tmp_path, sink)
    changed, touched, gone = (_put(tmp_path, name, name.encode()) for name in ("changed", "touched", "gone"))
    _killed(tmp_path, sink, changed, touched, gone)
    changed.write_bytes(b"CHANGED")
    os.utime(touched, ns=(OLD + 5, OLD + 5))
    gone.unlink()
    reports = _once(tmp_path, sink)
    assert [report.seen.key for report in reports] == [b"changed"]
    assert arrived(sink).whole["changed"] == [b"changed", b"CHANGED"]


def test_only_what_came_last_of_a_path_counts(tmp_path: Path) -> None:
    sink = FakeSink()
    _put(tmp_path, "before", b"b")
    _once(tmp_path, sink)
    file = _put(tmp_path, "f", b"one")
    _killed(tmp_path, sink, file)
    _killed(tmp_path, sink, _put(tmp_path, "f", b"two"))
    _put(tmp_path, "f", b"one")  # back to what it was
    _once(tmp_path, sink)
    assert arrived(sink).whole["f"] == [b"one", b"two", b"one"]


def test_nothing_is_read_where_nothing_came(tmp_path: Path) -> None:
    sink = FakeSink()
    _put(tmp_path, "before", b"b")
    _once(tmp_path, sink)
    with _ledger(tmp_path) as ledger:
        reader = Reader(sink)
        assert restarting._whole_behind(ledger.offsets(), reader.ends(), reader) == {}  # type: ignore[arg-type]
        assert reader.ranges == {}
        assert len(ledger.offsets()) == sink.count


def test_looking_back_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink = FakeSink(count=1)
    _put(tmp_path, "before", b"b")
    _once(tmp_path, sink)
    files = [_put(tmp_path, f"f{number}", b"x" * 1000) for number in range(5)]
    _killed(tmp_path, sink, *files)
    monkeypatch.setattr(restarting, "_MOST", 2_500)
    caplog.set_level("INFO")
    assert len(_once(tmp_path, sink)) == 3, "two were found"
    assert "files may be sent again" in caplog.text


def test_garbage_and_foreign_versions_in_the_topic_do_no_harm(tmp_path: Path) -> None:
    sink = FakeSink(count=1)
    _put(tmp_path, "before", b"b")
    _once(tmp_path, sink)
    theirs = _put(tmp_path, "theirs", b"their content")
    _killed(tmp_path, sink, theirs)
    theirs.write_bytes(b"our content!!")
    os.utime(theirs, ns=(OLD, OLD))  # equal in size and time: only the digest tells
    sink.records.append((0, b"k", b"garbage"))
    reports = _once(tmp_path, FakeSink(count=1, records=list(sink.records)))
    assert [report.seen.key for report in reports] == [b"theirs"]


def test_a_topic_of_which_the_ledger_knows_no_offsets_is_not_read(tmp_path: Path) -> None:
    sink = FakeSink()
    _killed(tmp_path, sink, _put(tmp_path, "f", b"f"))
    (report,) = _once(tmp_path, sink)
    assert report.seen.key == b"f"
