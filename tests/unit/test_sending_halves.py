"""Halves: what a killed sender left is continued where that is safe, and given up where it is not."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from openmsi_core.files.wire import decode
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.halves import FRESH_NS, may_go_on
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import facts_of
from openmsi_core.sending.sender import Sender
from tests.sending_fakes import FakeSink, arrived, seen

CHUNK = 16 * 1024
BIG = os.urandom(10 * CHUNK + 5)


def _put(tmp_path: Path, content: bytes = BIG) -> Path:
    root = tmp_path / "in"
    root.mkdir(exist_ok=True)
    file = root / "a.bin"
    file.write_bytes(content)
    os.utime(file, ns=(10**18, 10**18))
    return file


def _ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "l.sqlite", root=tmp_path / "in", topic="t")


def _half(tmp_path: Path, sink: FakeSink, records: int) -> Entry:
    """A sender that dies after so many records were acknowledged; what it left in the ledger."""
    file = _put(tmp_path)
    with _ledger(tmp_path) as ledger:
        sender = Sender(sink, ledger, lambda report: None, Manner(CHUNK))
        sender.start()
        sender.offer(seen(file, file.parent))
        while not (half := ledger.entry(b"a.bin")) or half.acknowledged < records:
            sender.step(0.0)
        for flight in sender._lanes:
            flight.source.close()  # as the death of a process does
        return half


def _go_on(tmp_path: Path, sink: FakeSink, half: Entry) -> list[Report]:
    reports: list[Report] = []
    with _ledger(tmp_path) as ledger:
        sender = Sender(sink, ledger, reports.append, Manner(CHUNK))
        sender.start()
        sender.go_on(seen(tmp_path / "in" / "a.bin", tmp_path / "in"), half)
        for _ in range(200):
            sender.step(0.0)
        assert sender.is_idle
    return reports


@pytest.mark.parametrize("records", [1, 5, 9, 10])
def test_a_half_is_continued_after_what_was_acknowledged_and_nothing_is_sent_twice(
    tmp_path: Path, records: int
) -> None:
    sink = FakeSink()
    half = _half(tmp_path, sink, records)
    before = len(sink.records)
    assert half.acknowledged >= records
    (report,) = _go_on(tmp_path, sink, half)
    assert report.ending is Ending.SENT
    assert arrived(sink).whole == {"a.bin": [BIG]}  # the oracle fails at a gap or a record that comes twice
    assert len(sink.records) == 11
    assert before == half.acknowledged
    assert report.offset == 0
    with _ledger(tmp_path) as ledger:
        assert ledger.known(b"a.bin", len(BIG), 10**18)
        entry = ledger.entry(b"a.bin")
        assert entry is not None
        assert (entry.id, entry.acknowledged, entry.sha256) == (half.id, 11, report.sha256)


def test_a_half_whose_file_begins_otherwise_now_is_given_up_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    sink = FakeSink()
    half = _half(tmp_path, sink, 4)
    file = _put(tmp_path, b"other" + BIG[5:])
    assert file.stat().st_ino == half.inode
    (report,) = _go_on(tmp_path, sink, half)
    assert report.ending is Ending.CHANGED
    assert arrived(sink).whole == {}
    assert arrived(sink).aborted == [half.id]
    with _ledger(tmp_path) as ledger:
        assert ledger.entry(b"a.bin") is None


def test_a_half_whose_file_vanished_in_the_last_moment_is_given_up(tmp_path: Path) -> None:
    sink = FakeSink()
    half = _half(tmp_path, sink, 2)
    place = seen(tmp_path / "in" / "a.bin", tmp_path / "in")
    (tmp_path / "in" / "a.bin").unlink()
    reports: list[Report] = []
    with _ledger(tmp_path) as ledger:
        sender = Sender(sink, ledger, reports.append, Manner(CHUNK))
        sender.start()
        sender.go_on(place, half)
        for _ in range(20):
            sender.step(0.0)
        assert sender.is_idle
        assert ledger.entry(b"a.bin") is None
    assert [report.ending for report in reports] == [Ending.VANISHED]
    assert arrived(sink).aborted == [half.id]


def test_a_half_that_was_sent_under_other_settings_is_given_up(tmp_path: Path) -> None:
    sink = FakeSink()
    half = replace(_half(tmp_path, sink, 2), span=(0, 5))
    (report,) = _go_on(tmp_path, sink, half)
    assert report.ending is Ending.CHANGED
    assert arrived(sink).aborted == [half.id]


def test_a_stop_leaves_a_half_for_the_next_start(tmp_path: Path) -> None:
    file, sink, reports = _put(tmp_path), FakeSink(), []
    with _ledger(tmp_path) as ledger:
        sender = Sender(sink, ledger, reports.append, Manner(CHUNK))
        sender.start()
        sender.offer(seen(file, file.parent))
        for _ in range(4):
            sender.step(0.0)
        sender.finish(1.0)
    assert [report.ending for report in reports] == [Ending.STOPPED]
    assert arrived(sink).aborted == []
    with _ledger(tmp_path) as ledger:
        (half,) = ledger.half_sent()
    assert half.acknowledged == len(sink.records) > 0
    _go_on(tmp_path, sink, half)
    assert arrived(sink).whole == {"a.bin": [BIG]}


def _row(**more: object) -> Entry:
    return replace(
        Entry(
            b"a", 100_000, 7, State.SENDING, inode=3, id=b"i" * 16, partition=1, chunk=CHUNK, acknowledged=2,
            first_offset=50, sha256=b"s" * 32, since_ns=10**18,
        ),
        **more,
    )  # fmt: skip


def test_the_rules_by_which_a_half_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"")
    place = seen(file, tmp_path)
    place = place._replace(facts=place.facts._replace(size=100_000, mtime_ns=7, inode=3))
    ends, now = {1: (50, 52)}, 10**18 + 5
    assert may_go_on(_row(), place, ends, now)
    assert not may_go_on(_row(), None, ends, now), "it is gone"
    for changed in ({"size": 99_999}, {"mtime_ns": 8}, {"inode": 4}):
        assert not may_go_on(_row(), place._replace(facts=place.facts._replace(**changed)), ends, now), changed
    assert not may_go_on(_row(), place, {1: (51, 99)}, now), "retention took its beginning"
    assert not may_go_on(_row(), place, {1: (0, 50)}, now), "the topic ends before it"
    assert not may_go_on(_row(), place, {}, now), "there is no such partition any more"
    assert may_go_on(_row(), place, ends, 10**18 + FRESH_NS - 1)
    assert not may_go_on(_row(), place, ends, 10**18 + FRESH_NS), "receivers may have given it up"
    assert not may_go_on(_row(), place, ends, 10**18 - FRESH_NS), "the clock was set back"
    for missing in ({"acknowledged": 0}, {"first_offset": None}, {"sha256": None}, {"chunk": 0}):
        assert not may_go_on(_row(**missing), place, ends, now), missing


@pytest.mark.parametrize("size", [5, 3 * CHUNK])
def test_a_file_that_was_only_touched_is_read_and_not_sent(tmp_path: Path, size: int) -> None:
    file, sink, reports = _put(tmp_path, BIG[:size]), FakeSink(), []

    def send() -> Ending:
        with _ledger(tmp_path) as ledger:
            sender = Sender(sink, ledger, reports.append, Manner(CHUNK))
            sender.start()
            sender.offer(seen(file, file.parent))
            for _ in range(20):
                sender.step(0.0)
            assert sender.is_idle
            facts = facts_of(file.stat())
            assert ledger.known(b"a.bin", facts.size, facts.mtime_ns)
        return reports[-1].ending

    assert send() is Ending.SENT
    os.utime(file, ns=(10**18 + 1, 10**18 + 1))
    assert send() is Ending.UNCHANGED
    assert arrived(sink).whole == {"a.bin": [BIG[:size]]}
    file.write_bytes(BIG[1 : size + 1])
    assert send() is Ending.SENT
    assert arrived(sink).whole == {"a.bin": [BIG[:size], BIG[1 : size + 1]]}
    assert [decode(value).abort for _, _, value in sink.records].count(True) == 0


def test_a_touched_file_that_cannot_be_read_keeps_its_row(tmp_path: Path) -> None:
    file, sink = _put(tmp_path, BIG), FakeSink()
    reports: list[Report] = []
    with _ledger(tmp_path) as ledger:
        for step in range(2):
            sender = Sender(sink, ledger, reports.append, Manner(CHUNK))
            sender.start()
            sender.offer(seen(file, file.parent))
            sender.step(0.0)
            if step:
                os.truncate(file, 20)
            for _ in range(20):
                sender.step(0.0)
            os.utime(file, ns=(10**18 + 1, 10**18 + 1))
        assert [report.ending for report in reports] == [Ending.SENT, Ending.CHANGED]
        entry = ledger.entry(b"a.bin")
        assert entry is not None
        assert (entry.state, entry.size) == (State.SENT, len(BIG))


_SCHEMA_1 = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, state TEXT NOT NULL,
    inode INTEGER NOT NULL, id BLOB NOT NULL, partition INTEGER NOT NULL, chunk INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL, first_offset INTEGER, sha256 BLOB, reason TEXT NOT NULL, since_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX unfinished ON files (state) WHERE state IN ('sending', 'failed');
PRAGMA user_version = 1;
"""


