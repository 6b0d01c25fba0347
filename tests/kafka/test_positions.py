"""Where a run begins and goes on: retention, topics made anew, partitions that are added, static members."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.kafka import admin, claims, config
from openmsi_core.kafka.patience import never
from openmsi_core.kafka.process import free_port
from tests.fakes import values_of
from tests.kafka.oracle import values
from tests.kafka.processes import Command, openmsi

pytestmark = pytest.mark.kafka

QUICK = (
    "-X",
    "session.timeout.ms=3000",
    "-X",
    "heartbeat.interval.ms=500",
    "-X",
    "topic.metadata.refresh.interval.ms=500",
)


class Place:
    """A topic with an output topic, and the command that reads it."""

    def __init__(self, kafka, topic: str, output: str, folder) -> None:
        self.address = kafka.bootstrap
        self.admin = AdminClient(kafka.plain())
        self.topic, self.output, self.folder = topic, output, folder

    def put(self, *records: bytes, partition: int = 0, when_ms: int | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 0})
        more = {} if when_ms is None else {"timestamp": when_ms}
        for value in records:
            producer.produce(self.topic, value, b"k", partition, **more)
            assert producer.flush(20) == 0

    def cut(self, below: int, partition: int = 0) -> None:
        """Retention, at once."""
        self.admin.delete_records([TopicPartition(self.topic, partition, below)])[
            TopicPartition(self.topic, partition)
        ].result(20)

    def arguments(self, *more: str) -> list[str]:
        return [
            "run", "file-info", "--topic", self.topic, "--output-topic", self.output, "--broker", self.address,
            *QUICK, *more,
        ]  # fmt: skip

    def run(self, *more: str):
        return openmsi(*self.arguments("--until-caught-up", *more), folder=self.folder)

    def done(self) -> list[str]:
        return [json.loads(value)["file"]["path"] for _, value in values(self.address, self.output)]

    def letters(self) -> list[dict[str, object]]:
        return [json.loads(value) for _, value in values(self.address, f"{self.topic}.dlq")]


@pytest.fixture
def place(kafka_broker, make_topic, tmp_path) -> Place:
    return Place(kafka_broker, make_topic(1), make_topic(1), tmp_path)


def small(name: str) -> bytes:
    (value,) = values_of(name, name.encode())
    return value


def test_what_retention_removed_before_it_was_read_is_a_dead_letter_and_reading_goes_on(place) -> None:
    big = values_of("big", os.urandom(100_000))
    place.put(small("a"))
    assert place.run().returncode == 0
    place.put(small("b"), *big)
    place.cut(3)  # "b" and the beginning of "big" go, "a" was done
    place.put(small("c"))
    with Command(place.folder / "on", *place.arguments()) as command:
        command.until(lambda: len(place.letters()) == 2, 40)
        assert command.end() == 0
    assert place.done() == ["a", "c"]
    cut, headless = place.letters()
    assert (cut["what"], headless["what"]) == ("beginning-lost", "beginning-lost")
    lost = cut["positions"]["0"]
    assert lost["first"] <= 1
    assert lost["last"] == 2
    assert headless["file"]["id"] == big[0][8:24].hex()
    assert place.run().returncode == 0  # nothing of it a second time
    assert len(place.letters()) == 2


def test_retention_that_overtakes_a_running_receiver_is_a_dead_letter_and_the_run_goes_on(place) -> None:
    place.put(small("a"))
    with Command(place.folder / "on", *place.arguments()) as command:
        command.until(lambda: place.done() == ["a"], 30)
        command.process.send_signal(signal.SIGSTOP)
        place.put(*(small(f"lost-{number}") for number in range(5)))
        place.cut(4)
        command.process.send_signal(signal.SIGCONT)
        place.put(small("z"))
        command.until(lambda: "z" in place.done(), 40)
        assert command.end() == 0
    found = set(place.done())
    # what the client had fetched before it was stopped may have come through; nothing may be missing without a word
    missing = {f"lost-{number}" for number in range(5)} - found
    assert (missing == set()) == (place.letters() == [])


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(place, kafka_broker) -> None:
    place.put(small("a"), small("b"), small("c"))
    assert place.run().returncode == 0
    place.admin.delete_topics([place.topic], operation_timeout=20)[place.topic].result(20)
    ends = time.monotonic() + 20
    while place.topic in place.admin.list_topics(timeout=10).topics:
        assert time.monotonic() < ends
    admin.create_family(admin.connected(kafka_broker.plain()), place.topic, 1)
    place.put(small("d"))
    assert place.run().returncode == 0
    assert place.done() == ["a", "b", "c", "d"]


def test_a_run_begins_at_the_moment_that_it_is_told_and_later_at_its_commit(place) -> None:
    now = datetime.now(UTC)
    for name, hours in (("old", 3), ("new", 1)):
        place.put(small(name), when_ms=int((now - timedelta(hours=hours)).timestamp() * 1000))
    began = (now - timedelta(hours=2)).isoformat()
    assert place.run("--from", began).returncode == 0
    assert place.done() == ["new"]
    place.put(small("newer"))
    assert place.run("--from", "beginning").returncode == 0
    assert place.done() == ["new", "newer"]


def test_a_file_whose_beginning_lies_before_the_start_is_no_dead_letter(place) -> None:
    first, *rest = values_of("big", os.urandom(60_000))
    place.put(first)
    with Command(place.folder / "on", *place.arguments("--from", "end")) as command:
        command.until(lambda: "is ours" in command.output, 30)
        place.put(*rest, small("a"))
        command.until(lambda: place.done() == ["a"], 30)
        command.until(lambda: " headless" in command.output, 30)
        assert command.end() == 0
    assert place.letters() == []


def test_partitions_that_are_added_while_a_run_goes_on_are_read_from_their_beginning(place) -> None:
    with Command(place.folder / "on", *place.arguments("--from", "end")) as command:
        command.until(lambda: "partition 0 is ours" in command.output, 30)
        place.put(small("a"))
        command.until(lambda: place.done() == ["a"], 30)
        place.admin.create_partitions([NewPartitions(place.topic, 3)])[place.topic].result(20)
        time.sleep(1.0)  # metadata of a new partition lags; what matters is that the record is there before it is read
        place.put(small("b"), partition=2)
        command.until(lambda: sorted(place.done()) == ["a", "b"], 40)
        assert command.end() == 0
    assert "partition 2 was added" in command.output


def test_a_static_member_that_is_killed_gets_its_partition_back_at_once(place) -> None:
    arguments = [each.replace("timeout.ms=3000", "timeout.ms=30000") for each in place.arguments()]
    arguments += ["-X", "group.instance.id=one"]
    with Command(place.folder / "first", *arguments) as first:
        first.until(lambda: "is ours" in first.output, 30)
        place.put(small("a"))
        first.until(lambda: place.done() == ["a"], 30)
        first.process.kill()
        first.process.wait(10)
    began = time.monotonic()
    with Command(place.folder / "second", *arguments) as second:
        place.put(small("b"))
        second.until(lambda: place.done() == ["a", "b"], 25)
        assert time.monotonic() - began < 20  # without the name it would wait for the session timeout, 30 s
        assert second.end() == 0


def test_a_second_process_with_the_name_of_a_static_member_is_told(place) -> None:
    arguments = place.arguments("-X", "group.instance.id=one")
    with Command(place.folder / "first", *arguments) as first:
        first.until(lambda: "is ours" in first.output, 30)
        with Command(place.folder / "second", *arguments) as second:
            second.until(lambda: "is ours" in second.output, 30)
            assert first.wait(40) == 3
            assert "another process has our group.instance.id" in first.output
            assert second.end() == 0


def test_commits_behind_a_transaction_that_never_ends_are_passed_by_after_a_while_and_no_sooner(
    place, monkeypatch, caplog
) -> None:
    """The group's offsets are pending as Kafka leaves them for ever after some crashes: here until the test ends."""
    monkeypatch.setattr(claims, "_open_seconds", lambda options: 5.0)
    monkeypatch.setattr(claims, "_TAKEOVER_SECONDS", 5.0)
    options, group = {"bootstrap.servers": place.address}, f"g-{place.topic}"
    reader = Consumer(config.consumer(options, group))
    try:
        reader.commit(offsets=[TopicPartition(place.topic, 0, 5, "known")], asynchronous=False)
        open_for_ever = Producer({**options, "transactional.id": group, "transaction.timeout.ms": 600_000})
        open_for_ever.init_transactions(20)
        open_for_ever.begin_transaction()
        pending = [TopicPartition(place.topic, 0, 9, "never")]
        open_for_ever.send_offsets_to_transaction(pending, reader.consumer_group_metadata(), 20)
        began = time.monotonic()
        (found,) = claims.Claims(reader, options, place.topic, group, None, never).committed([0])
        assert time.monotonic() - began >= 5.0
        assert (found.offset, found.metadata) == (5, "known")
        assert "kafka-transactions.sh" in caplog.text
        open_for_ever.abort_transaction(20)
        (found,) = claims.Claims(reader, options, place.topic, group, None, never).committed([0])
        assert (found.offset, found.metadata) == (5, "known")
    finally:
        reader.close()


def test_a_broker_that_went_away_is_not_taken_for_a_transaction_that_never_ends(place, monkeypatch) -> None:
    monkeypatch.setattr(claims, "_open_seconds", lambda options: 0.5)
    monkeypatch.setattr(claims, "_TAKEOVER_SECONDS", 0.5)
    nobody = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
    reader = Consumer(config.consumer(nobody, "g"))
    try:
        with pytest.raises(BrokerUnreachable, match="never starts from anywhere else"):
            claims.Claims(reader, nobody, place.topic, "g", None, never).committed([0])
    finally:
        reader.close()
