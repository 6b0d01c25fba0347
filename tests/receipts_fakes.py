"""Ledgers and receipts that tests make by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from openmsi_core.model import Position, Record
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.receipts import Receipt, receipt_in

CONTENT = b"content"
DIGEST = hashlib.sha256(CONTENT).digest()


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def entry(key: bytes, number: int, state: State = State.SENT, *, mtime_ns: int = 5, size: int = 7) -> Entry:
    """The row of the version ``number`` of a path."""
    return Entry(
        key, size, mtime_ns, state, inode=3, id=id_of(number), partition=0, chunk=16384, acknowledged=1,
        first_offset=number, sha256=DIGEST, reason="" if state is not State.FAILED else "too large",
        since_ns=1_000_000_000 * number,
    )  # fmt: skip


def ledger_at(tmp_path: Path, *entries: Entry, root: Path | None = None) -> Path:
    """The file of a ledger with these rows."""
    file = tmp_path / "state" / "ledgers" / "l.sqlite"
    with Ledger(file, root=root or tmp_path, topic="t") as ledger:
        for each in entries:
            ledger.put(each)
    return file


def told(key: bytes, number: int, outcome: str = "done", run: str = "openmsi-disk", **more: object) -> bytes:
    """The value of a receipt."""
    whole = outcome not in {"incomplete", "unreadable"}
    facts: dict[str, object] = {
        "id": id_of(number).hex(),
        "path": key.decode(),
        "size": 7,
        "sha256": DIGEST.hex() if whole else "",
        "outcome": outcome,
        "run": run,
        "plugin": run.removeprefix("openmsi-"),
        "version": "1",
        "location": f"/archive/{key.decode()}" if outcome == "done" and run == "openmsi-disk" else "",
        "unchanged": False,
        "position": {"topic": "t", "partition": 0, "offset": number},
        "at": f"2026-11-24T12:00:{number % 60:02d}+00:00",
        "reason": "" if outcome == "done" else f"because of {outcome}",
    }
    return json.dumps(facts | more).encode()


def receipt(key: bytes, number: int, outcome: str = "done", run: str = "openmsi-disk", *, offset: int = 0) -> Receipt:
    """A receipt as it is read."""
    found = receipt_in(Record(Position("t.receipts", 0, offset), 0, None, told(key, number, outcome, run)))
    assert found is not None
    return found
