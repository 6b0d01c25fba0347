"""Records of the predecessor: read, written again, and made by hand from the description of its format."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Any

import msgpack
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.faults.predecessor.programs import until

PARTITIONS = 2
NAME, FILE_HASH, CHUNK_HASH, OFFSET, NUMBER, COUNT, FOLDER, APPEND, DATA, MTIME = range(10)


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, with the partition it belongs to."""

    partition: int
    key: bytes | None
    value: bytes | None

    def with_value(self, value: bytes | None) -> Record:
        return replace(self, value=value)


def make_topic(broker: str, topic: str) -> None:
    """Make a topic and wait until its partitions have a leader, which takes up to a second."""
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    if not until(lambda: _answers(broker, topic), 30, 0.2):
        raise RuntimeError(f"{topic} was made, but its partitions do not answer within 30 s")


def _answers(broker: str, topic: str) -> bool:
    try:
        return len(_ends(broker, topic)) == PARTITIONS
    except KafkaException as error:
        if error.args[0].code() in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART):
            return False
        raise


def length(broker: str, topic: str) -> int:
    """How many records a topic holds."""
    return sum(_ends(broker, topic))


def _ends(broker: str, topic: str) -> list[int]:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"look-{os.urandom(4).hex()}"})
    try:
        parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        return [consumer.get_watermark_offsets(part, timeout=20)[1] for part in parts]
    finally:
        consumer.close()


def read_all(broker: str, topic: str) -> list[Record]:
    """Every record of a topic, in the order in which they came."""
    wanted = sum(_ends(broker, topic))
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"read-{os.urandom(4).hex()}"})
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found: list[tuple[int, Record]] = []
        while len(found) < wanted:
            message = consumer.poll(20)
            if message is None or message.error():
                raise RuntimeError(f"{topic} cannot be read to its end: {message and message.error()}")
            partition = message.partition()
            assert partition is not None
            found.append((message.timestamp()[1], Record(partition, message.key(), message.value())))
        found.sort(key=lambda pair: pair[0])
        return [each for _, each in found]
    finally:
        consumer.close()


def write_all(broker: str, topic: str, records: list[Record]) -> None:
    """Write records into a topic, each into its partition, in order."""
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
    for record in records:
        producer.produce(topic, record.value, key=record.key, partition=record.partition)
    if producer.flush(60):
        raise RuntimeError(f"{topic} did not take every record")


def path_of(record: Record) -> bytes:
    """Folder and name of the file that a chunk belongs to, as bytes."""
    chunk = msgpack.unpackb(record.value, raw=True)
    return bytes(chunk[FOLDER] + b"/" + chunk[NAME] if chunk[FOLDER] else chunk[NAME])


def chunk_fields(name: object, data: bytes, *, folder: object = "") -> list[Any]:
    """The ten fields of a file that is one chunk."""
    whole = sha512(data)
    return [name, whole, whole, 0, 1, 1, folder, "", data, 1.7e9]


def unpacked(record: Record) -> Any:
    """What a value holds. Raises ValueError when it is no msgpack."""
    if record.value is None:
        raise ValueError("a record without a value")
    return msgpack.unpackb(record.value, strict_map_key=False)


def sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def packed(fields: object) -> bytes:
    return bytes(msgpack.packb(fields, use_bin_type=True))


def forged(partition: int, value: bytes | None, key: str = "_forged_chunk_1_of_1") -> Record:
    return Record(partition, key.encode(), value)
