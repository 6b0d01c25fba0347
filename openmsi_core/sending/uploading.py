"""The loop of `openmsi upload`: send these files now, wait until the broker has them all, and end."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

from openmsi_core.errors import PathRefused, UsageError
from openmsi_core.model import RelativePath, shown
from openmsi_core.ports import RecordSink
from openmsi_core.sending.flight import ending_of, reason_of
from openmsi_core.sending.ledger import NoJournal
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget
from openmsi_core.sending.patience import Patience
from openmsi_core.sending.reports import Ending, Report, Tally, say
from openmsi_core.sending.scanner import Complaint, Scanner
from openmsi_core.sending.seen import Seen, facts_of
from openmsi_core.sending.sender import Sender
from openmsi_core.sending.settling import TICK_NS, Settling

_TRIES = 3
_AGAIN_NS = 1_000_000_000
_HELD = 10_000
_FAREWELL = 5.0
_TELL_SECONDS = 0.25


def gathered(paths: Sequence[Path], complain: Complaint) -> Iterator[Seen]:
    """The files that ``paths`` mean: files under their name, folders with paths relative to each folder.

    Raises UsageError, before any file is looked for, when a path does not exist or two files have one name.
    """
    names: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            continue
        if not path.is_file():
            what = "is neither a file nor a folder" if path.exists() else "does not exist"
            raise UsageError(f"{shown(str(path))} {what}: nothing was sent")
        name = path.absolute().name
        if name in names:
            raise UsageError(
                f"{shown(str(names[name]))} and {shown(str(path))} would both be sent as {shown(name)}: nothing was "
                f"sent; upload a folder that contains both, or one after the other"
            )
        names[name] = path
    return _gathered(paths, complain)


def _gathered(paths: Sequence[Path], complain: Complaint) -> Iterator[Seen]:
    for path in paths:
        if path.is_dir():
            yield from Scanner(path, complain).scan()
            continue
        try:
            file = path.resolve()
            yield Seen(str(file), RelativePath((path.absolute().name,)).key, facts_of(file.stat()))
        except (OSError, PathRefused) as error:
            complain(str(path), reason_of(error))


class Upload:
    """Sends ``files`` once each; one that changes meanwhile is tried again. ``report`` is told what became of each.

    ``moved`` is told, a few times a second, how many bytes the broker has of files that it does not have whole yet.
    """

    def __init__(
        self,
        files: Iterator[Seen],
        sink: RecordSink,
        stop: Event,
        *,
        manner: Manner | None = None,
        budget: Budget | None = None,
        report: Callable[[Report], None] = say,
        settling: Settling | None = None,
        moved: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.tally = Tally()
        self.sender = Sender(sink, NoJournal(), self._ended, manner, budget=budget)
        self._files = files
        self._stop = stop
        self._say = report
        self._settling = settling or Settling(TICK_NS, trusts_age=True)
        self._patience = Patience(self.sender.outlet)
        self._held: deque[tuple[int, Seen]] = deque()  # when to look again, steady nanoseconds
        self._tries: dict[bytes, int] = {}
        self._is_exhausted = False
        self._moved = moved
        self._told = time.monotonic()

    def run(self) -> Tally:
        """Send; ends within 6 s once it is told to stop. Raises BrokerError, TopicError."""
        self.sender.start()
        try:
            while not self._stop.is_set() and not self._is_done:
                self._fill()
                self.sender.step(0.05)
                self._patience.check()
                self._tell()
        finally:
            self.sender.finish(_FAREWELL)
        for _, seen in self._held:
            self._fail(Report(seen, Ending.STOPPED, seen.facts.size, reason="stopped before it was begun"))
        return self.tally

    def _tell(self) -> None:
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            self._moved(self.sender.under_way())

    @property
    def _is_done(self) -> bool:
        return self._is_exhausted and not self._held and self.sender.is_idle

    def _fill(self) -> None:
        """Offer what is due, then what is new."""
        now_ns = time.monotonic_ns()
        for _ in range(len(self._held)):
            due_ns, seen = self._held.popleft()
            if due_ns > now_ns or not self.sender.has_room:
                self._held.append((due_ns, seen))
            else:
                self._look_again(seen, now_ns)
        while not self._is_exhausted and self.sender.has_room and len(self._held) < _HELD:
            seen_next = next(self._files, None)
            if seen_next is None:
                self._is_exhausted = True
                return
            self._consider(seen_next, now_ns)

    def _look_again(self, seen: Seen, now_ns: int) -> None:
        try:
            facts = facts_of(os.stat(seen.file, follow_symlinks=False))  # noqa: PTH116 - a bare call, as in the scanner
        except OSError as error:
            self._fail(Report(seen, ending_of(error), seen.facts.size, reason=reason_of(error)))
        else:
            self._consider(seen._replace(facts=facts), now_ns)

    def _consider(self, seen: Seen, now_ns: int) -> None:
        facts = seen.facts
        is_ready = self._settling.look(seen.key, facts.size, facts.mtime_ns, now_ns, time.time_ns())
        if is_ready and not self.sender.is_busy_with(seen.key):
            self._settling.forget(seen.key)
            self.sender.offer(seen)
        else:
            self._held.append((now_ns + self._settling.settle_ns, seen))

    def _ended(self, report: Report) -> None:
        key = report.seen.key
        if report.ending is Ending.SENT:
            self._tries.pop(key, None)
            self.tally.count(report)
            self._say(report)
            return
        if report.ending is Ending.CHANGED:
            self._tries[key] = self._tries.get(key, 0) + 1
            if self._tries[key] < _TRIES:
                self._held.append((time.monotonic_ns() + _AGAIN_NS, report.seen))
                return
        self._fail(report)

    def _fail(self, report: Report) -> None:
        self.tally.failed += 1
        self._say(report)
