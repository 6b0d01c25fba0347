"""The Kafka room alone, on a real Apache Kafka: profiles, groups, commits, checkpoints, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from openmsi_core.errors import BrokerError, BrokerRefused, NotDelivered, RightMissing, TopicError
from openmsi_core.kafka import admin
from openmsi_core.kafka.checkpoint import AtLeastOnce
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.producer import TopicProducer
from openmsi_core.kafka.reading import read
from openmsi_core.kafka.transaction import Transactional
from openmsi_core.model import Commit, Outgoing
from openmsi_core.testing.brokers import make_certificate
from tests.kafka.listening import Listening, fill, taken
from tests.kafka.oracle import values

pytestmark = pytest.mark.kafka

STORES = {"at-least-once": AtLeastOnce, "transactional": Transactional}
PROTOCOLS = {
    "cooperative": {},
    "eager": {"partition.assignment.strategy": "range"},
    "consumer": {"group.protocol": "consumer"},
}


@pytest.fixture
def group() -> str:
    return f"g-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_members_share_a_topic_and_a_commit_is_handed_over_with_its_metadata(
    kafka_broker, make_topic, group, protocol
) -> None:
    topic, options = make_topic(4), kafka_broker.plain() | PROTOCOLS[protocol]
    fill(options, topic, 40)
    one, two = Listening(), Listening()
    with TopicConsumer(options, topic, group, one) as first:
        assert len(taken([first], lambda records: len(records) == 40)) == 40
        assert first.positions() == dict.fromkeys(range(4), 10)
        assert first.commit([Commit(number, 5 + number, f"unfinished {number}") for number in range(4)])
        with TopicConsumer(options, topic, group, two) as second:
            got = taken([first, second], lambda _: len(two.claims) == 2 and len(one.claims) == 2, within=30)
            for number, claim in two.claims.items():
                assert (claim.committed, claim.metadata) == (5 + number, f"unfinished {number}")
                assert (claim.low, claim.high) == (0, 10)
            expected = {(number, offset) for number in two.claims for offset in range(5 + number, 10)}
            seen = {(record.position.partition, record.position.offset) for record in got}
            seen |= places(taken([second], lambda more: seen | places(more) >= expected))
            assert {place for place in seen if place[0] in two.claims} == expected
        taken([first], lambda _: len(one.claims) == 4, within=30)


def places(records) -> set[tuple[int, int]]:
    return {(record.position.partition, record.position.offset) for record in records}


def test_a_commit_of_a_member_that_has_left_is_no_error(kafka_broker, make_topic, group) -> None:
    topic, options, listening = make_topic(1), kafka_broker.plain(), Listening()
    with TopicConsumer(options, topic, group, listening) as consumer:
        taken([consumer], lambda _: bool(listening.claims))
        consumer.client.unsubscribe()
        taken([consumer], lambda _: not listening.claims)
        assert consumer.commit([Commit(0, 0, "late")]) is False


@pytest.mark.parametrize("kind", STORES)
def test_a_checkpoint_publishes_its_outcomes_and_keeps_the_metadata(kafka_broker, make_topic, group, kind) -> None:
    topic, options = make_topic(2), kafka_broker.plain()
    fill(options, topic, 4)
    outgoing = [Outgoing(f"{topic}.receipts", b"a", b"receipt"), Outgoing(f"{topic}.dlq", None, b"letter")]
    listening = Listening()
    with TopicConsumer(options, topic, group, listening) as consumer, STORES[kind](options, consumer) as store:
        taken([consumer], lambda records: len(records) == 4)
        store.write(outgoing, [Commit(0, 1, "m0"), Commit(1, 2, "")])
        store.write([Outgoing(f"{topic}.receipts", b"b", b"second")], [Commit(0, 2, "m1")])
        store.write([], [Commit(0, 2, "m2")])
    assert values(kafka_broker.bootstrap, f"{topic}.receipts") == [(b"a", b"receipt"), (b"b", b"second")]
    assert values(kafka_broker.bootstrap, f"{topic}.dlq") == [(None, b"letter")]
    again = Listening()
    with TopicConsumer(options, topic, group, again) as consumer:
        taken([consumer], lambda _: len(again.claims) == 2)
    told = {number: (claim.committed, claim.metadata) for number, claim in again.claims.items()} or None
    assert told is None  # all were given back at the end
    assert admin.connected(options).groups(topic)[group] == {0: (2, "m2"), 1: (2, "")}


@pytest.mark.parametrize("kind", STORES)
def test_outcomes_that_are_refused_leave_the_position_where_it_was(kafka_broker, make_topic, group, kind) -> None:
    topic, options = make_topic(1), kafka_broker.plain()
    listening = Listening()
    good = Outgoing(f"{topic}.receipts", b"a", b"receipt")
    with TopicConsumer(options, topic, group, listening) as consumer, STORES[kind](options, consumer) as store:
        taken([consumer], lambda _: bool(listening.claims))
        with pytest.raises(TopicError, match="openmsi topics create missing"):
            store.write([good, Outgoing("missing", None, b"x")], [Commit(0, 1, "bad")])
        with pytest.raises(NotDelivered, match=r"max\.message\.bytes"):
            store.write([good, Outgoing(f"{topic}.dlq", None, bytes(3_000_000))], [Commit(0, 1, "bad")])
        store.write([good], [Commit(0, 0, "good")])
    assert admin.connected(options).groups(topic)[group] == {0: (0, "good")}
    if kind == "transactional":
        assert values(kafka_broker.bootstrap, f"{topic}.receipts") == [(b"a", b"receipt")]


def test_a_transaction_of_a_member_that_left_is_undone_and_never_seen(kafka_broker, make_topic, group) -> None:
    topic, options = make_topic(1), kafka_broker.plain()
    listening = Listening()
    with TopicConsumer(options, topic, group, listening) as consumer, Transactional(options, consumer) as store:
        taken([consumer], lambda _: bool(listening.claims))
        consumer.client.unsubscribe()
        taken([consumer], lambda _: not listening.claims)
        for _ in range(2):
            with pytest.raises(BrokerError, match="undone"):
                store.write([Outgoing(f"{topic}.receipts", b"a", b"late")], [Commit(0, 1, "late")])
    assert values(kafka_broker.bootstrap, f"{topic}.receipts") == []
    assert group not in admin.connected(options).groups(topic)


def test_a_fenced_producer_is_replaced_and_the_same_checkpoint_is_written(
    kafka_broker, make_topic, group, monkeypatch
) -> None:
    from confluent_kafka import Producer

    topic, options = make_topic(1), kafka_broker.plain()
    number = uuid.uuid4()
    listening = Listening()
    checkpoint = ([Outgoing(f"{topic}.receipts", b"a", b"receipt")], [Commit(0, 1, "m")])
    with TopicConsumer(options, topic, group, listening) as consumer:
        taken([consumer], lambda _: bool(listening.claims))
        monkeypatch.setattr(uuid, "uuid4", lambda: number)
        with Transactional(options, consumer) as store:
            monkeypatch.undo()
            zombie_maker = Producer(options | {"transactional.id": f"openmsi-{number.hex}"})
            zombie_maker.init_transactions(10)
            with pytest.raises(BrokerError, match="undone"):
                store.write(*checkpoint)
            store.write(*checkpoint)
            zombie_maker.close()
    assert values(kafka_broker.bootstrap, f"{topic}.receipts") == [(b"a", b"receipt")]


DIES = """
import json, os, signal, sys
from confluent_kafka import Consumer, Producer, TopicPartition
options, topic, group = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
consumer = Consumer(options | {"group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 1000,
    "heartbeat.interval.ms": 300, "enable.auto.commit": False, "partition.assignment.strategy": "cooperative-sticky"})
