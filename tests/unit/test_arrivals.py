"""Arrivals: how far each file is, compared with a slow and plain account of the same rule; digests here and there."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from openmsi_core.sending.arrivals import Account, Arrivals, RunShare, Stage, unknown
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.receiptbook import ReceiptBook
from openmsi_core.sending.receipts import Receipt
from openmsi_core.sending.seen import Facts, Seen
from openmsi_core.sending.verifying import verify
from tests.receipts_fakes import CONTENT, DIGEST, entry, ledger_at, receipt

NOW_MS = time.time_ns() // 1_000_000


class Found:
    """The whole, and what each run said."""

    def __init__(self, arrivals: Arrivals, runs: Sequence[RunShare]) -> None:
        self.arrivals, self.runs = arrivals, runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arrivals, name)


def _account(tmp_path: Path, entries: list[Entry], receipts: list[Receipt], *runs: str, waiting=()) -> Found:
    file = ledger_at(tmp_path, *entries)
    with ReceiptBook(file) as book:
        book.take([(each, NOW_MS) for each in receipts], {0: 1})
        account = Account(book, runs)
        account.wait_for(waiting)
        return Found(account.arrivals(), account.runs())


def _counts(arrivals: Found) -> dict[str, int]:
    return {name: shared.files for name, shared in arrivals.stages_by_name().items() if shared.files}


def _seen(key: bytes, size: int = 7, mtime_ns: int = 5) -> Seen:
    return Seen(f"/in/{key.decode()}", key, Facts(size, mtime_ns, 3, 0))


def test_a_file_is_delivered_when_a_sink_has_it_and_everything_when_all_are(tmp_path: Path) -> None:
    entries = [entry(b"a", 1), entry(b"b", 2)]
    half = _account(tmp_path, entries, [receipt(b"a", 1)])
    assert _counts(half) == {"sent": 1, "delivered": 1}
    assert not half.is_complete
    sent = half.stages[Stage.SENT]
    assert (sent.files, sent.bytes, str(sent.oldest), sent.since_ns) == (1, 7, "b", 2_000_000_000)
    assert [(run.run, run.arrived, run.failed, run.is_needed) for run in half.runs] == [("openmsi-disk", 1, 0, True)]
    whole = _account(tmp_path, entries, [receipt(b"b", 2)])
    assert _counts(whole) == {"delivered": 2}
    assert whole.is_complete


def test_without_a_sink_any_run_that_is_done_with_it_will_do(tmp_path: Path) -> None:
    found = _account(tmp_path, [entry(b"a", 1)], [receipt(b"a", 1, run="openmsi-x")])
    assert found.is_complete
    assert [run.is_needed for run in found.runs] == [False]


def test_an_extractor_that_has_it_is_not_enough_where_there_is_a_sink(tmp_path: Path) -> None:
    receipts = [receipt(b"a", 1), receipt(b"b", 2, run="openmsi-x")]
    assert _counts(_account(tmp_path, [entry(b"a", 1), entry(b"b", 2)], receipts)) == {"sent": 1, "delivered": 1}


@pytest.mark.parametrize(
    ("runs", "counts"), [((), {"failed": 1}), (("disk",), {"delivered": 1}), (("x",), {"failed": 1})]
)
def test_the_failure_of_any_run_counts_unless_runs_are_named(tmp_path: Path, runs, counts) -> None:
    receipts = [receipt(b"a", 1), receipt(b"a", 1, "rejected", "openmsi-x")]
    assert _counts(_account(tmp_path, [entry(b"a", 1)], receipts, *runs)) == counts


def test_a_named_run_that_never_said_anything_keeps_everything_from_being_delivered(tmp_path: Path) -> None:
    found = _account(tmp_path, [entry(b"a", 1)], [receipt(b"a", 1)], "disk", "s3")
    assert _counts(found) == {"sent": 1}
    assert [(run.run, run.arrived, run.is_needed) for run in found.runs] == [("openmsi-disk", 1, True), ("s3", 0, True)]


def test_another_content_there_than_here_is_a_failure(tmp_path: Path) -> None:
    from dataclasses import replace

    wrong = replace(receipt(b"a", 1), sha256=b"x" * 32)
    found = _account(tmp_path, [entry(b"a", 1)], [wrong])
    assert _counts(found) == {"failed": 1}


def test_a_receipt_of_an_older_version_says_nothing_of_this_one(tmp_path: Path) -> None:
    receipts = [receipt(b"a", 1), receipt(b"b", 2)]
    assert _counts(_account(tmp_path, [entry(b"a", 9), entry(b"b", 2)], receipts)) == {"sent": 1, "delivered": 1}


def test_what_is_in_the_folder_and_not_in_the_ledger_waits_and_hides_its_older_version(tmp_path: Path) -> None:
    known = {(b"a", 7, 5), (b"b", 7, 5), (b"c", 7, 5)}
    there = [_seen(b"a"), _seen(b"b", size=8), _seen(b"c", mtime_ns=6), _seen(b"new", mtime_ns=4)]
    waiting = unknown(there, known)
    assert [seen.key for seen in waiting] == [b"b", b"c", b"new"]
    entries = [entry(b"a", 1), entry(b"b", 2), entry(b"c", 3, State.SKIPPED)]
    found = _account(tmp_path, entries, [receipt(b"a", 1), receipt(b"b", 2)], waiting=waiting)
    assert _counts(found) == {"waiting": 3, "delivered": 1}
    assert str(found.stages[Stage.WAITING].oldest) == "new"
    assert (found.files, found.skipped) == (4, 1)


def test_an_empty_ledger_is_complete_and_says_nothing_of_any_run(tmp_path: Path) -> None:
    found = _account(tmp_path, [], [])
    assert (found.files, found.is_complete, list(found.runs)) == (0, True, [])


def test_files_are_listed_by_stage_the_oldest_first_with_what_each_run_said(tmp_path: Path) -> None:
    entries = [entry(b"b", 2), entry(b"a", 1), entry(b"f", 3, State.FAILED), entry(b"d", 4)]
    file = ledger_at(tmp_path, *entries)
    with ReceiptBook(file) as book:
        book.take([(receipt(b"d", 4), NOW_MS), (receipt(b"d", 4, "superseded", "y"), NOW_MS)], {0: 1})
        account = Account(book)
        account.wait_for([_seen(b"new")])
        files = list(account.files())
        assert [(str(each.path), each.stage) for each in files] == [
            ("new", "waiting"), ("a", "sent"), ("b", "sent"), ("d", "delivered"), ("f", "failed"),
        ]  # fmt: skip
        assert [str(each.path) for each in account.files((Stage.SENT,), 1)] == ["a"]
        (delivered,) = account.files((Stage.DELIVERED,))
    assert [(each.run, each.outcome, each.location) for each in delivered.answers] == [
        ("openmsi-disk", "done", "/archive/d"),
        ("y", "superseded", ""),
    ]
    assert delivered.sha256 == DIGEST.hex()
    assert files[-1].reason == "too large"


def _plainly(entries: list[Entry], receipts: dict[tuple[bytes, str], Receipt], runs: tuple[str, ...]) -> dict[str, int]:
    """The rule of the module's docstring, file by file."""
    sinks = {each.run for each in receipts.values() if each.outcome == "done" and each.location}
    counts: dict[str, int] = {}
    for each in entries:
        mine = {run: found for (file_id, run), found in receipts.items() if file_id == each.id}
        good = {run for run, found in mine.items() if found.outcome in {"done", "superseded"}}
        needed = set(runs) or sinks
        judged = mine.keys() & set(runs) if runs else mine.keys()
        if each.state is State.SKIPPED:
            continue
        if each.state is not State.SENT:
            stage = str(each.state)
        elif judged - good:
            stage = "failed"
        elif good and needed <= good:
            stage = "delivered"
        else:
            stage = "sent"
        counts[stage] = counts.get(stage, 0) + 1
    return counts


