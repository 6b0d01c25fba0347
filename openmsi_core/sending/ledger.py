"""The ledger: which version of each path was sent, in an SQLite file that outlives the process.

What it promises: a row says *sent* only after the broker acknowledged every record of that version. What it does
not: that it survives. A ledger that is lost or damaged is put aside and begun anew; then everything is sent
again, and receivers recognise equal content. It never needs a person.

A version is told by path, size and time of change: a file that is unchanged in these is never sent again. Where only
the time is another one, or another file of the same size and time took the place, the digest decides: the file is
read, and sent if its content is not what was sent.

Rows are written in batches, a fraction of a second late: a crash in between costs that a file is sent again. The
one thing that the sender writes at once is that a file of several records is about to be sent, so that after a crash
its half can be continued, or given up in the topic. How much of it is acknowledged is written as it comes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from openmsi_core.errors import FolderError
from openmsi_core.files.locks import FileLock, holder
from openmsi_core.sending.entries import DEALT_WITH, Entry, State
from openmsi_core.sending.rows import Rows

_BATCH = 1000
_LATENESS_NS = 250_000_000

_log = logging.getLogger(__name__)


class Journal(Protocol):
    """Where the sender notes how far each version is."""

    is_kept: bool
    """True when a later process will read it, and may go on with what was half sent."""

    def entry(self, key: bytes) -> Entry | None:
        """What is known of a path."""
        ...

    def put(self, entry: Entry) -> None:
        """Note it, soon."""
        ...

    def remove(self, key: bytes) -> None:
        """Forget a path, soon."""
        ...

    def acknowledged(self, partition: int, offset: int) -> None:
        """Note how far a partition is acknowledged, together with the rows that say what of."""
        ...

    def flush(self) -> None:
        """Make durable what was noted."""
        ...


class NoJournal:
    """Notes nothing: `openmsi upload` sends what it is given, each time."""

    is_kept = False

    def entry(self, key: bytes) -> Entry | None:
        """Nothing is known."""
        del key
        return None

    def put(self, entry: Entry) -> None:
        """Nothing."""

    def remove(self, key: bytes) -> None:
        """Nothing."""

    def acknowledged(self, partition: int, offset: int) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""


def ledger_file(folder: Path, root: Path, topic: str) -> Path:
    """The ledger of a watched folder and a topic, inside our state ``folder``."""
    name = hashlib.sha256(os.fsencode(root.resolve()) + b"\0" + topic.encode()).hexdigest()[:24]
    return folder / "ledgers" / f"{name}.sqlite"


def _mode_below(state: Path) -> int:
    """A state folder that a group may read, as that of a service, has a ledger that it may read: who else could ask."""
    try:
        return 0o750 if state.stat().st_mode & 0o050 == 0o050 and not state.stat().st_mode & 0o007 else 0o700
    except FileNotFoundError:
        return 0o700


class Ledger:
    """The ledger of ``root`` and ``topic`` at ``file``; open it with ``with``, and use it in that one thread.

    ``__enter__`` raises FolderError when another process sends this folder to this topic, or when the state
    folder cannot be used; every other method when the disk does not take what must be written.
    """

    is_kept = True

    def __init__(self, file: Path, *, root: Path, topic: str, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.file = file
        self.root = root
        self.topic = topic
        self._clock_ns = clock_ns
        self._lock = FileLock(file.with_suffix(".lock"))
        self._rows = Rows(file)
        self._late: dict[bytes, Entry | None] = {}  # None: the row is to go
        self._late_since_ns = 0
        self._late_offsets: dict[int, int] = {}

    def __enter__(self) -> Self:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=_mode_below(self.file.parent.parent))
            self._lock.__enter__()
        except BlockingIOError as error:
            raise FolderError(
                f"another openmsi (process {holder(self._lock.path)}) is already sending {self.root} to topic "
                f"{self.topic}; stop that one first"
            ) from error
        except OSError as error:
            raise FolderError(
                f"the state folder {self.file.parent} cannot be used: {error.strerror}; make it writable, or choose "
                f"another one with OPENMSI_STATE"
            ) from error
        try:
            self._rows.open()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._rows.close()
            self._lock.__exit__(None, None, None)

    def known(self, key: bytes, size: int, mtime_ns: int, inode: int = 0) -> bool:
        """True when this version was sent already, or is to be skipped. ``inode`` counts where it is not 0."""
        late = self._late.get(key)
        if late is not None:
            found: tuple[int, int, str, int] | None = (late.size, late.mtime_ns, late.state, late.inode)
        else:
            found = None if key in self._late else self._rows.version(key)
        if found is None:
            return False
        is_other = inode != found[3] and inode != 0 and found[3] != 0
        return found[:2] == (size, mtime_ns) and found[2] in DEALT_WITH and not is_other

    def entry(self, key: bytes) -> Entry | None:
        """What is known of a path, written or about to be."""
        return self._late[key] if key in self._late else self._rows.find(key)

    def sent_as(self, record_key: bytes) -> list[Entry]:
        """The rows of the files that have this key in the topic; several, if a renaming gave it to several."""
        self.flush()
        return self._rows.sent_as(record_key)

    def half_sent(self) -> list[Entry]:
        """The versions that were begun and not finished."""
        self.flush()
        return self._rows.in_state(State.SENDING)

    def counts(self) -> dict[State, int]:
        """How many paths are in each state."""
        self.flush()
        return self._rows.counts()

    def put(self, entry: Entry) -> None:
        """Write a row, soon."""
        self._later(entry.key, entry)

    def remove(self, key: bytes) -> None:
        """Forget a path, soon: what is there now will be sent."""
        self._later(key, None)

    def acknowledged(self, partition: int, offset: int) -> None:
        """Write with the next rows that everything of ours in a partition up to this offset is in the rows."""
        self._late_offsets[partition] = offset

    def offsets(self) -> dict[int, int]:
        """How far each partition was acknowledged when rows were written last; see `acknowledged`."""
        return self._rows.offsets()

    def fact(self, name: str) -> str:
        """A fact about the whole ledger, "" when it was never set."""
        return self._rows.fact(name)

    def set_fact(self, name: str, value: str) -> None:
        """Set a fact, after everything that waits to be written."""
        self.flush()
        self._rows.set_fact(name, value)

    def belongs_to(self, topic_id: str) -> None:
        """Say which topic this is, by the id the broker gave it ("": the broker tells none).

        A topic that was deleted and made anew, or one of the same name on another cluster, holds nothing of what
        the ledger calls sent: everything is forgotten, and said.
        """
        before = self.fact("topic-id")
        if topic_id and before and before != topic_id:
            _log.warning("topic %s is not the one %s was sent to before: all is sent again", self.topic, self.root)
            self._late.clear()
            self._late_offsets.clear()
            self._rows.forget_all()
        if topic_id and before != topic_id:
            self.set_fact("topic-id", topic_id)

    def flush_if_due(self) -> None:
        """Write what waits, if it is much or has waited long."""
        many = len(self._late) >= _BATCH
        if many or (self._late and self._clock_ns() - self._late_since_ns >= _LATENESS_NS):
            self.flush()

    def flush(self) -> None:
        """Write what waits, and make it durable."""
        if self._late or self._late_offsets:
            self._rows.write(self._late, self._late_offsets)
            self._late.clear()
            self._late_offsets.clear()

    def _later(self, key: bytes, entry: Entry | None) -> None:
        if not self._late:
            self._late_since_ns = self._clock_ns()
        self._late[key] = entry
