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

import logging
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, takewhile

from openmsi_core.model import Claim, Commit
from openmsi_core.receiving import unfinished

log = logging.getLogger(__name__)

MAX_METADATA = 4000
_FEWER = 64  # offsets that are left out at once when the metadata turn out too long after all
_SWEPT = 1024  # so many offsets of versions that are dealt with may always stay in the list


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading of a partition begins, and which versions of it are finished already.

    ``cut``: the first and the last offset that retention removed before they were read. ``is_asked``: the run was told
    to begin in the middle of the log.
    """

    offset: int
    below: int
    listed: frozenset[int]
    cut: tuple[int, int] | None = None
    is_asked: bool = False

    def is_finished(self, offset: int) -> bool:
        """True when a version that began at ``offset`` was finished before this start."""
        return offset < self.below and offset not in self.listed


def start_of(claim: Claim, topic_id: str, default: int) -> Start:
    """Where to begin a partition: at its commit, or at ``default`` when it has none.

    A topic that was deleted and made anew is read from its beginning, and so is one that ends before the commit when
    nothing tells that it is the same one still. Where retention removed records above the commit, reading goes on at
    the first that is left. One that ends below H has lost its tail: what comes in its place is new. Metadata that
    cannot be read says nothing: then nothing above the committed offset is known to be finished. Each of these is said.
    """
    if claim.committed is None:
        return Start(default, default, frozenset(), is_asked=default > claim.low)
    known = unfinished.decode(claim.metadata)
    has_ids = known is not None and bool(topic_id) and bool(known.topic_id)
    if known is not None and has_ids and known.topic_id != topic_id:
        log.warning("partition %d: the topic was deleted and made anew; it is read from its beginning", claim.partition)
        return Start(claim.low, claim.low, frozenset())
    if claim.is_refused and claim.committed > claim.high:
        return _shrunk(claim, is_same=has_ids)
    cut = (claim.committed, claim.low - 1) if claim.committed < claim.low else None
    offset = max(claim.committed, claim.low)
    if known is not None:
        return Start(offset, max(_within(claim, known.below), offset), frozenset(known.offsets), cut)
    if claim.metadata:
        log.warning(
            "partition %d: the commit at %d carries metadata that this openmsi cannot use; files above it may be "
            "handled once more",
            claim.partition,
            claim.committed,
        )
    return Start(offset, offset, frozenset(), cut)


def _within(claim: Claim, below: int) -> int:
    """H, or the end of a log that lost its tail: what comes there now is new, whatever was dealt with there before."""
    if below <= claim.high:
        return below
    log.warning(
        "partition %d: the broker lost the records %d to %d, and with them the files among these that were not dealt "
        "with; what comes in their place is read",
        claim.partition,
        claim.high,
        below - 1,
    )
    return claim.high


def _shrunk(claim: Claim, *, is_same: bool) -> Start:
    """Where to begin a log that ends before the commit."""
    if is_same:
        log.warning(
            "partition %d: the broker lost the records %d to %d, which were dealt with; reading goes on after them",
            claim.partition,
            claim.high,
            (claim.committed or 0) - 1,
        )
        return Start(claim.high, claim.high, frozenset())
    log.warning(
        "partition %d: the commit at %s is beyond the end, %d: the topic was made anew, it is read from its beginning",
        claim.partition,
        claim.committed,
        claim.high,
    )
    return Start(claim.low, claim.low, frozenset())


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
        self._order: list[int] = []  # ascending; those not in _open any more are swept out when they are many
        self._first = 0  # what stands in _order before this is not open
        self._recorded = start.below  # H of the last commit
        self._ahead = sorted(offset for offset in start.listed if offset >= start.offset)  # open, if not read yet

    def __len__(self) -> int:
        return len(self._open)

    def took(self, offset: int) -> None:
        """A record was taken, whatever it was."""
        self.next_offset = max(self.next_offset, offset + 1)

    def begin(self, offset: int) -> None:
        """A version began at ``offset``. Takes no time when it is the last so far, as it nearly always is."""
        if offset in self._open:
            return
        self._open.add(offset)
        if not self._order or offset > self._order[-1]:
            self._order.append(offset)
            return
        at = bisect_left(self._order, offset)
        if self._order[at] != offset:
            self._order.insert(at, offset)
        self._first = min(self._first, at)

    def finish(self, offset: int) -> None:
        """The version that began at ``offset`` is dealt with. Nothing happens when it is not open."""
        self._open.discard(offset)
        if len(self._order) > 2 * len(self._open) + _SWEPT:
            self._order = [each for each in self._order if each in self._open]
            self._first = 0

    @property
    def low(self) -> int:
        """The offset to read on from: of the first open version, or after the last record taken."""
        first = next(self._from_first(), None)
        return self.next_offset if first is None else first

    def commit(self, topic_id: str, finishing: frozenset[int] = frozenset()) -> Plan:
        """What a commit would say once ``finishing`` (first offsets) are dealt with too.

        The metadata may not hold every open version; then H is lowered, and the versions of ``finishing`` that
        began at or above it must wait: they are in `Plan.held`. Changes nothing. Takes some milliseconds, however many
        versions are open.

        H never goes down again: what was finished between a lower one and the last one would be forgotten with it.
        So until reading has come to the H it began with, what that commit said of the versions ahead is said again;
        and where the list would not fit any more because versions in its middle ended, these must wait too.
        """
        listed, left_out = unfinished.fitting(topic_id, self._still_open(finishing), MAX_METADATA)
        below = max(self.next_offset, self.start.below) if left_out is None else left_out
        text = unfinished.encode(topic_id, below, listed)
        while listed and len(text) > MAX_METADATA:  # in one piece it may be a little longer than in several
            below, listed = listed[-_FEWER:][0], listed[:-_FEWER]
            text = unfinished.encode(topic_id, below, listed)
        if below < self._recorded:
            return self._within_the_last(topic_id, finishing)
        return self._plan(listed, below, text, frozenset(offset for offset in finishing if offset >= below))

    def recorded(self, below: int) -> None:
        """A commit whose H is ``below`` is durable."""
        self._recorded = max(self._recorded, below)

    def _within_the_last(self, topic_id: str, finishing: frozenset[int]) -> Plan:
        """A commit with the H of the last one; without ``finishing`` it is the last one, and fits."""
        some = sorted(offset for offset in finishing if offset < self._recorded)
        while True:
            is_open = self._still_open(frozenset(some))
            listed = list(takewhile(lambda offset: offset < self._recorded, is_open))
            text = unfinished.encode(topic_id, self._recorded, listed)
            if len(text) <= MAX_METADATA or not some:
                return self._plan(listed, self._recorded, text, finishing - frozenset(some))
            some = some[: len(some) // 4]

    def _plan(self, listed: list[int], below: int, text: str, held: frozenset[int]) -> Plan:
        low = min(listed[0] if listed else below, self.next_offset)  # not even one may fit: then the first is H
        return Plan(Commit(self.partition, low, text), held, below)

    def _still_open(self, finishing: frozenset[int]) -> Iterator[int]:
        begun = (offset for offset in self._from_first() if offset in self._open and offset not in finishing)
        return chain(begun, islice(self._ahead, bisect_left(self._ahead, self.next_offset), None))

    def _from_first(self) -> Iterator[int]:
        """All that began, in order, from the first open one on."""
        while self._first < len(self._order) and self._order[self._first] not in self._open:
            self._first += 1
        return islice(self._order, self._first, None)


@dataclass(frozen=True, slots=True)
class Plan:
    """A commit, and the first offsets of finished versions that it cannot record yet.

    ``below`` is its H: a version with records at or above it cannot be recorded either, because a successor would
    take those for a version without a beginning.
    """

    commit: Commit
    held: frozenset[int]
    below: int
