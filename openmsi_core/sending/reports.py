"""What the sender says when it is done with one version of a file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

from openmsi_core.sending.seen import Seen

_log = logging.getLogger(__name__)


class Ending(StrEnum):
    """How it ended; `SENT` and `UNCHANGED` are final, every other ending may be tried again."""

    SENT = "sent"  # the broker acknowledged every record
    UNCHANGED = "unchanged"  # it was only touched: its content was sent before
    CHANGED = "changed"  # it was written to, or replaced, while it was read: nothing of it will be seen
    VANISHED = "vanished"  # it is no longer there
    UNREADABLE = "unreadable"  # no permission, locked, a bad sector
    REFUSED = "refused"  # the broker refused a record for good
    STOPPED = "stopped"  # we were told to stop before the broker had acknowledged all of it


@dataclass(frozen=True, slots=True)
class Report:
    """The end of one version: ``offset`` is that of its first record, ``reason`` why it is not sent."""

    seen: Seen
    ending: Ending
    size: int
    id: bytes = b""
    partition: int | None = None
    offset: int | None = None
    sha256: bytes | None = None
    reason: str = ""
    is_tried_again: bool = False

    @property
    def state(self) -> str:
        """``sent``, ``unchanged``, ``failed``, or ``again`` for a file that will be tried again by itself."""
        if self.ending in {Ending.SENT, Ending.UNCHANGED}:
            return str(self.ending)
        return "again" if self.is_tried_again else "failed"

    def as_json(self) -> dict[str, object]:
        """The line that ``--json`` prints."""
        return {
            **self.seen.relative.as_json(),
            "size": self.size,
            "sha256": self.sha256.hex() if self.sha256 else None,
            "id": self.id.hex() or None,
            "partition": self.partition,
            "offset": self.offset,
            "state": self.state,
            "reason": self.reason,
        }


@dataclass(slots=True)
class Tally:
    """What came of a run: files and bytes sent, files that were not, places that could not even be looked at."""

    sent: int = 0
    bytes: int = 0
    failed: int = 0
    left_out: int = 0

    def count(self, report: Report) -> None:
        """Count one file that is sent."""
        self.sent += 1
        self.bytes += report.size


def say(report: Report) -> None:
    """One line in the log for one file."""
    path = report.seen.relative
    if report.ending is Ending.SENT:
        digest = report.sha256.hex()[:12] if report.sha256 else ""
        _log.info("sent %s, %s bytes, sha256 %s", path, f"{report.size:,}", digest)
    elif report.ending is Ending.UNCHANGED:
        _log.debug("%s was touched, and is what was sent before", path)
    elif report.is_tried_again and report.ending in {Ending.CHANGED, Ending.VANISHED, Ending.STOPPED}:
        _log.info("not sent yet: %s: %s", path, report.reason)
    else:
        _log.warning("not sent: %s: %s%s", path, report.reason, "; tried again later" * report.is_tried_again)
