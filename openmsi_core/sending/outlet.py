"""The outlet: records go to the sink within a budget of what the broker has not answered yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from openmsi_core.ports import Delivered, RecordSink


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes (keys and values) and records that may be unanswered at once.

    It is below what the client queues by itself (32 MiB, 100,000 records), so that producing never blocks.
    """

    bytes: int = 24 * 1024 * 1024
    records: int = 20_000


class Outlet:
    """Produces records and counts those that wait for their answer; ``answers`` counts all that came."""

    def __init__(self, sink: RecordSink, budget: Budget) -> None:
        self.bytes = 0
        self.records = 0
        self.answers = 0
        self._sink = sink
        self._budget = budget

    def fits(self, size: int, records: int = 1) -> bool:
        """True when ``size`` more bytes in so many records may go out; one record always may."""
        if not self.records and records == 1:
            return True
        return self.bytes + size <= self._budget.bytes and self.records + records <= self._budget.records

    def produce(self, partition: int, key: bytes, value: bytes, delivered: Delivered) -> None:
        """Queue one record; `serve` calls ``delivered``. Raises BrokerError, NotDelivered: then it is not queued."""
        size = len(key) + len(value)
        self._sink.produce(partition, key, value, partial(self._answered, size, delivered))
        self.bytes += size
        self.records += 1

    def serve(self, timeout: float) -> int:
        """Call what is due, waiting up to ``timeout`` seconds; how many answers came. Raises BrokerError."""
        return self._sink.serve(timeout)

    def _answered(self, size: int, delivered: Delivered, offset: int | None, reason: str) -> None:
        self.bytes -= size
        self.records -= 1
        self.answers += 1
        delivered(offset, reason)