consumer.subscribe([topic])
while consumer.poll(0.2) is None: pass
producer = Producer(options | {"transactional.id": "openmsi-" + group, "transaction.timeout.ms": int(sys.argv[4])})
producer.init_transactions(10)
producer.begin_transaction()
producer.produce(topic + ".receipts", b"never seen", b"k")
producer.flush(10)
producer.send_offsets_to_transaction([TopicPartition(topic, 0, 1)], consumer.consumer_group_metadata(), 10)
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(options: dict[str, str], topic: str, group: str, transaction_ms: int) -> None:
    """A process that is killed with an open transaction."""
    command = [sys.executable, "-c", DIES, json.dumps(options), topic, group, str(transaction_ms)]
    assert subprocess.run(command, check=False).returncode == -9


def test_a_successor_waits_for_the_open_transaction_of_a_killed_member(kafka_broker, make_topic, group) -> None:
    topic, options = make_topic(1), kafka_broker.plain()
    fill(options, topic, 3)
    die(options, topic, group, 4000)
    listening, began = Listening(), time.monotonic()
    with TopicConsumer(options, topic, group, listening) as consumer:
        records = taken([consumer], lambda records: len(records) == 3, within=40)
        assert listening.claims[0].committed is None
    assert [record.value for record in records] == [b"v0", b"v1", b"v2"]
    assert time.monotonic() - began < 30
    assert values(kafka_broker.bootstrap, f"{topic}.receipts") == []


