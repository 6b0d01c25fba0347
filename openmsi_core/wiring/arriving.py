"""From settings to the answer of `openmsi status`: a ledger, its receipts, its folder."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from openmsi_core.errors import FolderError, OpenmsiError
from openmsi_core.ports import RecordReader
from openmsi_core.sending.arrivals import Account, Arrival, Arrivals, RunShare, Stage, Version, unknown
from openmsi_core.sending.following import read_on
from openmsi_core.sending.ledger import ledger_file
from openmsi_core.sending.ledgers import SEEN, About, about_in, is_watched, known_ledgers
from openmsi_core.sending.receiptbook import ReceiptBook
from openmsi_core.sending.scanner import Scanner
from openmsi_core.sending.seen import Seen
from openmsi_core.sending.verifying import VERIFIED, Verdict
from openmsi_core.sending.verifying import verify as verified
from openmsi_core.settings import Settings
from openmsi_core.wiring.receipts import beyond

_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of one folder and topic now.

    ``is_watched``: a watch is there. ``read_ns``: when receipts were read last, epoch nanoseconds. ``left_out``: places
    that could not be looked at. ``caveats``: sentences about what could not be found out.
    """

    about: About
    arrivals: Arrivals
    is_watched: bool
    read_ns: int | None
    left_out: int
    caveats: Sequence[str]


def ledgers_of(settings: Settings, name: str | None, topic: str | None) -> list[About]:
    """The ledgers of a folder or of a configured watch, or all. Raises FolderError when there is none."""
    known = known_ledgers(settings.state)
    if name is None:
        found = [about for about in known if topic in {None, about.topic}]
        what = "no folder was watched here" if topic is None else f"no folder was watched for topic {topic} here"
    else:
        found = _of_watch(settings, name, topic, known)
        what = f"{name} was not watched here" if topic is None else f"{name} was not watched for topic {topic} here"
    if not found:
        raise FolderError(
            f"{what}: there is no ledger in {settings.state / 'ledgers'}. `openmsi watch DIR --topic T` makes one; for "
            f"a service, set OPENMSI_STATE to its state folder"
        )
    return found


def _of_watch(settings: Settings, name: str, topic: str | None, known: Sequence[About]) -> list[About]:
    watch = settings.watch.get(name)
    root = watch.path if watch is not None else Path(name)
    wanted = topic or (watch.topic if watch is not None else "")
    found = [each for each in known if each.root.resolve() == root.resolve() and wanted in {"", each.topic}]
    if found or not wanted:
        return found
    file = ledger_file(settings.state, root, wanted)  # of an openmsi that did not say there what it is about
    return [about_in(file) or About(file, root.absolute(), wanted)] if file.is_file() else []


class Lookout:
    """Looks at one ledger, again and again if it is asked to. ``runs`` are the runs that were named.

    Use it in a ``with``; its methods raise FolderError when the ledger cannot be used, and nothing for a broker that
    cannot be: that is a caveat.
    """

    def __init__(self, about: About, kafka: Mapping[str, str], runs: Sequence[str] = ()) -> None:
        self.about = about
        self._beyond = beyond(kafka, about.topic, _PATIENCE)
        self._runs = tuple(runs) or about.runs
        self._stack = ExitStack()
        self._reader: RecordReader | None = None
        self._topic_id = ""

    def __enter__(self) -> Self:
        self._book = self._stack.enter_context(ReceiptBook(self.about.file))
        try:
            self._account = Account(self._book, self._runs)
            self._pool = self._stack.enter_context(ThreadPoolExecutor(1, "openmsi-look"))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def look(self) -> Status:
        """Look at the folder, read the receipts that came since, and say how far everything is."""
        caveats: list[str] = []
        scanner = Scanner(self.about.root, lambda *_: None, self.about.include, self.about.exclude)
        is_there = self.about.root.is_dir()
        looking = self._pool.submit(_waiting, scanner, self._account.known()) if is_there else None
        if not is_there:
            caveats.append(f"the folder {self.about.root} cannot be looked at: what waits there is not counted")
        self._account.wait_for(())
        try:
            self._read()
        except OpenmsiError as error:
            caveats.append(f"receipts could not be read now: {error}")
        arrivals = self._account.arrivals()  # while the scan goes on: mostly it finds nothing that waits
        waiting = looking.result() if looking is not None else []
        if waiting:
            self._account.wait_for(waiting)
            arrivals = self._account.arrivals()
        if not arrivals.is_complete and not caveats:
            caveats += self._stuck()
        watched = is_watched(self._book.fact(SEEN), time.time_ns())
        return Status(self.about, arrivals, watched, self._book.read_ns(), scanner.left_out, caveats)

    def files(self, stages: Sequence[Stage] = tuple(Stage), limit: int = -1) -> Iterator[Arrival]:
        """The files as `look` found them, by stage, the oldest first."""
        return self._account.files(stages, limit)

    def runs(self) -> Sequence[RunShare]:
        """What each run said of the files, by the same look."""
        return self._account.runs()

    def _read(self) -> None:
        if self._reader is None:
            self._topic_id = self._beyond.topic_id()
            self._reader = self._stack.enter_context(self._beyond.reader())
        read_on(self._reader, self._book, self._topic_id)

    def _stuck(self) -> list[str]:
        try:
            text = self._beyond.stuck()
        except OpenmsiError as error:
            text = f"whether the receipts can be read to their end is not known: {error}"
        return [text] if text else []


def verify(lookout: Lookout) -> Iterator[Verdict]:
    """Compare digests here and there for what was sent, after a look. Raises FolderError."""
    return verified(lookout.about.root, lookout.files(VERIFIED))


def _waiting(scanner: Scanner, known: Collection[Version]) -> list[Seen]:
    return unknown(scanner.scan(), known)
