"""The loop of `openmsi watch`: scan, settle, send, note; again and again, or once.

One thread: a slice of the scan, a step of the sender, a look at the clock. So a scan of a million files does not
hold up a small file, nor a large file the scan.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from itertools import islice
from threading import Event

from openmsi_core.errors import BrokerUnreachable, FolderError
from openmsi_core.ports import RecordSink
from openmsi_core.sending.complaints import Complaints
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.goals import Goal
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget
from openmsi_core.sending.patience import Patience
from openmsi_core.sending.reports import Ending, Report, Tally, say
from openmsi_core.sending.scanner import Scanner
from openmsi_core.sending.seen import Seen
from openmsi_core.sending.sender import Sender
from openmsi_core.sending.settling import TICK_NS, Settling

_SLICE = 256
_BASELINE = "new-only-since"
_FAREWELL = 5.0
_LONGEST_WAIT = 0.1  # so that a stop is noticed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Seconds that a file must stand still, seconds between scans, and where the watch begins.

    ``new_only``: what is there when this folder is watched for the first time is not sent until it changes.
    """

    settle: float = 3.0
    interval: float = 1.0
    new_only: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clocks:
    """A clock that never jumps and the one that stamps files, both in nanoseconds."""

    steady_ns: Callable[[], int] = time.monotonic_ns
    wall_ns: Callable[[], int] = time.time_ns


class Watch:
    """Watches the folder of an open ``ledger`` and sends what becomes ready, until ``stop`` is set or ``goal`` reached.

    ``report`` is told the end of every attempt; ``tally`` counts. ``aside`` is called again and again, in this thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        sink: RecordSink,
        goal: Goal,
        rules: Rules,
        stop: Event,
        *,
        manner: Manner | None = None,
        budget: Budget | None = None,
        report: Callable[[Report], None] = say,
        clocks: Clocks | None = None,
        aside: Callable[[], None] = lambda: None,
    ) -> None:
        self.tally = Tally()
        self.sender = Sender(sink, ledger, self._ended, manner, budget=budget)
        self._ledger = ledger
        self._goal = goal
        self._rules = rules
        self._stop = stop
        self._say = report
        self._clocks = clocks or Clocks()
        self._aside = aside
        self._complaints = Complaints()
        self._scanner = Scanner(ledger.root, self._complaints, rules.include, rules.exclude)
        settle_ns = max(int(rules.settle * 1e9), TICK_NS)
        self._settling = Settling(settle_ns, trusts_age=goal.trusts_age)
        self._patience = Patience(self.sender.outlet)
        self._scan: Generator[Seen] | None = None
        self._scan_ns = 0
        self._next_ns = 0
        self._silent_since: int | None = None  # how many answers there were when it was said

    def run(self) -> Tally:
        """Watch; ends within 6 s once it is told to stop.

        Raises FolderError when the folder is not there at the start, TopicError, and BrokerError. A broker that is
        away is waited for, unless the goal is one pass.
        """
        if not self._ledger.root.is_dir():
            raise FolderError(f"there is no folder {self._ledger.root}; create it, or watch another one")
        self._baseline()
        if not self._patiently(self._greet):
            return self.tally
        try:
            while not self._stop.is_set():
                self._patiently(self._turn)
                if self._goal.is_reached() and self.sender.is_idle:
                    break
        finally:
            if self._scan is not None:
                self._scan.close()
            self.sender.finish(_FAREWELL)
        self.tally.left_out = self._scanner.left_out
        return self.tally

    def _baseline(self) -> None:
        """With `new_only`, the first time: everything that is there counts as dealt with."""
        if not self._rules.new_only or self._ledger.fact(_BASELINE):
            return
        if not self._ledger.counts():  # what came while an earlier watch was down is new
            count = 0
            for count, seen in enumerate(self._scanner.scan(), 1):  # noqa: B007 - said below
                facts = seen.facts
                self._ledger.put(Entry(seen.key, facts.size, facts.mtime_ns, State.SKIPPED, facts.inode))
                self._ledger.flush_if_due()
            _log.info("%s files are there already and are not sent until they change (--new-only)", f"{count:,}")
        self._ledger.set_fact(_BASELINE, str(self._clocks.wall_ns()))

    def _greet(self) -> None:
        self.sender.start()
        count = self.sender.abandon(self._ledger.half_sent())
        if count:
            _log.info("%d files were left half sent: they are given up there and sent anew", count)

    def _patiently(self, action: Callable[[], None]) -> bool:
        """Do it; again after a second as long as the broker is away and is waited for. False: told to stop."""
        while not self._stop.is_set():
            self._aside()
            try:
                action()
            except BrokerUnreachable as error:
                if not self._goal.waits_for_broker:
                    raise
                self._say_silent(str(error))
                self._stop.wait(1.0)
            else:
                return True
        return False

    def _turn(self) -> None:
        """A slice of the scan, a step of the sender."""
        now_ns = self._clocks.steady_ns()
        if self._scan is None and now_ns >= self._next_ns:
            self._scan, self._scan_ns = self._scanner.scan(), 0
        if self._scan is not None:
            self._look(self._scan)
        left = (self._next_ns - now_ns) / 1e9 if self._scan is None else 0.0
        self.sender.step(max(0.0, min(left, _LONGEST_WAIT)))
        self._ledger.flush_if_due()
        self._check_silence()

    def _look(self, scan: Generator[Seen]) -> None:
        """One slice of the scan."""
        begun_ns = self._clocks.steady_ns()
        ended = True
        for seen in islice(scan, _SLICE):
            ended = False
            self._consider(seen, begun_ns)
        now_ns = self._clocks.steady_ns()
        self._scan_ns += now_ns - begun_ns
        if ended:
            self._scan = None
            self._settling.end_scan()
            self._complaints.end_scan()
            self._goal.end_scan()
            # looking takes at most a fifth of a core, however many files there are
            pause_ns = int(self._rules.interval * 1e9)
            if self._settling:  # a file waits for its second look
                pause_ns = min(pause_ns, self._settling.settle_ns)
            self._next_ns = now_ns + max(pause_ns, 4 * self._scan_ns)

    def _consider(self, seen: Seen, now_ns: int) -> None:
        key, facts = seen.key, seen.facts
        if self._ledger.known(key, facts.size, facts.mtime_ns) or not self._goal.wants(key, now_ns):
            return
        if self.sender.is_busy_with(key):
            return
        if not self._settling.look(key, facts.size, facts.mtime_ns, now_ns, self._clocks.wall_ns()):
            if self._goal.is_hopeless(key, self._settling.waited_ns(key, now_ns)):
                self.tally.failed += 1
                self._say(Report(seen, Ending.CHANGED, facts.size, reason="it is still being written to"))
        elif self.sender.has_room:
            self._settling.forget(key)
            self.sender.offer(seen)

    def _ended(self, report: Report) -> None:
        is_given_up = self._goal.ended(report, self._clocks.steady_ns())
        if report.ending is Ending.SENT:
            self.tally.count(report)
        elif is_given_up:
            self.tally.failed += 1
        else:
            report = replace(report, is_tried_again=True)
        self._say(report)

    def _check_silence(self) -> None:
        if not self._goal.waits_for_broker:
            self._patience.check()
        elif self._patience.is_out():
            self._say_silent("it acknowledges nothing")
        elif self._silent_since is not None and self.sender.outlet.answers > self._silent_since:
            self._silent_since = None
            _log.info("the broker answers again")

    def _say_silent(self, reason: str) -> None:
        if self._silent_since is None:
            self._silent_since = self.sender.outlet.answers
            _log.warning("waiting for the broker, nothing is lost meanwhile: %s", reason)
