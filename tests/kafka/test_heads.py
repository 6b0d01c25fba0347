"""Head plugins on a real Kafka: a file that comes in two halves, and a receiver that is killed between them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from openmsi_core.files import wire
from tests.fakes import values_of
from tests.isolated import installed
from tests.kafka.oracle import settle, values
from tests.kafka.processes import Command, wait_for

pytestmark = pytest.mark.kafka

CHUNK = 512 * 1024
BIG = os.urandom(40 * CHUNK + 1)  # above what is kept in memory


@pytest.fixture
def packages(tmp_path) -> str:
    return os.pathsep.join([installed(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")])


def put(kafka_broker, topic: str, records: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap, "message.max.bytes": 2_000_000})
    for value in records:
        producer.produce(topic, value, b"big", 0)
    assert producer.flush(30) == 0


def told(kafka_broker, topic: str) -> list[dict]:
    return [json.loads(value) for _, value in values(kafka_broker.bootstrap, topic)]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("isolate", ["thread", "process"])
def test_a_receiver_killed_after_the_beginning_publishes_once_when_the_file_is_whole(
    kafka_broker, make_topic, tmp_path, packages, isolate
) -> None:
    topic, results = make_topic(1), make_topic(1)
    records = values_of("big.raw", BIG, chunk=CHUNK)
    run = ("run", "heads", "--topic", topic, "--output-topic", results, "--broker", kafka_broker.bootstrap)
    run = (*run, "--isolate", isolate)
    put(kafka_broker, topic, records[:20])
    with Command(tmp_path / "first", *run, PYTHONPATH=packages) as first:
        first.until(lambda: "called with the beginning of big.raw" in first.output)
        first.process.kill()
        first.process.wait(10)
    assert told(kafka_broker, results) == []
    with Command(tmp_path / "second", *run, PYTHONPATH=packages) as second:
        second.until(lambda: "called with the beginning of big.raw" in second.output, 90)
        put(kafka_broker, topic, records[20:])
        second.until(lambda: "big.raw done" in second.output)
        assert second.end() == 0
    (result,) = told(kafka_broker, results)
    assert result["metadata"] == {"head": 65536, "complete": False, "sha256": ""}
    assert result["file"]["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert [each["outcome"] for each in told(kafka_broker, f"{topic}.receipts")] == ["done"]


@pytest.mark.timeout(120)
def test_early_results_are_there_before_the_file_is_and_a_broken_file_is_a_letter(
    kafka_broker, make_topic, tmp_path, packages
) -> None:
    topic, results = make_topic(1), make_topic(1)
    records = values_of("big.raw", BIG, chunk=CHUNK)
    run = ("run", "early-heads", "--topic", topic, "--output-topic", results, "--broker", kafka_broker.bootstrap)
    put(kafka_broker, topic, records[:-1])
    with Command(tmp_path / "run", *run, PYTHONPATH=packages) as running:
        running.until(lambda: "big.raw early" in running.output)
        (result,) = told(kafka_broker, results)
        assert (result["file"]["verified"], result["file"]["sha256"]) == (False, "")
        put(kafka_broker, topic, [wrong_last(records[-1])])
        running.until(lambda: "dead letter" in running.output)
        assert running.end() == 0
    settle(kafka_broker.bootstrap, results)
    assert len(told(kafka_broker, results)) == 1
    assert [each["what"] for each in told(kafka_broker, f"{topic}.dlq")] == ["digest-mismatch"]
    wait_for(lambda: told(kafka_broker, f"{topic}.receipts")[0]["outcome"] == "digest-mismatch", 10)


def wrong_last(record: bytes) -> bytes:
    """The last record of a file with another last byte, whose digest it does not have then."""
    chunk = wire.decode(record, 1 << 40)
    return wire.encode(replace(chunk, payload=bytes([chunk.payload[0] ^ 1])))
