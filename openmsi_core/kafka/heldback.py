"""What readers of committed records cannot read yet, because a transaction before it is open."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openmsi_core.kafka.admin import Admin, connected
from openmsi_core.kafka.reading import TopicReader

STUCK_SECONDS = 120.0
"""Our transactions end within a minute, or the broker ends them; one that is older is not ended by anybody."""

_FIRST_LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class HeldBack:
    """On a partition, offsets from ``stable`` up to ``high`` wait for the end of a transaction.

    ``since_ms`` is when its first record was written, epoch milliseconds by the broker or whoever wrote it; None when
    that could not be found out.
    """

    topic: str
    partition: int
    stable: int
    high: int
    since_ms: int | None

    def is_stuck(self, now: float) -> bool:
        """True when it is older than any transaction of ours; ``now`` is seconds since the epoch."""
        return self.since_ms is not None and now - self.since_ms / 1000 > STUCK_SECONDS

    def advice(self, bootstrap: str) -> str:
        """How an administrator ends it."""
        return (
            f"kafka-transactions.sh --bootstrap-server {bootstrap} abort --topic {self.topic} --partition "
            f"{self.partition} --start-offset {self.stable}"
        )


def held_back(options: Mapping[str, str], topic: str, seconds: float) -> Sequence[HeldBack]:
    """The partitions of ``topic`` on which something is held back. Raises BrokerError, TopicError."""
    return _held_back(options, connected(options, seconds), topic)


def _held_back(options: Mapping[str, str], admin: Admin, topic: str) -> Sequence[HeldBack]:
    ends = admin.stable_ends(topic)
    waiting = {number: (stable, high) for number, (stable, high) in ends.items() if stable < high}
    if not waiting:
        return ()
    since = _first_records(options, topic, {number: stable for number, (stable, _) in waiting.items()})
    return [
        HeldBack(topic, number, stable, high, since.get(number)) for number, (stable, high) in sorted(waiting.items())
    ]


def _first_records(options: Mapping[str, str], topic: str, places: Mapping[int, int]) -> dict[int, int]:
    """For each partition the time of the record at an offset, where there is one to be had at once."""
    found: dict[int, int] = {}
    ends = time.monotonic() + _FIRST_LOOK_SECONDS
    with TopicReader(options, topic, isolation="read_uncommitted") as reader:
        for record in reader.between({number: (offset, offset + 1) for number, offset in places.items()}):
            if record is not None and record.timestamp_ms >= 0:
                found[record.position.partition] = record.timestamp_ms
            if time.monotonic() > ends:
                break
    return found
