"""The loop of `openmsi watch`: scan, settle, send, note; again and again, or once.

One thread: some hints, files whose settle time is over, a slice of the scan, a step of the sender. So a scan of a
million files does not hold up a small file, nor a large file the scan. The scan is the truth; hints make it quick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Event

from openmsi_core.errors import BrokerUnreachable, FolderError
from openmsi_core.ports import RecordReader, RecordSink
from openmsi_core.sending.agenda import Agenda
from openmsi_core.sending.complaints import Complaints
from openmsi_core.sending.entries import DEALT_WITH, Entry, State
from openmsi_core.sending.goals import Goal
from openmsi_core.sending.hints import Hints, NoHints
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget
from openmsi_core.sending.patience import Patience
from openmsi_core.sending.reports import Ending, Report, Tally, say
from openmsi_core.sending.restarting import take_up
from openmsi_core.sending.rules import Clocks, Rules
from openmsi_core.sending.scanner import Scanner
from openmsi_core.sending.seen import Seen
from openmsi_core.sending.sender import Sender
from openmsi_core.sending.settling import TICK_NS, Settling

_SLICE = 256
_BASELINE = "new-only-since"
_FAREWELL = 5.0
_LONGEST_WAIT = 0.1  # so that a stop is noticed
_LONGEST_WAIT_HINTED = 0.02  # so that hints are
_STILL_WRITTEN_NS = 3_600_000_000_000

_log = logging.getLogger(__name__)


class Watch:
    """Watches the folder of an open ``ledger`` and sends what becomes ready, until ``stop`` is set or ``goal`` reached.

    ``report`` is told the end of every attempt; ``tally`` counts. ``hints`` say where to look between scans; ``reader``
    reads the topic where an earlier process ended; without it what was half sent is given up.
    ``aside`` is called again and again, in this thread.
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
        hints: Hints | None = None,
        reader: Callable[[], AbstractContextManager[RecordReader]] | None = None,
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
        settle_ns = max(int(rules.settle * 1e9), TICK_NS)
        self._settling = Settling(settle_ns, trusts_age=goal.trusts_age and not rules.polling)
        self._hints = hints or NoHints()
        self._has_hints = hints is not None
        self._reader = reader
        self._sidecars = (manner or Manner()).sidecars
        self._scanner = Scanner(ledger.root, self._complaints, rules.include, rules.exclude, self._sidecars)
        self._again = Agenda()
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
        with ExitStack() as stack:
            stack.enter_context(self._hints)  # before the first scan: what comes while that runs is hinted at
            self._baseline()
            if self._patiently(self._greet):
                self._watch()
        self.tally.left_out = self._scanner.left_out
        return self.tally

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                self._patiently(self._turn)
                if self._goal.is_reached() and self.sender.is_idle:
                    break
        finally:
            if self._scan is not None:
                self._scan.close()
            self.sender.finish(_FAREWELL)

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
        if self._reader is not None:
            with self._reader() as reader:
                take_up(self._ledger, self.sender, self._scanner, reader, self._clocks.wall_ns())
        else:
            self.sender.abandon(self._ledger.half_sent())

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
        """Some hints, what is due, a slice of the scan, a step of the sender."""
        now_ns = self._clocks.steady_ns()
        trusted: set[Path] = set()
        for hint in self._hints.take(_SLICE):
            for seen in self._scanner.look(hint.place, trusted):
                self._consider(seen, now_ns, is_moved=hint.is_moved)
        for key in self._again.due(now_ns, _SLICE) if self.sender.has_room else ():
            for seen in self._scanner.look(self._scanner.place_of(key), trusted):
                self._consider(seen, now_ns)
        if self._hints.were_lost():
            _log.debug("events were lost: the whole folder is looked through")
            self._next_ns = now_ns
        if self._scan is None and now_ns >= self._next_ns:
            self._scan, self._scan_ns = self._scanner.scan(), 0
        if self._scan is not None:
            self._look(self._scan)
        next_ns = min(self._next_ns, self._again.next_ns) if self.sender.has_room else self._next_ns
        until_ns = next_ns if self._scan is None else now_ns
        longest = _LONGEST_WAIT_HINTED if self._has_hints else _LONGEST_WAIT
        self.sender.step(max(0.0, min((until_ns - now_ns) / 1e9, longest)))
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
            self._next_ns = now_ns + max(int(self._rules.interval * 1e9), 4 * self._scan_ns)

    def _consider(self, seen: Seen, now_ns: int, *, is_moved: bool = False) -> None:
        key, facts = seen.key, seen.facts
        inode = 0 if self._rules.polling else facts.inode  # network mounts give a file another one when they please
        if self._ledger.known(key, facts.size, facts.mtime_ns, inode):
            return
        owner = self._sidecars.owner(key)
        if owner is None and not self._goal.wants(key, now_ns):
            return
        if self.sender.is_busy_with(owner or key):
            self._again.put(key, now_ns + self._settling.settle_ns)
            return
        wall_ns = self._clocks.wall_ns()
        if not self._settling.look(key, facts.size, facts.mtime_ns, now_ns, wall_ns, is_moved=is_moved):
            self._wait_for(seen, now_ns)
        elif owner is not None:
            self._settling.forget(key)
            self._take_sidecar(seen, owner)
        elif not self.sender.has_room:
            self._again.put(key, now_ns)
        elif self._has_its_sidecar(key, now_ns):
            self._settling.forget(key)
            self.sender.offer(seen)

    def _wait_for(self, seen: Seen, now_ns: int) -> None:
        """A file that is not ready: look again when it may be, unless it is given up."""
        key = seen.key
        due_ns, waited_ns = self._settling.due_ns(key), self._settling.waited_ns(key, now_ns)
        if due_ns is not None:
            self._again.put(key, max(due_ns, now_ns + TICK_NS))
        if self._goal.is_hopeless(key, waited_ns):
            self.tally.failed += 1
            self._say(Report(seen, Ending.CHANGED, seen.facts.size, reason="it is still being written to"))
        elif waited_ns >= _STILL_WRITTEN_NS:
            reason = f"it has been written to for an hour without standing still for {self._rules.settle:g} s"
            self._complaints(seen.file, reason)

    def _has_its_sidecar(self, key: bytes, now_ns: int) -> bool:
        """False while the sidecar of a file that is ready does not stand still."""
        sidecar = self._sidecars.of(key)
        if sidecar is None:
            return True
        for seen in self._scanner.look(self._scanner.place_of(sidecar)):
            self._consider(seen, now_ns)
            if not self._ledger.known(seen.key, seen.facts.size, seen.facts.mtime_ns):
                self._again.put(key, now_ns + self._settling.settle_ns)
                return False
        return True

    def _take_sidecar(self, seen: Seen, owner: bytes) -> None:
        """A sidecar that is new or has changed: what it speaks of is sent again, if it was sent without it."""
        before = self._ledger.entry(owner)
        if before is not None and before.state in DEALT_WITH:
            self._ledger.remove(owner)
            self._again.put(owner, 0)
        facts = seen.facts
        self._ledger.put(Entry(seen.key, facts.size, facts.mtime_ns, State.SKIPPED, facts.inode))

    def _ended(self, report: Report) -> None:
        now_ns = self._clocks.steady_ns()
        is_given_up = self._goal.ended(report, now_ns)
        if report.ending is Ending.CHANGED:
            self._again.put(report.seen.key, now_ns + TICK_NS)
        if report.ending is Ending.SENT:
            self.tally.count(report)
        elif report.ending is Ending.UNCHANGED:
            pass
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
