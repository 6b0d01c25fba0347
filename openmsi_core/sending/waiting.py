"""Waiting until runs say what became of the files that were just sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event

from openmsi_core.model import RelativePath
from openmsi_core.ports import RecordReader
from openmsi_core.sending.following import stretches
from openmsi_core.sending.receipts import ARRIVED, SILENT, Receipt, receipt_in
from openmsi_core.sending.reports import Ending, Report

_PAUSE = 0.25


@dataclass(frozen=True, slots=True)
class Reply:
    """What one run said of one file; ``receipt`` is None when it said nothing in time."""

    path: RelativePath
    id: bytes
    run: str
    receipt: Receipt | None
    reason: str = ""

    @property
    def state(self) -> str:
        """``delivered``, ``failed``, or ``unanswered``."""
        if self.receipt is None:
            return "unanswered"
        return "failed" if self.reason or self.receipt.outcome not in ARRIVED else "delivered"

    def as_json(self) -> dict[str, object]:
        """The line that ``--json`` prints."""
        receipt = self.receipt
        return {
            **self.path.as_json(),
            "id": self.id.hex(),
            "state": self.state,
            "run": self.run,
            "outcome": receipt.outcome if receipt is not None else None,
            "location": receipt.location if receipt is not None else "",
            "reason": self.reason or (receipt.reason if receipt is not None else ""),
        }


class Waiting:
    """Remembers what was sent and has no receipt of each of ``runs`` (groups, or what follows ``openmsi-`` in one).

    ``told`` is called with each reply.
    """

    def __init__(self, runs: Sequence[str], told: Callable[[Reply], None]) -> None:
        self.failed = 0
        self._names: Mapping[str, str] = {group: run for run in runs for group in (run, f"openmsi-{run}")}
        self._told = told
        self._sent: dict[tuple[bytes, str], Report] = {}
        self._runs = tuple(dict.fromkeys(runs))

    def sent(self, report: Report) -> None:
        """Note the end of one file's sending."""
        if report.ending is Ending.SENT:
            self._sent |= {(report.id, run): report for run in self._runs}

    @property
    def left(self) -> int:
        """How many receipts are missing."""
        return len(self._sent)

    def hear(self, receipt: Receipt) -> None:
        """Note a receipt, which may be about anything."""
        run = self._names.get(receipt.run)
        if run is None or receipt.outcome in SILENT:
            return
        report = self._sent.pop((receipt.id, run), None)
        if report is None:
            return
        differs = receipt.outcome == "done" and receipt.sha256 != report.sha256
        reply = Reply(
            report.seen.relative, receipt.id, run, receipt, "another content arrived than was sent" if differs else ""
        )
        self.failed += reply.state == "failed"
        self._told(reply)

    def give_up(self) -> None:
        """Time is over: tell what has no receipt."""
        for (file_id, run), report in self._sent.items():
            self._told(Reply(report.seen.relative, file_id, run, None, "no receipt came in time"))


def wait(
    waiting: Waiting, reader: RecordReader, places: Mapping[int, int], stop: Event, is_late: Callable[[], bool]
) -> None:
    """Read receipts from ``places`` on until none is missing, time is over, or ``stop`` is set. Raises BrokerError."""
    reached = dict(places)
    while waiting.left and not stop.is_set() and not is_late():
        ranges, ends = stretches(reader, reached)
        for record in reader.between(ranges):
            receipt = receipt_in(record) if record is not None else None
            if receipt is not None:
                waiting.hear(receipt)
            if record is not None:
                reached[record.position.partition] = record.position.offset + 1
            if not waiting.left or stop.is_set() or is_late():
                return
        reached = {number: max(reached.get(number, 0), high) for number, high in ends.items()}
        stop.wait(_PAUSE)
