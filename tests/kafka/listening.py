"""A listener that remembers what it was told, and small things that tests of the clients share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.producer import TopicProducer
from openmsi_core.model import Claim, Record


class Listening:
    """Begins at the commit, else at the log's start."""

    def __init__(self) -> None:
        self.claims: dict[int, Claim] = {}
        self.told: list[tuple[str, tuple[int, ...]]] = []

    def assigned(self, claims: Sequence[Claim]) -> Mapping[int, int]:
        self.told.append(("assigned", tuple(claim.partition for claim in claims)))
        self.claims |= {claim.partition: claim for claim in claims}
        return {claim.partition: claim.low if claim.committed is None else claim.committed for claim in claims}

    def revoked(self, partitions: Sequence[int]) -> None:
        self.told.append(("revoked", tuple(partitions)))
        for partition in partitions:
            del self.claims[partition]

    def lost(self, partitions: Sequence[int]) -> None:
        self.told.append(("lost", tuple(partitions)))
        for partition in partitions:
            self.claims.pop(partition, None)


def fill(options: Mapping[str, str], topic: str, count: int) -> None:
    """Records v0, v1, … over all partitions in turn, acknowledged."""
    answers: list[tuple[int | None, str]] = []
    with TopicProducer(options, topic, chunk=65536) as producer:
        for number in range(count):
            key, value = b"k", b"v%d" % number
            producer.produce(number % producer.partitions(), key, value, lambda *told: answers.append(told))
        ends = time.monotonic() + 20
        while producer.pending():
            producer.serve(0.1)
            assert time.monotonic() < ends
    assert [why for offset, why in answers if offset is None] == []
    assert len(answers) == count


def taken(
    consumers: Sequence[TopicConsumer], until: Callable[[list[Record]], bool], within: float = 20
) -> list[Record]:
    """Poll all in turn until a condition holds; what came."""
    records: list[Record] = []
    ends = time.monotonic() + within
    while not until(records):
        assert time.monotonic() < ends, f"not within {within} s: {records}"
        for consumer in consumers:
            record = consumer.poll(0.05)
            if record is not None:
                records.append(record)
    return records
