"""`openmsi doctor` on a real Kafka: rights, topics, a hanging transaction, a clock that is wrong."""

from __future__ import annotations

import time
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from openmsi_core.kafka import admin
from openmsi_core.settings import load
from openmsi_core.wiring.doctor import HANGS_AFTER, Verdict, broker_findings

pytestmark = pytest.mark.kafka


def found(file, options, topics=(), **more) -> list:
    return list(broker_findings(load(file, environ={}, kafka=options), topics, **more))


def wrong(findings) -> dict[str, str]:
    return {each.check: f"{each.text} | {each.todo}" for each in findings if each.verdict is Verdict.WRONG}


@pytest.fixture
def configured(tmp_path, make_topic):
    topic, output = make_topic(2), make_topic(1)
    file = tmp_path / "openmsi.toml"
    file.write_text(
        f'[run.a]\nplugin = "disk"\ntopic = "{topic}"\noutput-topic = "{output}"\n'
        f'[watch.b]\npath = "."\ntopic = "{topic}"\n'
    )
    return file, topic, output


def test_where_everything_is_right_nothing_is_wrong(kafka_broker, configured) -> None:
    file, topic, _ = configured
    findings = found(file, kafka_broker.plain())
    assert wrong(findings) == {}
    checks = {each.check for each in findings if each.verdict is Verdict.OK}
    assert {"broker", f"topic {topic}", f"topic {topic}.dlq", "transactions"} <= checks


def test_missing_topics_and_settings_that_lose_records_are_told(kafka_broker, configured) -> None:
    file, *_ = configured
    name = f"bad-{uuid.uuid4().hex[:6]}"
    admin.connected(kafka_broker.plain()).create(
        name, 1, 1, {"cleanup.policy": "compact", "max.message.bytes": "1000", "retention.ms": "3600000"}
    )
    findings = found(file, kafka_broker.plain(), (name, "not-there"))
    told = wrong(findings)
    assert set(told) == {f"topic {name}", "topic not-there"}
    assert "topics create not-there" in told["topic not-there"]
    assert any("1.0 h" in each.text for each in findings if each.verdict is Verdict.NOTE)


def test_rights_that_are_missing_are_named(kafka_broker, configured) -> None:
    file, topic, output = configured
    client = AdminClient(kafka_broker.plain())
    allow = [
        AclBinding(
            ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:bob", "*", operation, AclPermissionType.ALLOW
        )
        for name, operation in (
            (topic, AclOperation.READ), (output, AclOperation.DESCRIBE), (f"{topic}.dlq", AclOperation.WRITE),
        )
    ]  # fmt: skip
    for answer in client.create_acls(allow).values():
        answer.result(10)
    told = wrong(found(file, kafka_broker.as_user("bob")))
    assert "no right WRITE" in told[f"topic {topic}"]
    assert "no right WRITE" in told[f"topic {output}"]
    assert f"topic {topic}.dlq" not in told
    assert "missing, or we may not see it" in told[f"topic {topic}.receipts"]
    assert "group openmsi-a" in " ".join(told.values()) + " ".join(told)
    assert "at-least-once" in told["transactions"]


def test_a_wrong_password_is_one_line(kafka_broker, configured) -> None:
    file, *_ = configured
    (only,) = found(file, kafka_broker.as_user("bob", "wrong"))
    assert (only.check, only.verdict, only.exit_code) == ("broker", Verdict.WRONG, 3)
    assert "sasl.password" in only.todo


def test_a_transaction_that_hangs_is_told_with_its_place(kafka_broker, configured) -> None:
    file, topic, _ = configured
    producer = Producer(kafka_broker.plain() | {"transactional.id": f"hang-{topic}", "transaction.timeout.ms": 60000})
    producer.init_transactions(30)
    producer.begin_transaction()
    try:
        producer.produce(f"{topic}.dlq", b"never seen")
        producer.flush(30)
        assert wrong(found(file, kafka_broker.plain())) == {}, "a transaction that was just begun is no fault"
        later = int((time.time() + HANGS_AFTER + 10) * 1000)
        told = wrong(found(file, kafka_broker.plain(), now_ms=later))
        assert "partition 0 is stuck at offset 0" in told[f"topic {topic}.dlq"]
        assert "kafka-transactions" in told[f"topic {topic}.dlq"]
    finally:
        producer.abort_transaction(30)


def test_a_record_from_the_future_tells_of_a_clock(kafka_broker, configured) -> None:
    file, topic, _ = configured
    producer = Producer(kafka_broker.plain())
    producer.produce(topic, b"x", partition=1, timestamp=int((time.time() + 3000) * 1000))
    assert producer.flush(30) == 0
    assert f"{topic}[1]" in wrong(found(file, kafka_broker.plain()))["clock"]
