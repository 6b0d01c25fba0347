"""Results exactly once, counted by a reader that is not our code, while receivers are killed at random instants."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, openmsi

pytestmark = pytest.mark.kafka

QUICK = ("-X", "session.timeout.ms=600", "-X", "heartbeat.interval.ms=200", "-X", "transaction.timeout.ms=1000")


def write_files(folder: Path, chance: random.Random) -> None:
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03d}.dat").write_bytes(chance.randbytes(chance.randrange(20_000)))
    for number in range(6):
        (folder / f"big-{number}.raw").write_bytes(chance.randbytes(5_000_000))


@pytest.mark.timeout(300)
def test_each_file_gives_one_result_however_often_its_receivers_are_killed(kafka_broker, make_topic, tmp_path) -> None:
    seed = int(os.environ.get("OPENMSI_TEST_SEED", random.randrange(1 << 30)))
    kills = int(os.environ.get("OPENMSI_TEST_KILLS", "12"))
    print(f"seed {seed}")
    chance = random.Random(seed)
    topic, results = make_topic(3), make_topic(1)
    broker = ["--broker", kafka_broker.bootstrap]
    write_files(tmp_path / "source", chance)
    run = ["run", "file-info", "--topic", topic, "--output-topic", results, *broker, *QUICK]
    with Command(tmp_path / "send", "watch", str(tmp_path / "source"), "--topic", topic, "--settle", "0.1s", *broker):
        for number in range(kills):
            state = tmp_path / f"state-{number}"
            with Command(tmp_path / f"kill-{number}", *run, state=state) as victim:
                victim.until(lambda victim=victim: "is ours" in victim.output, 30)
                time.sleep(chance.random() * 0.6)  # the instant of the kill is what is tried
                victim.process.send_signal(signal.SIGKILL)
                victim.process.wait(10)
            shutil.rmtree(state, ignore_errors=True)
            if number % 3 == 0:
                (tmp_path / "source" / f"late-{number}.dat").write_bytes(chance.randbytes(3000))
        wanted = digests(tmp_path / "source")
        with Command(tmp_path / "last", *run) as last:
            last.until(lambda: "is ours" in last.output, 30)
            last.until(lambda: len(values(kafka_broker.bootstrap, results)) >= len(wanted), 90)
            assert last.end() == 0
    told = [json.loads(value) for _, value in values(kafka_broker.bootstrap, results)]
    counts = Counter(result["file"]["path"] for result in told)
    assert {path: count for path, count in counts.items() if count != 1} == {}
    assert {result["file"]["path"].encode(): result["file"]["sha256"] for result in told} == wanted
    receipts = Counter(key for key, _ in values(kafka_broker.bootstrap, f"{topic}.receipts"))
    assert {key: count for key, count in receipts.items() if count != 1} == {}
    assert values(kafka_broker.bootstrap, f"{topic}.dlq") == []


@pytest.mark.timeout(180)
def test_members_that_come_and_go_with_kills_share_the_work_and_no_result_is_lost_or_doubled(
    kafka_broker, make_topic, tmp_path
) -> None:
    seed = int(os.environ.get("OPENMSI_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    topic, results = make_topic(4), make_topic(1)
    broker = ["--broker", kafka_broker.bootstrap]
    write_files(tmp_path / "source", chance)
    sent = openmsi("upload", "source", "--topic", topic, *broker, folder=tmp_path)
    assert sent.returncode == 0, sent.stderr
    run = ["run", "file-info", "--topic", topic, "--output-topic", results, *broker, *QUICK]
    members: list[Command] = []
    try:
        for number in range(8):
            members.append(Command(tmp_path / f"member-{number}", *run))
            time.sleep(chance.random() * 1.5)  # when the next one comes or goes is what is tried
            if len(members) > 2:
                leaving = members.pop(chance.randrange(len(members)))
                leaving.process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
                leaving.process.wait(15)
        wanted = digests(tmp_path / "source")
        members[-1].until(lambda: len(values(kafka_broker.bootstrap, results)) >= len(wanted), 90)
    finally:
        for member in members:
            member.end()
    told = [json.loads(value) for _, value in values(kafka_broker.bootstrap, results)]
    counts = Counter(result["file"]["path"] for result in told)
    assert {path: count for path, count in counts.items() if count != 1} == {}
    assert {result["file"]["path"].encode(): result["file"]["sha256"] for result in told} == wanted