def _schema_1(tmp_path: Path, tables: str = _SCHEMA_1) -> Path:
    (tmp_path / "state").mkdir(parents=True)
    file = tmp_path / "state" / "l.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.executescript(tables)
        put = "INSERT INTO files VALUES (?, 10, 5, ?, 3, ?, 1, 16384, 1, 7, ?, '', ?)"
        db.execute(put, (b"sent", "sent", b"i" * 16, b"s" * 32, time.time_ns()))
        db.execute(put, (b"half", "sending", b"j" * 16, None, time.time_ns()))
        db.execute("INSERT INTO facts VALUES ('topic-id', 'one')")
        db.commit()
    return file


def test_a_ledger_of_the_first_schema_is_migrated_and_nothing_is_sent_again(tmp_path: Path) -> None:
    _schema_1(tmp_path)
    for _ in range(2):  # the second time it is of the present schema
        with _ledger(tmp_path) as ledger:
            assert ledger.known(b"sent", 10, 5)
            assert ledger.fact("topic-id") == "one"
            (half,) = ledger.half_sent()
            assert (half.id, half.record_key, half.span, half.sha256) == (b"j" * 16, b"half", None, None)
            assert [entry.key for entry in ledger.sent_as(b"sent")] == [b"sent"]
    assert not list((tmp_path / "state").glob("*.aside-*"))


def test_a_ledger_that_lies_about_its_schema_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = _schema_1(tmp_path)
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("ALTER TABLE files ADD COLUMN sent_as BLOB")
    with _ledger(tmp_path) as ledger:
        assert ledger.counts() == {}
    assert "says that it has schema 1, and has not" in caplog.text


def test_a_renamed_file_is_found_by_the_key_it_has_in_the_topic(tmp_path: Path) -> None:
    with _ledger(tmp_path) as ledger:
        ledger.put(replace(_row(), key=b"here", sent_as=b"there", span=(5, 10)))
        ledger.put(replace(_row(), key=b"there2"))
        (found,) = ledger.sent_as(b"there")
        assert (found.key, found.record_key, found.sent_size) == (b"here", b"there", 5)
        assert ledger.sent_as(b"here") == []
        assert [entry.key for entry in ledger.sent_as(b"there2")] == [b"there2"]
