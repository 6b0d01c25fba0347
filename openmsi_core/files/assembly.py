"""From records back to files: in any order, with duplicates, over several partitions, within a byte budget.

::

    assembler = Assembler(spool, limits)
    for record in records:
        event = assembler.take(record, decode(record.value))
        # None: the version is not whole yet
        # Whole: every byte is there and the digest matches; its content is yours to discard
        # Broken: its records contradict each other or the digest; nothing of it is kept
        # Aborted: its sender gave it up
    # Ignored: all its records came, and nobody wanted it
    # HeadCame: the first ``head`` bytes are there, if that was asked for

A version is open from its first record, whichever that is, until it is whole, broken or aborted. What is promised:
nobody gets bytes that do not match the SHA-256 of the last record. What is not: that a version whose records never
come ends by itself; `stale` names those, and `drop` ends them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from openmsi_core.errors import BadVersion, SpoolFull
from openmsi_core.files.events import Aborted, Broken, Event, HeadCame, Ignored, Whole
from openmsi_core.files.opened import OpenVersion, Span
from openmsi_core.files.spool import Spool
from openmsi_core.model import Chunk, FileVersion, Record, What

_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What assembly may cost. Bytes, and a count of open versions.

    ``in_memory_file``: a larger file is spooled; ``memory``: all that waits in memory, the stalest versions are
    spooled beyond it; ``spool``: all that waits on disk; ``file``: one file; ``facts``: an estimate of what is known
    about open versions.
    """

    in_memory_file: int = 8 * 1024 * 1024
    memory: int = 48 * 1024 * 1024
    spool: int = 10 * 1024**3
    file: int = 10 * 1024**3
    facts: int = 64 * 1024 * 1024
    open_versions: int = 20_000


Wanted = Callable[[FileVersion], bool]


def everything(version: FileVersion) -> bool:  # noqa: ARG001 - a Wanted
    """Want every file."""
    return True


