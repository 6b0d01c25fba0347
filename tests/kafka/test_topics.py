"""`openmsi topics` on a real Apache Kafka."""

from __future__ import annotations

import json
import uuid

import pytest

from openmsi_core.kafka import admin
from tests.fakes import values_of
from tests.kafka.processes import openmsi

pytestmark = pytest.mark.kafka


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topics(kafka_broker, tmp_path):
    def run(*words: str, code: int = 0):
        done = openmsi("topics", *words, "--broker", kafka_broker.bootstrap, folder=tmp_path)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_family_is_made_once_and_what_is_there_is_said(topics, name) -> None:
    family = [name, f"{name}.dlq", f"{name}.receipts"]
    made = lines(topics("create", name, "--partitions", "3", "--replication", "1", "--json").stdout)
    assert made == [{"topic": topic, "created": True} for topic in family]
    again = topics("create", name, "--partitions", "4")
    assert again.stdout.splitlines() == [f"{topic} exists already" for topic in family]
    assert "has 3 partitions, not 4" in again.stderr
    assert set(family) <= {each["topic"] for each in lines(topics("list", "--json").stdout)}


def test_a_topic_for_large_chunks_takes_them(kafka_broker, topics, name, tmp_path) -> None:
    topics("create", name, "--partitions", "1", "--chunk-size", "4MiB")
    (tmp_path / "big").write_bytes(bytes(9_000_000))
    sent = openmsi(
        "upload", "big", "--topic", name, "--chunk-size", "4MiB", "--broker", kafka_broker.bootstrap, folder=tmp_path
    )
    assert sent.returncode == 0, sent.stderr
    told = lines(topics("peek", name, "--json").stdout)
    assert [each["payload_bytes"] for each in told] == [4 << 20, 4 << 20, 9_000_000 - (8 << 20)]
    assert (told[0]["path"], told[0]["size"], told[-1]["last"]) == ("big", 9_000_000, True)
    assert len(told[-1]["sha256"]) == 64


def test_an_existing_topic_that_cannot_carry_files_is_refused(kafka_broker, topics, name) -> None:
    admin.connected(kafka_broker.plain()).create(name, 1, 1, {"cleanup.policy": "compact", "max.message.bytes": "1000"})
    done = topics("create", name, code=2)
    assert "is compacted" in done.stderr
    assert "max.message.bytes" in done.stderr
    (described,) = lines(topics("describe", name, "--json").stdout)
    assert len(described["problems"]) == 2


@pytest.mark.parametrize("ending", admin.RESERVED)
def test_names_that_mean_something_else_are_refused(topics, ending) -> None:
    assert f"names that end in {ending}" in topics("create", f"x{ending}", code=2).stderr


def test_a_topic_is_described_with_its_ends_and_who_has_read_how_far(kafka_broker, topics, name, tmp_path) -> None:
    topics("create", name, "--partitions", "2")
    (tmp_path / "f").write_text("x")
    where = ["--topic", name, "--broker", kafka_broker.bootstrap]
    assert openmsi("upload", "f", *where, folder=tmp_path).returncode == 0
    assert openmsi("run", "file-info", *where, "--group", name, "--until-caught-up", folder=tmp_path).returncode == 0
    (described,) = lines(topics("describe", name, "--json").stdout)
    assert sorted(end["high"] for end in described["partitions"].values()) == [0, 1]
    assert described["problems"] == []
    assert {one["lag"] for one in described["groups"][name].values()} == {0}
    text = topics("describe", name).stdout
    assert "2 partitions" in text
    assert f"group {name}" in text
    (receipt,) = lines(topics("peek", f"{name}.receipts", "--json").stdout)
    assert (receipt["path"], receipt["outcome"]) == ("f", "done")


def test_the_file_that_a_group_waits_for_longest_is_named(kafka_broker, topics, name, tmp_path) -> None:
    from confluent_kafka import Producer

    topics("create", name, "--partitions", "1")
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap})
    for value in (values_of("half", bytes(50_000))[0], *values_of("whole", b"1")):
        producer.produce(name, value, b"k")
        assert producer.flush(10) == 0
    where = ["--topic", name, "--broker", kafka_broker.bootstrap]
    done = openmsi("run", "file-info", *where, "--group", name, "--until-caught-up", folder=tmp_path)
    assert done.returncode == 4
    assert "not finished: half" in done.stderr
    (described,) = lines(topics("describe", name, "--json").stdout)
    told = described["groups"][name]["0"]
    assert (told["lag"], told["unfinished"], told["oldest"]) == (0, 1, "half")
    assert "1 files unfinished, the oldest half since 20" in topics("describe", name).stdout


def test_records_that_are_nobodys_are_peeked_with_the_reason(kafka_broker, topics, name) -> None:
    from confluent_kafka import Producer

    topics("create", name, "--partitions", "1")
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap})
    for value in (b"\x00\xff\x1b[2J", None, b"{not json", b'{"fine": 1}'):
        producer.produce(name, value, b"k")
    assert producer.flush(10) == 0
    told = lines(topics("peek", name, "--json").stdout)
    assert ["bad" in each for each in told] == [True, True, True, False]
    assert [each["position"]["offset"] for each in told[:3]] == [0, 1, 2]
    assert told[3] == {"fine": 1}
    assert len(lines(topics("peek", name, "--json", "--limit", "2").stdout)) == 2
    assert "\x1b" not in topics("peek", name).stdout


def test_a_missing_topic_is_said(topics, name) -> None:
    for command in (("describe", name), ("peek", name, "--json")):
        assert f"openmsi topics create {name}" in topics(*command, code=2).stderr
