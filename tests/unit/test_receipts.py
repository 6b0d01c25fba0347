"""Receipts: what is believed of them, and the book in the ledger's database that keeps them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openmsi_core.errors import FolderError
from openmsi_core.files.opened import Span
from openmsi_core.model import FileVersion, Outcome, PluginFacts, Position, Record, RelativePath, What
from openmsi_core.receiving.envelopes import notices_of
from openmsi_core.receiving.jobs import Ended, RunFacts
from openmsi_core.sending import receiptbook, receipttables
from openmsi_core.sending.entries import State
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.receiptbook import Lost, ReceiptBook
from openmsi_core.sending.receipts import receipt_in
from openmsi_core.sending.receipttables import NoLedger, fact_in
from tests.receipts_fakes import DIGEST, entry, id_of, ledger_at, receipt, told

NOW_MS = time.time_ns() // 1_000_000


def _record(value: bytes | None, offset: int = 3) -> Record:
    return Record(Position("t.receipts", 0, offset), NOW_MS, b"k", value)


def test_what_a_run_publishes_is_read_as_it_was_meant() -> None:
    path = RelativePath.from_key(b"a/caf\xe9")
    version = FileVersion(id_of(7), path, 7, 16384, 1, sha256=DIGEST)
    span = Span()
    span.add(Position("t", 1, 5))
    outcome = Outcome(What.DONE, location="/archive/x", reason="")
    run = RunFacts("openmsi-disk", "t", PluginFacts("disk", "sink", "openmsi", "0.1"))
    (published,) = notices_of(Ended(outcome, (), span, version), run, datetime(2026, 1, 1, tzinfo=UTC))
    found = receipt_in(Record(Position("t.receipts", 0, 9), NOW_MS, published.key, published.value))
    assert found is not None
    assert (found.id, found.run, found.key, found.outcome) == (id_of(7), "openmsi-disk", b"a/caf\xe9", "done")
    assert (found.size, found.sha256, found.location, found.offset) == (7, DIGEST, "/archive/x", 9)
    assert (found.plugin, found.at) == ("disk 0.1", "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"{}", b"[]", b"1", b"\xff", b"[" * 100_000,
        told(b"a", 1, id="zz"), told(b"a", 1, id="00"), told(b"a", 1, size="7"), told(b"a", 1, size=True),
        told(b"a", 1, size=-1), told(b"a", 1, size=1 << 63), told(b"a", 1, at=None), told(b"a", 1, path=""),
        told(b"a", 1, path_b64="%"), told(b"a", 1, path_b64=7), told(b"a", 1, sha256="xx"), told(b"a", 1, location={}),
    ],
)  # fmt: skip
def test_what_is_no_receipt_is_none(value: bytes | None) -> None:
    assert receipt_in(_record(value)) is None


def test_text_that_no_database_and_no_terminal_takes_is_made_harmless() -> None:
    value = told(b"a", 1).replace(b'"reason": ""', b'"reason": "\\ud800' + b"x" * 5000 + b'"')
    found = receipt_in(_record(value))
    assert found is not None
    found.reason.encode("utf-8")
    assert len(found.reason) < 1100


def _rows(file: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT id, run, outcome FROM receipts ORDER BY id, run").fetchall()


def test_receipts_and_how_far_was_read_are_kept_together_beside_an_open_ledger(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    with Ledger(file, root=tmp_path, topic="t") as ledger, ReceiptBook(file) as book:
        assert book.places("topic") == {}
        book.take([(receipt(b"a", 1), NOW_MS)], {0: 5, 1: 2})
        ledger.put(entry(b"b", 2))
        ledger.flush()
        book.take([(receipt(b"b", 2, "rejected"), NOW_MS)], {0: 6})
    with ReceiptBook(file) as book:
        assert book.places("topic") == {0: 6, 1: 2}
        assert book.read_ns() is not None
    assert _rows(file) == [(id_of(1), "openmsi-disk", "done"), (id_of(2), "openmsi-disk", "rejected")]
    with Ledger(file, root=tmp_path, topic="t") as ledger:  # and the ledger does not mind
        assert ledger.counts() == {State.SENT: 2}
    assert not list(file.parent.glob("*aside*"))


def test_a_later_receipt_of_a_run_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    with ReceiptBook(file) as book:
        book.take([(receipt(b"a", 1, "failed"), NOW_MS), (receipt(b"a", 1, "done"), NOW_MS)], {0: 2})
    assert _rows(file) == [(id_of(1), "openmsi-disk", "done")]


def test_outcomes_that_say_nothing_of_a_whole_version_are_not_kept(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    with ReceiptBook(file) as book:
        book.take([(receipt(b"a", 1, "aborted"), NOW_MS)], {0: 1})
    assert _rows(file) == []


def test_receipts_of_other_senders_go_old_ones_at_once_and_new_ones_after_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    yesterday = NOW_MS - 25 * 3600 * 1000
    with ReceiptBook(file) as book:
        book.take([(receipt(b"a", 1), yesterday), (receipt(b"x", 8), yesterday), (receipt(b"y", 9), NOW_MS)], {0: 3})
        book.take([(receipt(b"z", 10, "incomplete"), NOW_MS)], {0: 4})
        assert [row[0] for row in _rows(file)] == [id_of(1), id_of(9), id_of(10)]
        book.prune()
        assert len(_rows(file)) == 3
        later = time.time_ns() + 601 * 10**9
        monkeypatch.setattr(receiptbook.time, "time_ns", lambda: later)
        book.prune()
        assert [row[0] for row in _rows(file)] == [id_of(1), id_of(10)]
        later += 31 * 24 * 3600 * 10**9
        book.prune()
    assert [row[0] for row in _rows(file)] == [id_of(1)]


def test_a_receipts_topic_that_was_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    with ReceiptBook(file) as book:
        assert book.places("first") == {}
        book.take([(receipt(b"a", 1), NOW_MS)], {0: 5})
        assert book.places("") == {0: 5}
        assert book.places("first") == {0: 5}
        assert book.places("second") == {}
    assert _rows(file) == []


def test_tables_of_another_openmsi_are_made_anew_and_the_topic_is_read_again(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    with ReceiptBook(file) as book:
        book.places("x")
        book.take([(receipt(b"a", 1), NOW_MS)], {0: 5})
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE facts SET value = '0' WHERE name = 'receipts-schema'")
        db.execute("ALTER TABLE receipts RENAME COLUMN at TO stamp")
        db.commit()
    with ReceiptBook(file) as book:
        assert book.places("x") == {}
        book.take([(receipt(b"a", 1), NOW_MS)], {0: 5})
    assert len(_rows(file)) == 1


def test_incomplete_versions_are_counted_by_path_and_run_until_one_is_done(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, entry(b"a", 3), entry(b"b", 4), entry(b"c", 5, State.SENDING))
    with ReceiptBook(file) as book:
        for number in (1, 2, 3):
            book.take([(receipt(b"a", number, "incomplete", offset=number), NOW_MS)], {0: number})
        book.take([(receipt(b"c", 5, "incomplete", offset=4), NOW_MS)], {0: 4})
        assert book.incomplete() == [Lost(b"a", id_of(3), "openmsi-disk", "because of incomplete", 3)]
        book.take([(receipt(b"a", 9, "done", "other", offset=5), NOW_MS)], {0: 5})
        assert len(book.incomplete()) == 1
        book.take([(receipt(b"a", 9, "done", offset=6), NOW_MS)], {0: 6})
        assert book.incomplete() == []


def test_without_a_ledger_there_is_no_book_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(NoLedger, match="openmsi watch"):
        ReceiptBook(tmp_path / "l.sqlite").__enter__()
    assert not (tmp_path / "l.sqlite").exists()
    other = tmp_path / "other.sqlite"
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE recipes (name)")
    with pytest.raises(NoLedger, match="no ledger"):
        ReceiptBook(other).__enter__()


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000])
def test_a_damaged_ledger_is_said_and_left_for_the_watch_to_mend(tmp_path: Path, damage: bytes) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    file.write_bytes(damage)
    with pytest.raises(FolderError, match=r"l\.sqlite"):
        ReceiptBook(file).__enter__()
    with pytest.raises(FolderError, match=r"l\.sqlite"):
        fact_in(file, "watch")
    assert file.read_bytes() == damage


def test_who_may_not_write_to_the_ledger_reads_receipts_into_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1), entry(b"b", 2))
    with ReceiptBook(file) as book:
        book.places("topic")
        book.take([(receipt(b"a", 1), NOW_MS)], {0: 1})
    monkeypatch.setattr(receipttables, "BUSY_SECONDS", 0.0)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # whoever holds this keeps us from writing, as missing rights do
        with ReceiptBook(file) as book:
            assert book.is_copy
            assert book.places("topic") == {0: 1}
            book.take([(receipt(b"b", 2), 0)], {0: 2})
            assert book.places("topic") == {0: 2}
            assert book.db.execute("SELECT count(*) FROM receipts").fetchone() == (2,)
        other.execute("ROLLBACK")
    assert len(_rows(file)) == 1
    with ReceiptBook(file) as book:
        assert not book.is_copy
        assert book.places("topic") == {0: 1}


def test_a_book_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    monkeypatch.setattr(receipttables, "BUSY_SECONDS", 0.0)
    with ReceiptBook(file) as book, contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FolderError, match="locked"):
            book.take([(receipt(b"a", 1), NOW_MS)], {0: 1})
        other.execute("ROLLBACK")
        book.take([(receipt(b"a", 1), NOW_MS)], {0: 1})
    assert len(_rows(file)) == 1


def test_the_receipt_that_a_test_makes_has_the_fields_of_a_real_one() -> None:
    version = FileVersion(id_of(7), RelativePath(("a",)), 7, 16384, 1, sha256=DIGEST)
    run = RunFacts("openmsi-disk", "t", PluginFacts("disk", "sink", "openmsi", "1"))
    span = Span()
    span.add(Position("t", 0, 5))
    (real,) = notices_of(Ended(Outcome(What.DONE), (), span, version), run, datetime.now(UTC))
    assert json.loads(real.value).keys() == json.loads(told(b"a", 7)).keys()