class Assembler:
    """Collects the records of file versions until each is whole. One thread calls it."""

    def __init__(self, spool: Spool, limits: Limits | None = None, wanted: Wanted = everything, head: int = 0) -> None:
        self._head = head
        self.limits = limits or Limits()
        self._wanted = wanted
        self.memory = 0
        self.spooled = 0
        self.facts = 0
        self.late = 0
        self._spool = spool
        self._open: OrderedDict[bytes, OpenVersion] = OrderedDict()  # the stalest first
        self._in_memory: OrderedDict[bytes, None] = OrderedDict()  # those of them that hold memory, the stalest first
        self._ended: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()  # id -> its partitions

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, file_id: object) -> bool:
        return file_id in self._open

    def has_ended(self, file_id: bytes) -> bool:
        """True when this version ended here not long ago: its records are late duplicates."""
        return file_id in self._ended

    def unfinished(self) -> Iterator[str]:
        """What is open, in words, the stalest first."""
        for opened in self._open.values():
            what = (
                str(opened.version.path)
                if opened.version
                else f"a file without its first record ({opened.file_id.hex()})"
            )
            yield f"{what}, from {opened.span.first} on"

    def span_of(self, file_id: bytes) -> Span:
        """Where the records of an open version stand that came so far."""
        return self._open[file_id].span

    def first_offsets(self, partition: int) -> set[int]:
        """The first offsets of the open versions that have records in ``partition``."""
        spans = (opened.span.runs.get(partition) for opened in self._open.values())
        return {run[0] for run in spans if run is not None}

    def take(self, record: Record, chunk: Chunk, now_ms: int = 0) -> Event | None:
        """Add one record that came at ``now_ms``, our clock.

        Raises SpoolFull: then it is as if the record had not come, and the same one may be taken later. Raises OSError
        when the spool is broken.
        """
        if chunk.file_id in self._ended:
            self.late += 1
            return None
        opened = self._open.get(chunk.file_id)
        if opened is None:
            if chunk.abort:  # its beginning is dealt with, or was never ours to read
                self.late += 1
                return None
            opened = OpenVersion(chunk.file_id)
        self._make_room(len(chunk.payload))
        return self._add(opened, record, chunk, now_ms)

    def drop(self, file_id: bytes, what: What, reason: str) -> Broken:
        """End a version that is open and free what it holds."""
        opened = self._open[file_id]
        self._end(opened, keep=False)
        return Broken(file_id, opened.version, opened.span, what, reason)

    def forget_partitions(self, partitions: set[int]) -> None:
        """Drop, without a word, every version that has records in ``partitions``: they belong to somebody else now."""
        for opened in [each for each in self._open.values() if partitions & each.span.partitions]:
            self._end(opened, keep=False)
        # Whoever gets them back reads their uncommitted records again: those are no duplicates then.
        for file_id in [each for each, where in self._ended.items() if not partitions.isdisjoint(where)]:
            del self._ended[file_id]

    def stale(self, before_ms: int) -> list[bytes]:
        """The open versions that got no record since ``before_ms``, our clock: a sender's may be wrong by years."""
        return [each.file_id for each in self._open.values() if each.last_ms < before_ms]

    def headless(self, before_ms: int) -> list[bytes]:
        """The open versions whose first record did not come, and that got no other one since ``before_ms``."""
        found = []
        for opened in self._open.values():  # the stalest first
            if opened.last_ms >= before_ms:
                break
            if opened.version is None:
                found.append(opened.file_id)
        return found

    @property
    def oldest_ms(self) -> int | None:
        """When the last record of the stalest file came, epoch milliseconds of our clock; None: no file is open."""
        return next((each.last_ms for each in self._open.values()), None)

    def stalest(self) -> bytes | None:
        """The open version that got no record for longest."""
        return next(iter(self._open), None)

    def excess(self) -> list[bytes]:
        """The stalest open versions that must go to keep within the limits.

        The newest one goes only when what is known about it alone is too much.
        """
        count, spooled, facts, going = len(self._open), self.spooled, self.facts, []
        limits = self.limits
        for opened in self._open.values():
            fits = count <= limits.open_versions and spooled <= limits.spool and facts <= limits.facts
            if fits or (count == 1 and facts <= limits.facts):
                break
            going.append(opened.file_id)
            count, spooled, facts = count - 1, spooled - opened.spooled, facts - opened.facts
        return going

    def _add(self, opened: OpenVersion, record: Record, chunk: Chunk, now_ms: int) -> Event | None:
        is_new = opened.file_id not in self._open
        memory, spooled, facts = opened.memory, opened.spooled, 0 if is_new else opened.facts
        in_memory = min(self.limits.in_memory_file, self.limits.memory)
        broken = ""
        try:
            if chunk.version and not opened.ignored and not self._wanted(chunk.version):
                opened.ignore()
            opened.add(record, chunk, self._spool, in_memory)
        except BadVersion as error:
            broken = str(error)
        except SpoolFull:
            if is_new:
                opened.discard()
            self._count(opened, memory, spooled, opened.facts)  # it may have been moved to the spool before
            raise
        self._open[opened.file_id] = opened
        self._open.move_to_end(opened.file_id)
        opened.last_ms = now_ms
        self._count(opened, memory, spooled, facts)
        if broken:
            return self.drop(opened.file_id, What.CONTRADICTORY, broken)
        if chunk.version and not opened.ignored and chunk.version.size > self.limits.file:
            reason = (
                f"a file of {chunk.version.size:,} bytes is larger than spool-limit, {self.limits.file:,}: raise it"
            )
            return self.drop(opened.file_id, What.INCOMPLETE, reason)
        if chunk.abort:
            self._end(opened, keep=False)
            return Aborted(opened.file_id, opened.version, opened.span)
        if opened.is_whole:
            return self._complete(opened)
        data = opened.head(self._head)
        return None if data is None or opened.version is None else HeadCame(opened.version, data, opened.span.copy())

    def _count(self, opened: OpenVersion, memory: int, spooled: int, facts: int) -> None:
        """Count what changed in ``opened`` since it held so much."""
        self.memory += opened.memory - memory
        self.spooled += opened.spooled - spooled
        self.facts += opened.facts - facts
        self._note_memory(opened)

    def _complete(self, opened: OpenVersion) -> Event:
        version, promised = opened.version, opened.promised
        if version is None or promised is None:
            raise AssertionError("a whole version knows its first and its last record")
        if opened.ignored:
            self._end(opened, keep=False)
            return Ignored(version, opened.span)
        proof = opened.proof()
        if proof != promised:
            name = "SHA-512" if len(promised) > len(opened.digest()) else "SHA-256"
            reason = f"the content has {name} {proof.hex()}, its sender promised {promised.hex()}"
            return self.drop(opened.file_id, What.DIGEST_MISMATCH, reason)
        content, sha256 = opened.content(), opened.digest()
        self._end(opened, keep=True)
        return Whole(replace(version, sha256=sha256), content, opened.span)

    def _end(self, opened: OpenVersion, *, keep: bool) -> None:
        del self._open[opened.file_id]
        self._in_memory.pop(opened.file_id, None)
        self.memory -= opened.memory
        self.spooled -= opened.spooled
        self.facts -= opened.facts
        if not keep:
            opened.discard()
        self._ended[opened.file_id] = tuple(opened.span.runs)
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _make_room(self, count: int) -> None:
        """Move the stalest versions from memory to disk until ``count`` bytes more fit. Raises SpoolFull, OSError."""
        while self.memory + count > self.limits.memory and self._in_memory:
            opened = self._open[next(iter(self._in_memory))]
            held = opened.memory
            opened.spill(self._spool)
            self._count(opened, held, 0, opened.facts)

    def _note_memory(self, opened: OpenVersion) -> None:
        """Keep the versions that hold memory in the order in which they were last touched."""
        self._in_memory.pop(opened.file_id, None)
        if opened.memory:
            self._in_memory[opened.file_id] = None
