"""How far one partition is dealt with, and what beyond is.

Kafka keeps one offset per partition and group: the next record to read. A receiver finishes file versions out of
order, so it commits the *lowest* first offset of a version that is not finished, and says in the commit's metadata
which versions above it are unfinished too, because the unfinished are few::

    offset      10   11   12   13   14   15   16 = H
    version      a    b    a    c    b    c          a, c unfinished, b finished
    commit      10   with metadata "below 16 unfinished: 10, 13"

Whoever reads on from this commit skips every version and every bad record that began below H and is not listed.
A version is in the partition's order by its first offset there; bad records count as versions of one record.
Offsets are compared, never counted: transactions and compaction leave holes.
"""

from __future__ import annotations

import heapq
import logging
from dataclasses import dataclass

from openmsi_core.model import Claim, Commit
from openmsi_core.receiving import unfinished

log = logging.getLogger(__name__)

MAX_METADATA = 4000


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading of a partition begins, and which versions of it are finished already."""

    offset: int
    below: int
    listed: frozenset[int]

    def is_finished(self, offset: int) -> bool:
        """True when a version that began at ``offset`` was finished before this start."""
        return offset < self.below and offset not in self.listed


def start_of(claim: Claim, topic_id: str, default: int) -> Start:
    """Where to begin a partition: at its commit, or at ``default`` when it has none.

    A topic that was deleted and made anew is read from its beginning. Where retention removed records above the
    commit, reading goes on at the first that is left. Metadata that cannot be read says nothing: then nothing above
    the committed offset is known to be finished. Each of these is said.
    """
    if claim.committed is None:
        return Start(default, default, frozenset())
    known = unfinished.decode(claim.metadata)
    if known is not None and topic_id and known.topic_id and known.topic_id != topic_id:
        log.warning("partition %d: the topic was deleted and made anew; it is read from its beginning", claim.partition)
        return Start(claim.low, claim.low, frozenset())
    if claim.committed < claim.low:
        log.warning(
            "partition %d: retention removed the offsets %d to %d before they were read; files that began there are "
            "lost here, send them again",
            claim.partition,
            claim.committed,
            claim.low - 1,
        )
    offset = max(claim.committed, claim.low)
    if known is not None:
        return Start(offset, max(known.below, offset), frozenset(known.offsets))
    if claim.metadata:
        log.warning(
            "partition %d: the commit at %d carries metadata that this openmsi cannot use; files above it may be "
            "handled once more",
            claim.partition,
            claim.committed,
        )
    return Start(offset, offset, frozenset())


class Watermark:
    """For one partition and one assignment: which versions began, and which of them are dealt with.

    ``next_offset`` is the offset after the last record that was taken. A version that began is *open* until
    `finish`; it may be finished only in order of durability, so `finish` is called after its outcome is safe to
    commit.
    """

    def __init__(self, partition: int, start: Start) -> None:
        self.partition = partition
        self.start = start
        self.next_offset = start.offset
        self._open: set[int] = set()
        self._order: list[int] = []  # a heap of offsets; those not in _open any more are dropped when they surface

    def __len__(self) -> int:
        return len(self._open)

    def took(self, offset: int) -> None:
        """A record was taken, whatever it was."""
        self.next_offset = max(self.next_offset, offset + 1)

    def begin(self, offset: int) -> None:
        """A version began at ``offset``."""
        if offset not in self._open:
            self._open.add(offset)
            heapq.heappush(self._order, offset)

    def finish(self, offset: int) -> None:
        """The version that began at ``offset`` is dealt with. Nothing happens when it is not open."""
        self._open.discard(offset)

    @property
    def low(self) -> int:
        """The offset to read on from: of the first open version, or after the last record taken."""
        while self._order and self._order[0] not in self._open:
            heapq.heappop(self._order)
        return self._order[0] if self._order else self.next_offset

    def commit(self, topic_id: str, finishing: frozenset[int] = frozenset()) -> Plan:
        """What a commit would say once ``finishing`` (first offsets) are dealt with too.

        The metadata may not hold every open version; then H is lowered, and the versions of ``finishing`` that
        began at or above it must wait: they are in `Plan.held`. Changes nothing.
        """
        # What was finished under an earlier assignment is finished also where this one has not read again yet.
        unread = {offset for offset in self.start.listed if offset >= self.next_offset}
        still_open = sorted((self._open - finishing) | unread)
        end = max(self.next_offset, self.start.below)
        fitting = min(len(still_open), unfinished.MAX_OFFSETS)
        while True:
            below = still_open[fitting] if fitting < len(still_open) else end
            text = unfinished.encode(topic_id, below, still_open[:fitting])
            if len(text) <= MAX_METADATA or fitting <= 1:
                break
            fitting = max(1, min(fitting - 1, fitting * MAX_METADATA // len(text)))
        held = frozenset(offset for offset in finishing if offset >= below)
        low = min(still_open[0], self.next_offset) if still_open else self.next_offset
        return Plan(Commit(self.partition, low, text), held, below)


@dataclass(frozen=True, slots=True)
class Plan:
    """A commit, and the first offsets of finished versions that it cannot record yet.

    ``below`` is its H: a version with records at or above it cannot be recorded either, because a successor would
    take those for a version without a beginning.
    """

    commit: Commit
    held: frozenset[int]
    below: int
