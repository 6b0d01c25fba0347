"""What `upload` and `watch` share: what is said about each file, and the exit code."""

from __future__ import annotations

import json
import logging
import signal
from typing import TYPE_CHECKING

import click

from openmsi_core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED, OpenmsiError, UsageError

if TYPE_CHECKING:
    from openmsi_core.observe.progress import Progress
    from openmsi_core.sending.expected import Expected
    from openmsi_core.sending.reports import Report, Tally
    from openmsi_core.sending.waiting import Reply

_log = logging.getLogger(__name__)


def said(pairs: tuple[str, ...]) -> dict[str, str | int | float]:
    """The values of --meta KEY=VALUE; they stay text. Raises UsageError."""
    meta: dict[str, str | int | float] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--meta {text!r} is not KEY=VALUE, as in --meta operator=Curie")
        meta[key] = value
    return meta


class Teller:
    """Tells what became of each file: a line in the log, a JSON object a line on standard output, the progress."""

    def __init__(self, progress: Progress, *, as_json: bool) -> None:
        self.complaints = 0
        self._progress = progress
        self._as_json = as_json
        self._files = 0
        self._bytes = 0
        self._failed = 0
        self._expected: Expected | None = None

    def report(self, report: Report) -> None:
        """The end of one file."""
        from openmsi_core.sending.reports import Ending, say

        if report.ending is Ending.SENT:
            self._files += 1
            self._bytes += report.size
        elif report.state == "failed":
            self._failed += 1
        if self._as_json:
            _print(report.as_json())
        say(report)
        self.moved(0)

    def expect(self, expected: Expected) -> None:
        """Where the whole will stand once it is counted."""
        self._expected = expected

    def moved(self, under_way: int) -> None:
        """How far it is: ``under_way`` are bytes of files that are not sent whole yet."""
        note = f"{self._failed:,} not sent" if self._failed else ""
        total = self._expected.total if self._expected is not None else None
        files, size = total if total is not None else (None, None)
        self._progress.update(
            files=self._files, bytes=self._bytes + under_way, total_files=files, total_bytes=size, note=note
        )

    def reply(self, reply: Reply) -> None:
        """What a run said of one file, or that it said nothing."""
        if self._as_json:
            _print(reply.as_json())
        receipt = reply.receipt
        if reply.state == "delivered" and receipt is not None:
            where = f" -> {receipt.location}" if receipt.location else ""
            _log.info("%s %s at %s%s", reply.path, receipt.outcome, reply.run, where)
        else:
            what = receipt.outcome if receipt is not None else "unanswered"
            _log.warning("%s %s at %s: %s", reply.path, what, reply.run, reply.as_json()["reason"])

    def complain(self, place: str, reason: str) -> None:
        """A place that could not be looked at."""
        from openmsi_core.model import shown

        self.complaints += 1
        click.echo(f"openmsi: left out: {shown(place)}: {reason}", err=True)
        if self._as_json:
            nothing = dict.fromkeys(("size", "sha256", "id", "partition", "offset"))
            _print({"path": shown(place), **nothing, "state": "failed", "reason": reason})


def exit_code(tally: Tally, number: int, *, ends: bool) -> int:
    """The exit code. ``number`` is the signal that stopped it, ``ends`` whether the work has an end by itself."""
    if number == signal.SIGINT or (number and ends):
        return EXIT_INTERRUPTED
    if ends and (tally.failed or tally.left_out):
        return EXIT_SOME_FAILED
    return EXIT_DONE


def summary(tally: Tally) -> str:
    """The one line at the end."""
    text = f"{tally.sent:,} files sent, {tally.bytes:,} bytes"
    if tally.failed:
        text += f", {tally.failed:,} not sent"
    if tally.left_out:
        text += f", {tally.left_out:,} places left out"
    return text


def _print(facts: dict[str, object]) -> None:
    try:
        click.echo(json.dumps(facts))
    except BrokenPipeError as error:
        raise OpenmsiError("whoever read the answer has gone; what was not told yet may not have been sent") from error
