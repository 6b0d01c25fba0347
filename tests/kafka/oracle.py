"""What is true, told by nothing of ours: hashlib, os and confluent_kafka alone."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, TopicPartition


def digests(folder: Path) -> dict[bytes, str]:
    """SHA-256 of every file below ``folder``, by its relative path as bytes; hidden work folders are left out."""
    root = os.fsencode(folder)
    found = {}
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != b".openmsi"]
        for name in names:
            path = os.path.join(where, name)
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
            found[os.path.relpath(path, root)] = digest.hexdigest()
    return found


def settle(address: str, topic: str, within: float = 60.0) -> None:
    """Wait until no transaction is open on ``topic``: behind one, a reader of committed records sees nothing yet."""
    until = time.monotonic() + within
    while _end(address, topic, "read_committed") != _end(address, topic, "read_uncommitted"):
        assert time.monotonic() < until, f"a transaction stays open on {topic}"
        time.sleep(0.1)  # the broker tells nobody when it gives a transaction up


def _end(address: str, topic: str, isolation: str) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "oracle", "isolation.level": isolation})
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        return {each: consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=15)[1] for each in partitions}
    finally:
        consumer.close()


def values(address: str, topic: str, isolation: str = "read_committed") -> list[tuple[bytes | None, bytes | None]]:
    """Every key and value of ``topic`` up to its present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": f"oracle-{os.urandom(4).hex()}",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = list(consumer.list_topics(topic, timeout=15).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        out, ended, until = [], set(), time.monotonic() + 60
        while len(ended) < len(partitions):
            assert time.monotonic() < until, f"{topic} cannot be read to its end"
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error() is None:
                out.append((message.key(), message.value()))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise AssertionError(message.error())
        return out
    finally:
        consumer.close()
