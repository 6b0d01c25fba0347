"""The yardstick: the plainest produce and consume loops one can write with the same client. It promises nothing."""

import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

CHUNK = 512 * 1024


def send(address: str, topic: str, folder: str) -> int:
    producer = Producer({"bootstrap.servers": address, "acks": "all", "linger.ms": 5, "batch.size": 1000000})
    count = 0
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                while piece := file.read(CHUNK):
                    while True:
                        try:
                            producer.produce(topic, piece, path.name)
                            break
                        except BufferError:
                            producer.poll(0.1)
                    producer.poll(0)
                    count += 1
    producer.flush()
    return count


def receive(address: str, topic: str, folder: str, count: str) -> int:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "loop", "auto.offset.reset": "earliest"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    seen = 0
    while seen < int(count):
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            seen += 1
            with (Path(folder) / message.key().decode()).open("ab") as file:
                file.write(message.value())
    consumer.close()
    return seen


if __name__ == "__main__":
    began = time.perf_counter()
    count = {"send": send, "receive": receive}[sys.argv[1]](*sys.argv[2:])
    print(count, time.perf_counter() - began)
