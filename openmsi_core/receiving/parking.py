"""Records that cannot be used yet, because a key has not arrived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from openmsi_core.model import Record
from openmsi_core.receiving.jobs import Assignment


class TooEarly(Exception):
    """What a record belongs to may begin with an earlier one, whose key is not there yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Parked:
    """One such record; ``since_ms`` is when it was parked, our clock.

    Its key has not arrived, or, with an empty ``key_index``, that of an earlier one with which its file may begin.
    """

    record: Record
    assignment: Assignment
    key_index: bytes
    since_ms: int


class Parking:
    """The parked records, each partition's in their order. ``bytes`` is what they take in memory."""

    def __init__(self) -> None:
        self.bytes = 0
        self._places: dict[int, dict[int, Parked]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def __iter__(self) -> Iterator[Parked]:
        """All of them; any may be taken out meanwhile."""
        for place in list(self._places.values()):
            yield from list(place.values())

    def put(self, parked: Parked) -> None:
        """Park a record, behind all of its partition that came before it."""
        self._places.setdefault(parked.assignment.partition, {})[parked.record.position.offset] = parked
        self.bytes += len(parked.record.value or b"")

    def take_out(self, parked: Parked) -> None:
        """It is used, or nobody's any more."""
        place = self._places[parked.assignment.partition]
        del place[parked.record.position.offset]
        if not place:
            del self._places[parked.assignment.partition]
        self.bytes -= len(parked.record.value or b"")

    def is_any_before(self, partition: int, offset: int) -> bool:
        """True when a record of the partition is parked that lies before ``offset``."""
        return next(iter(self._places.get(partition, ())), offset) < offset
