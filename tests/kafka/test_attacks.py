"""Attempts to break what the receiving side promises; docs/attacks.md lists them all, also those tried by hand."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from openmsi_core.errors import BrokerError
from openmsi_core.kafka import admin, identity
from openmsi_core.kafka.admin import connected
from openmsi_core.kafka.consumer import TopicConsumer
from tests.fakes import values_of
from tests.faults.f01_receiver_killed import check_once
from tests.faults.receivers import Receiver
from tests.faults.senders import Files
from tests.faults.trial import Trial
from tests.kafka.listening import Listening, fill, taken
from tests.kafka.oracle import values
from tests.kafka.processes import Command
from tests.plugin_fakes import install

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module", autouse=True)
def fork_server() -> None:
    """Receivers are forked from a process that stays, so it must be there before a test counts its children."""
    resource_tracker.ensure_running()
    forkserver.ensure_running()


@pytest.fixture
def trial(kafka_broker, tmp_path) -> Trial:
    seed = int(os.environ.get("OPENMSI_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    return Trial(seed, tmp_path, kafka_broker.bootstrap)


def arguments(files: Files, *more: str) -> list[str]:
    return ["run", "file-info", "--topic", files.topic, "--output-topic", files.output, *more]


def put(address: str, topic: str, *records: bytes) -> None:
    producer = Producer({"bootstrap.servers": address, "linger.ms": 0})
    for value in records:
        producer.produce(topic, value, b"k", 0)
    assert producer.flush(20) == 0


def small(*names: str) -> list[bytes]:
    return [value for name in names for value in values_of(name, name.encode())]


def told(address: str, topic: str) -> list[str]:
    """The paths of what stands in an output topic."""
    return [json.loads(value)["file"]["path"] for _, value in values(address, topic)]


def letters(address: str, topic: str) -> list[str]:
    return [json.loads(value)["file"]["path"] for _, value in values(address, f"{topic}.dlq")]


@pytest.mark.parametrize(
    ("window", "protocol"),
    [
        ("in-a-file:3", "consumer"),
        ("published-without-offsets:1", "classic"),
        ("published-not-committed:1", "consumer"),
    ],
)
def test_a_member_that_slept_while_another_took_over_publishes_nothing_a_second_time(trial, window, protocol) -> None:
    files = Files(trial, 1)
    files.begin(12)
    files.send(0.6)
    with Receiver(trial, *arguments(files), kill=window, stops=True, protocol=protocol) as sleeper:
        assert sleeper.until(lambda: sleeper.window, 20), sleeper.output
        with Receiver(trial, *arguments(files), protocol=protocol) as other:
            for signal_ in (None, signal.SIGCONT):
                if signal_ is not None:
                    os.kill(sleeper.process.pid, signal_)
                files.begin(4)
                files.send()
                assert other.until(lambda: len(values(trial.broker, files.output)) >= len(files.wanted), 30)
            assert (sleeper.end(), other.end()) == (0, 0), sleeper.output
    check_once(trial, files, is_sink=False)


@pytest.mark.parametrize("count", [2, 9])
def test_a_topic_that_is_made_anew_under_a_run_ends_it_whether_it_is_shorter_or_longer_now(
    kafka_broker, make_topic, monkeypatch, count
) -> None:
    monkeypatch.setattr(identity, "_EVERY_SECONDS", 0.2)
    topic, options = make_topic(1), kafka_broker.plain()
    made, client = connected(options), AdminClient(options)
    fill(options, topic, 5)
    with TopicConsumer(options, topic, "g", Listening(), topic_id=made.topic_id(topic)) as consumer:
        taken([consumer], lambda records: len(records) == 5)
        client.delete_topics([topic], operation_timeout=20)[topic].result(20)
        while topic in client.list_topics(timeout=10).topics:
            assert consumer.poll(0.05) is None
        admin.create_family(made, topic, 1)
        fill(options, topic, count)
        with pytest.raises(BrokerError, match="deleted and made anew"):
            taken([consumer], lambda _: False)


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_results_that_fit_one_by_one_are_published_where_a_batch_of_them_is_too_large(trial, delivery) -> None:
    files = Files(trial, 1)
    connected({"bootstrap.servers": trial.broker}).create(small_topic := f"{files.output}-small", 1, 1, SMALL)
    long = "/".join(["x" * 200] * 14)
    put(trial.broker, files.topic, *small(*(f"a{number}" for number in range(30)), long, "z"))
    words = ["run", "file-info", "--topic", files.topic, "--output-topic", small_topic, "--delivery", delivery]
    with Receiver(trial, *words, "--until-caught-up") as run:
        assert run.wait(40) == 4, run.output
    assert Counter(told(trial.broker, small_topic)).keys() == {*(f"a{number}" for number in range(30)), "z"}
    if delivery == "exactly-once":
        assert len(told(trial.broker, small_topic)) == 31
    assert letters(trial.broker, files.topic) == [long], "its result alone is larger than the topic takes"


SMALL = {"max.message.bytes": "3000"}


def test_without_transactions_kills_double_results_at_most_and_lose_none(trial) -> None:
    files = Files(trial, 2)
    for number in range(3):
        files.begin(8)
        files.send(0.7)
        window = ["planned-not-published:1", "in-a-file:5", "on-assignment:0"][number]
        with Receiver(trial, *arguments(files, "--delivery", "at-least-once"), kill=window) as victim:
            assert victim.until(lambda victim=victim: not victim.process.is_alive() or victim.is_at_rest, 20)
    files.send()
    with Receiver(trial, *arguments(files, "--delivery", "at-least-once", "--until-caught-up")) as last:
        assert last.wait(40) == 0, last.output
    found = [json.loads(value)["file"] for _, value in values(trial.broker, files.output)]
    assert {each["id"]: each["sha256"] for each in found} == files.wanted
    assert values(trial.broker, f"{files.topic}.dlq") == []


def test_an_administrator_who_moves_a_group_is_obeyed_while_it_rests_and_refused_by_kafka_while_it_runs(trial) -> None:
    files = Files(trial, 1)
    put(trial.broker, files.topic, *small("a", "b", "c"))
    client, place = AdminClient({"bootstrap.servers": trial.broker}), (files.topic, 0)

    def move(offset: int, metadata: str | None = None) -> None:
        to = TopicPartition(*place, offset) if metadata is None else TopicPartition(*place, offset, metadata)
        done = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions("moved", [to])])["moved"].result(20)
        if (error := done.topic_partitions[0].error) is not None:
            raise KafkaException(error)

    def run() -> list[str]:
        before = len(told(trial.broker, files.output))
        with Receiver(trial, *arguments(files, "--group", "moved", "--until-caught-up")) as receiver:
            assert receiver.wait(30) == 0, receiver.output
        return told(trial.broker, files.output)[before:]

    assert run() == ["a", "b", "c"]
    move(1)
    assert run() == ["b", "c"]
    move(2, "1somebody else's")
    assert run() == ["c"]
    move(50)  # beyond the end: nothing tells that it is no topic made anew
    assert run() == ["a", "b", "c"]
    with Receiver(trial, *arguments(files, "--group", "moved")) as receiver:
        assert receiver.until(lambda: "is ours" in receiver.output, 20)
        with pytest.raises(KafkaException, match="UNKNOWN_MEMBER_ID"):
            move(0)
        put(trial.broker, files.topic, *small("d"))
        assert receiver.until(lambda: told(trial.broker, files.output)[-1] == "d", 20)
        assert receiver.end() == 0
    assert run() == []


def test_two_runs_of_one_group_on_two_topics_do_not_disturb_each_other(trial) -> None:
    one, two = Files(trial, 2), Files(trial, 3)
    with (
        Receiver(trial, *arguments(one, "--group", f"g-{one.topic}")) as first,
        Receiver(trial, *arguments(two, "--group", f"g-{one.topic}")) as second,
    ):
        for files in (one, two):
            files.begin(10)
            files.send()
        for files, receiver in ((one, first), (two, second)):
            wanted = len(files.wanted)
            assert receiver.until(lambda f=files, n=wanted: len(values(trial.broker, f.output)) >= n, 30)
        os.kill(first.process.pid, signal.SIGKILL)
        one.begin(5)
        one.send()
        with Receiver(trial, *arguments(one, "--group", f"g-{one.topic}")) as third:
            wanted = len(one.wanted)
            assert third.until(lambda: len(values(trial.broker, one.output)) >= wanted, 30)
            assert (second.end(), third.end()) == (0, 0)
    for files in (one, two):
        check_once(trial, files, is_sink=False)


PICKY = '''
import os, pathlib
from openmsi_core import Processor, Reject, Result

class Picky(Processor):
    """Refuses every file until the folder of the test has `mended`."""

    def process(self, file):
        if not (pathlib.Path(os.environ["HOME"]) / "mended").exists():
            raise Reject("not yet")
        yield Result({"bytes": file.size})
'''


@pytest.fixture
def picky(tmp_path) -> dict[str, str]:
    """The environment that has the plugin `picky`."""
    points = {"openmsi.processors": {"picky": "picky_package:Picky"}}
    install(tmp_path / "site", "picky-package", points, {"picky_package.py": PICKY})
    path = f"{Path(__file__).resolve().parents[2]}{os.pathsep}{tmp_path / 'site'}"
    return {"PYTHONPATH": path, "HOME": str(tmp_path)}


def test_a_breaker_that_opened_comes_to_the_same_files_again_after_a_restart_and_a_kill(trial, picky, tmp_path) -> None:
    files = Files(trial, 1)
    put(trial.broker, files.topic, *small(*(f"f{number}" for number in range(25))))
    words = ["run", "picky", "--topic", files.topic, "--output-topic", files.output, "--broker", trial.broker]
    words += ["-X", "session.timeout.ms=600", "-X", "heartbeat.interval.ms=200", "-X", "transaction.timeout.ms=1500"]
    for number in range(2):
        with Command(tmp_path / f"open-{number}", *words, **picky) as run:
            assert run.wait(40) == 5, run.output
    with Receiver(
        trial, *words[:1], "file-info", *words[2:6], "--group", "openmsi-picky", kill="published-not-committed:0"
    ) as victim:
        assert victim.until(lambda: not victim.process.is_alive(), 30)
    assert values(trial.broker, f"{files.topic}.dlq") == []
    (tmp_path / "mended").touch()
    with Command(tmp_path / "mended-run", *words, "--until-caught-up", **picky) as run:
        assert run.wait(60) == 0, run.output
    assert sorted(told(trial.broker, files.output)) == sorted(f"f{number}" for number in range(25))