def test_a_stop_does_not_wait_for_a_takeover(kafka_broker, make_topic, group) -> None:
    topic, options = make_topic(1), kafka_broker.plain()
    fill(options, topic, 3)
    die(options, topic, group, 15000)
    listening = Listening()
    ends = time.monotonic() + 3.0
    with TopicConsumer(options, topic, group, listening, is_stopping=lambda: time.monotonic() > ends) as consumer:
        while time.monotonic() < ends:
            assert consumer.poll(0.2) is None
        began = time.monotonic()
    assert listening.told == []
    assert time.monotonic() - began < 8


def test_reading_stops_at_the_present_end_also_behind_undone_transactions(kafka_broker, make_topic, group) -> None:
    topic, options = make_topic(2), kafka_broker.plain()
    fill(options, topic, 5)
    listening = Listening()
    with TopicConsumer(options, topic, group, listening) as consumer, Transactional(options, consumer) as store:
        taken([consumer], lambda _: len(listening.claims) == 2)
        store.write([Outgoing(topic, b"k", b"in a transaction")], [])
        with pytest.raises(NotDelivered):
            store.write([Outgoing(topic, b"k", b"undone"), Outgoing(topic, b"k", bytes(3_000_000))], [])
    found = sorted(record.value for record in read(options, topic))
    assert found == [b"in a transaction", b"v0", b"v1", b"v2", b"v3", b"v4"]
    assert len(list(read(options, topic, 2))) == 2


def test_a_record_above_the_topics_limit_is_told_to_its_sender_alone(kafka_broker) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    admin.connected(kafka_broker.plain()).create(topic, 1, 1, {"max.message.bytes": "20000"})
    told: dict[bytes, tuple[int | None, str]] = {}
    with TopicProducer(kafka_broker.plain() | {"batch.size": "10000"}, topic, chunk=65536) as producer:
        for value in (b"small", bytes(50_000), b"after"):
            producer.produce(0, b"k", value, lambda *answer, value=value: told.update({value[:5]: answer}))
        ends = time.monotonic() + 20
        while len(told) < 3 and time.monotonic() < ends:
            producer.serve(0.1)
    assert (told[b"small"], told[b"after"]) == ((0, ""), (1, ""))
    offset, why = told[bytes(5)]
    assert offset is None
    assert "too large" in why
    assert "max.message.bytes" in why


def allow(kafka_broker, operation: AclOperation, kind: ResourceType, name: str) -> None:
    rule = AclBinding(kind, name, ResourcePatternType.LITERAL, "User:bob", "*", operation, AclPermissionType.ALLOW)
    client = AdminClient(kafka_broker.plain())
    for done in client.create_acls([rule]).values():
        done.result(10)