@pytest.mark.parametrize("seed", range(12))
def test_the_database_counts_as_the_plain_rule_does(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    states = [State.SENT] * 8 + [State.SENDING, State.FAILED, State.SKIPPED]
    entries = [entry(b"%d" % number, number, rng.choice(states)) for number in range(1, 60)]
    names = ["openmsi-disk", "openmsi-x", "other"][: rng.randint(1, 3)]
    outcomes = ["done"] * 12 + ["superseded", "rejected", "incomplete", "of-a-later-openmsi"]
    receipts = {}
    for each in entries:
        for run in names:
            if rng.random() < 0.9 and each.state is State.SENT:
                found = receipt(each.key, int.from_bytes(each.id, "big"), rng.choice(outcomes), run)
                receipts[each.id, run] = found
    runs = tuple(rng.sample(names, rng.randint(0, len(names))))
    assert _counts(_account(tmp_path, entries, list(receipts.values()), *runs)) == _plainly(entries, receipts, runs)


def _verdicts(tmp_path: Path, entries: list[Entry], receipts: list[Receipt]) -> dict[str, tuple[str, str]]:
    file = ledger_at(tmp_path, *entries)
    with ReceiptBook(file) as book:
        book.take([(each, NOW_MS) for each in receipts], {0: 1})
        account = Account(book)
        account.wait_for(())
        return {str(each.path): (each.what, each.reason) for each in verify(tmp_path, account.files())}


def test_digests_here_are_compared_with_those_there(tmp_path: Path) -> None:
    from dataclasses import replace

    for name in ("equal", "changed", "placed", "alone", "wrong"):
        (tmp_path / name).write_bytes(CONTENT)
    (tmp_path / "changed").write_bytes(b"c0ntent")
    (tmp_path / "there").write_bytes(b"other")
    numbers = {name: number for number, name in enumerate(("equal", "changed", "placed", "alone", "gone", "wrong"), 1)}
    entries = [entry(name.encode(), number) for name, number in numbers.items()]
    receipts = [receipt(name.encode(), number) for name, number in numbers.items() if name not in {"alone", "wrong"}]
    receipts = [
        replace(each, location=str(tmp_path / "there")) if each.key == b"placed" else each for each in receipts
    ] + [replace(receipt(b"wrong", numbers["wrong"]), sha256=b"x" * 32)]
    found = _verdicts(tmp_path, entries, receipts)
    assert {name: what for name, (what, _) in found.items()} == {
        "equal": "equal", "changed": "differs", "placed": "differs", "alone": "not-there", "gone": "gone",
        "wrong": "differs",
    }  # fmt: skip
    assert "not what was sent" in found["changed"][1]
    assert "is not what openmsi-disk says it stored" in found["placed"][1]
    assert "openmsi-disk has another content" in found["wrong"][1]


def test_a_file_that_cannot_be_read_here_is_said(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(CONTENT)
    (tmp_path / "a").symlink_to(tmp_path / "target")  # not followed: somebody put it there after the file was sent
    assert _verdicts(tmp_path, [entry(b"a", 1)], [receipt(b"a", 1)])["a"][0] == "unreadable"
