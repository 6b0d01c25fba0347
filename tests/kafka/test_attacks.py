"""Attempts to break what the receiving side promises; docs/attacks.md lists them all, also those tried by hand."""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.faults.f01_receiver_killed import check_once
from tests.faults.receivers import Receiver
from tests.faults.senders import Files
from tests.faults.trial import Trial
from tests.kafka.oracle import values

pytestmark = pytest.mark.kafka


@pytest.fixture
def trial(kafka_broker, tmp_path) -> Trial:
    seed = int(os.environ.get("OPENMSI_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    return Trial(seed, tmp_path, kafka_broker.bootstrap)


def arguments(files: Files, *more: str) -> list[str]:
    return ["run", "file-info", "--topic", files.topic, "--output-topic", files.output, *more]


@pytest.mark.parametrize(
    ("window", "protocol"),
    [
        ("on-assignment:0", "classic"),
        ("in-a-file:3", "consumer"),
        ("planned-not-published:1", "classic"),
        ("published-without-offsets:1", "classic"),
        ("published-without-offsets:1", "consumer"),
        ("published-not-committed:1", "classic"),
        ("published-not-committed:1", "consumer"),
        ("committed-not-polled:1", "classic"),
    ],
)
def test_a_member_that_slept_while_another_took_over_publishes_nothing_a_second_time(trial, window, protocol) -> None:
    files = Files(trial, 1)
    files.begin(12)
    files.send(0.6)
    with Receiver(trial, *arguments(files), kill=window, stops=True, protocol=protocol) as sleeper:
        assert sleeper.until(lambda: sleeper.window, 20), sleeper.output
        with Receiver(trial, *arguments(files), protocol=protocol) as other:
            files.begin(4)
            files.send()
            assert other.until(lambda: len(values(trial.broker, files.output)) >= len(files.wanted), 30), other.output
            os.kill(sleeper.process.pid, signal.SIGCONT)
            files.begin(4)
            files.send()
            assert other.until(lambda: len(values(trial.broker, files.output)) >= len(files.wanted), 30), other.output
            assert (sleeper.end(), other.end()) == (0, 0), sleeper.output
    check_once(trial, files, is_sink=False)