def eventually(call, within: float = 10.0):
    """The result of a call, once a new right has reached the broker."""
    ends = time.monotonic() + within
    while True:
        try:
            return call()
        except RightMissing:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)  # nobody tells when a right takes effect


def test_each_missing_right_is_named_until_all_are_there(kafka_broker, make_topic, group) -> None:
    topic, bob, listening = make_topic(1), kafka_broker.as_user("bob"), Listening()
    fill(kafka_broker.plain(), topic, 1)

    def receive() -> None:
        with TopicConsumer(bob, topic, group, listening) as consumer:
            taken([consumer], lambda records: len(records) == 1)

    began = time.monotonic()
    with pytest.raises(RightMissing, match=f"'bob' a right on the topic {topic}: READ"):
        receive()
    allow(kafka_broker, AclOperation.READ, ResourceType.TOPIC, topic)
    with pytest.raises(RightMissing, match=f"'bob' a right on the group {group}: READ"):
        eventually_group(receive)
    assert time.monotonic() - began < 15
    allow(kafka_broker, AclOperation.READ, ResourceType.GROUP, group)
    eventually(receive)
    with pytest.raises(RightMissing, match="WRITE"), TopicProducer(bob, topic, chunk=65536) as producer:
        send(producer)


def send(producer: TopicProducer) -> list[str]:
    """One record; why it was refused."""
    answers: list[str] = []
    producer.produce(0, b"k", b"v", lambda _, why: answers.append(why))
    ends = time.monotonic() + 10
    while not answers and time.monotonic() < ends:
        producer.serve(0.1)
    return answers


def eventually_group(receive) -> None:
    """Call again while it is still the topic that is denied."""
    ends = time.monotonic() + 10
    while True:
        try:
            return receive()
        except RightMissing as error:
            if "the group" in str(error) or time.monotonic() > ends:
                raise
            time.sleep(0.05)  # nobody tells when a right takes effect


def refusals(kafka_broker, folder: Path) -> dict[str, tuple[dict[str, str], str]]:
    return {
        "wrong password": (kafka_broker.as_user("alice", "wrong"), "sasl.password"),
        "wrong authority": (kafka_broker.with_tls(make_certificate(folder, "other")), "ssl.ca.location"),
        "plain client, TLS port": ({"bootstrap.servers": f"127.0.0.1:{kafka_broker.tls_port}"}, "security.protocol"),
        "plain client, SASL port": ({"bootstrap.servers": f"127.0.0.1:{kafka_broker.sasl_port}"}, "security.protocol"),
        "TLS client, plain port": (
            kafka_broker.with_tls() | {"bootstrap.servers": kafka_broker.bootstrap}, "security.protocol",
        ),
    }  # fmt: skip


def test_refusals_are_told_apart_by_every_client_well_before_the_deadline_and_stderr_stays_silent(
    kafka_broker, tmp_path, capfd
) -> None:
    for what, (options, hint) in refusals(kafka_broker, tmp_path).items():
        for enter in (
            lambda options=options: TopicConsumer(options, "t", "g", Listening()).__enter__(),
            lambda options=options: TopicProducer(options, "t", chunk=65536).__enter__(),
            lambda options=options: admin.connected(options),
        ):
            began = time.monotonic()
            with pytest.raises(BrokerRefused, match=hint.replace(".", r"\.")):
                enter()
            assert time.monotonic() - began < 5, what
    assert capfd.readouterr() == ("", "")


def test_topics_are_made_once_and_at_once_usable(kafka_broker) -> None:
    name, there = f"t-{uuid.uuid4().hex[:8]}", admin.connected(kafka_broker.plain())
    assert set(admin.create_family(there, name, 3).values()) == {True}
    fill(kafka_broker.plain(), name, 3)
    assert set(admin.create_family(there, name, 3).values()) == {False}
    facts = there.facts(name)
    assert facts.ends == {0: (0, 1), 1: (0, 1), 2: (0, 1)}
    assert facts.id
    assert there.facts(f"{name}.receipts").settings["cleanup.policy"] == "compact,delete"
