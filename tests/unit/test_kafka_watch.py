"""What one client says, and what becomes of it; the keeper of a broker's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from openmsi_core.errors import BrokerError, BrokerRefused, BrokerUnreachable, RightMissing
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.errors import ClientWatch, guarded
from openmsi_core.kafka.patience import Errand, Patience
from openmsi_core.kafka.process import BrokerProcess

OPTIONS = {"bootstrap.servers": "b:1", "sasl.username": "alice", "sasl.password": "hidden"}
WRONG_PASSWORD = KafkaError(KafkaError._AUTHENTICATION, "sasl_plaintext://b:1/bootstrap: SASL authentication error: no")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_before_the_first_answer_a_refusal_counts_at_once() -> None:
    watch = ClientWatch(OPTIONS)
    watch.on_error(WRONG_PASSWORD)
    with pytest.raises(BrokerRefused, match="refuses the user 'alice': SASL authentication error: no") as raised:
        watch.raise_if_refused()
    assert "hidden" not in str(raised.value)


def test_a_run_that_worked_ends_only_for_a_refusal_that_lasts() -> None:
    clock = Clock()
    watch = ClientWatch(OPTIONS, clock=clock)
    watch.connected = True
    watch.on_error(WRONG_PASSWORD)
    watch.raise_if_refused()
    clock.now += 60  # silence: it has passed
    watch.raise_if_refused()
    for _ in range(4):
        watch.on_error(WRONG_PASSWORD)
        watch.raise_if_refused()
        clock.now += 9
    watch.on_error(WRONG_PASSWORD)
    with pytest.raises(BrokerRefused):
        watch.raise_if_refused()


def test_a_tls_handshake_that_was_cut_off_does_not_end_a_run() -> None:
    watch = ClientWatch(OPTIONS)
    watch.connected = True
    watch.on_error(KafkaError(KafkaError._TRANSPORT, "ssl://b:1/bootstrap: SSL handshake failed: Disconnected"))
    watch.raise_if_refused()


def test_a_missing_right_counts_at_once() -> None:
    watch = ClientWatch(OPTIONS, "T")
    watch.connected = True
    watch.on_error(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(RightMissing, match="'alice' a right on the topic T"):
        watch.raise_if_refused()


def test_a_broker_that_is_away_is_said_once_in_half_a_minute(caplog) -> None:
    clock = Clock()
    watch = ClientWatch(OPTIONS, clock=clock)
    watch.connected = True
    for _ in range(100):
        watch.on_error(
            KafkaError(KafkaError._TRANSPORT, "b:1/bootstrap: Connection refused (after 0ms in state CONNECT)")
        )
        clock.now += 0.5
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "no broker answers at b:1 (Connection refused)" in caplog.text


def test_patience_ends_soon_after_somebody_wants_to_stop() -> None:
    stops = [False]
    patience = Patience(1000.0, lambda: stops[0])
    assert patience.left > 990
    assert 0 < patience.slice < 1
    stops[0] = True
    assert 0 < patience.left <= 4


def test_an_errand_answers_raises_and_can_be_left_alone() -> None:
    errand = Errand()
    assert errand.run(lambda: 7, Patience(5)) == 7
    with pytest.raises(ZeroDivisionError):
        errand.run(lambda: 1 // 0, Patience(5))
    with pytest.raises(TimeoutError):
        errand.run(lambda: time.sleep(1.0), Patience(0.2))
    assert errand.is_stuck
    assert errand.run(lambda: "after the first ended", Patience(5)) == "after the first ended"
    assert not errand.is_stuck


SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
OWNER = """
import sys, time
from pathlib import Path
from openmsi_core.kafka.process import BrokerProcess
process = BrokerProcess([sys.executable, "-c", "import time; time.sleep(600)"], Path(sys.argv[1]))
process.start()
print(process.pid, flush=True)
time.sleep(600)
"""


def is_gone(pid: int, within: float = 15.0) -> bool:
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)  # a process that is not our child tells nobody that it ended
    return False


def test_a_brokers_process_ends_when_it_is_told_to(tmp_path) -> None:
    process = BrokerProcess(SLEEPS, tmp_path / "log")
    process.start()
    assert process.running
    process.stop()
    assert is_gone(process.pid)
    process.start()
    process.kill()
    assert is_gone(process.pid)
    assert not process.running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_brokers_process_never_outlives_us_however_we_end(tmp_path, number) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as owner:
        pid = int(owner.stdout.readline())
        owner.send_signal(number)
    assert is_gone(pid)


def test_a_program_that_ends_at_once_or_is_not_there_is_told_with_its_last_words(tmp_path) -> None:
    process = BrokerProcess([sys.executable, "-c", "raise SystemExit('no memory left')"], tmp_path / "log")
    process.start()
    with pytest.raises(BrokerUnreachable, match="ended at once: no memory left"):
        process.wait_listening(1, 10)
    process.stop()
    missing = BrokerProcess([str(Path("/no/such/program"))], tmp_path / "other")
    with pytest.raises(BrokerUnreachable, match="/no/such/program could not be started"):
        missing.start()


def test_a_client_that_fails_without_a_word_failed_for_good() -> None:
    def flush() -> int:
        raise SystemError("<built-in method flush> returned NULL without setting an exception")

    with pytest.raises(KafkaException) as caught:
        guarded(flush)
    assert caught.value.args[0].fatal()


@pytest.mark.parametrize("code", [KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID])
def test_a_join_that_met_another_rebalance_ends_no_run(code) -> None:
    """The client joins again by itself (seen in F13: the run ended with REBALANCE_IN_PROGRESS)."""
    source = TopicConsumer({"bootstrap.servers": "127.0.0.1:1"}, "t", "g", listener=None)
    source._judge(KafkaError(code, "JoinGroup failed"), message=None)


def test_a_member_that_was_fenced_ends_its_run() -> None:
    source = TopicConsumer({"bootstrap.servers": "127.0.0.1:1"}, "t", "g", listener=None)
    with pytest.raises(BrokerError, match=r"(?i)instance"):
        source._judge(KafkaError(KafkaError.FENCED_INSTANCE_ID, "another one", fatal=True), message=None)
