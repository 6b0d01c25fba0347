"""A look into a topic, without joining a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, TopicPartition

from openmsi_core.kafka import config
from openmsi_core.kafka.consumer import record_of
from openmsi_core.kafka.errors import CONNECT_SECONDS, ClientWatch, made, translated, unreachable
from openmsi_core.kafka.producer import partitions_of
from openmsi_core.model import Record

_SILENT_SECONDS = 30.0


def read(options: Mapping[str, str], topic: str, limit: int | None = None) -> Iterator[Record]:
    """The records of ``topic`` from its beginning to the present end of each partition, ``limit`` at most.

    Order is kept within a partition. Raises SettingsError, TopicError, BrokerError.
    """
    watch = ClientWatch(options, topic)
    consumer = made(Consumer, watch.configured(config.reader(options) | {"enable.partition.eof": True}))
    try:
        count = partitions_of(consumer, watch, options, topic, CONNECT_SECONDS)
        consumer.assign([TopicPartition(topic, number, low_of(consumer, topic, number)) for number in range(count)])
        yield from _until_end(consumer, watch, options, topic, count, limit)
    finally:
        consumer.close()


def low_of(consumer: Consumer, topic: str, partition: int) -> int:
    """The first offset of a partition that is still there."""
    return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=CONNECT_SECONDS)[0])


def _until_end(
    consumer: Consumer, watch: ClientWatch, options: Mapping[str, str], topic: str, count: int, limit: int | None
) -> Iterator[Record]:
    ended: set[int | None] = set()
    given, heard = 0, time.monotonic()
    while len(ended) < count and (limit is None or given < limit):
        message = consumer.poll(0.5)
        watch.raise_if_refused()
        if message is None:
            if time.monotonic() - heard > _SILENT_SECONDS:
                raise unreachable(options, watch.last)
            continue
        heard = time.monotonic()
        error = message.error()
        if error is None:
            given += 1
            yield record_of(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        elif not error.retriable():
            raise translated(error, options, topic)
