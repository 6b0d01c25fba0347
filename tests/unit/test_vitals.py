"""The pulse of a program: health, metrics, heartbeats, the watchdog, and the handlers of logs."""

from __future__ import annotations

import json
import logging
import socket
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openmsi_core.errors import BrokerUnreachable, SettingsError
from openmsi_core.observe.heartbeats import beating, heartbeat
from openmsi_core.observe.logs import LastError, ToTopic, listening
from openmsi_core.observe.metrics import COUNTS, GAUGES, Metrics, served
from openmsi_core.observe.notify import notify, status, told, watchdog_seconds
from openmsi_core.observe.vitals import ROUND_SECONDS, Identity, State, Vitals
from openmsi_core.wiring.measured import MeasuredSink, MeasuredStore, RunNumbers, SenderNumbers
from openmsi_core.wiring.observing import Watched
from tests.kafka.processes import wait_for

WHO = Identity("run", "disk", "t", "openmsi-disk", host="pc", pid=7, versions={"openmsi": "1"})
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock) -> Vitals:
    vitals = Vitals(WHO, 600.0, clock)
    vitals.counting(lambda: {"files": 3, "bytes": 30, "letters": 1}, lambda: {"done": 3, "rejected": 1})
    return vitals


def test_a_program_that_has_not_begun_is_starting_however_long_it_takes(vitals, clock) -> None:
    clock.now = 1e6
    assert vitals.state() is State.STARTING
    assert not vitals.state().is_healthy
    assert not vitals.state().needs_restart


def test_without_work_it_is_idle_and_healthy_for_ever(vitals, clock) -> None:
    for clock.now in (0.0, 1e5, 1e6):
        vitals.beat(running=0, waiting=0)
        assert vitals.state() is State.IDLE
        assert vitals.state().is_healthy


def test_a_loop_that_does_not_come_round_is_stuck(vitals, clock) -> None:
    vitals.beat(running=0, waiting=0)
    clock.now = ROUND_SECONDS + 1
    assert vitals.state() is State.STUCK
    assert vitals.state().needs_restart


@pytest.mark.parametrize(("running", "state"), [(1, State.STALLED), (0, State.HELD)])
def test_work_that_does_not_move_is_no_health_but_only_a_hanging_plugin_asks_for_a_restart(
    vitals, clock, running, state
) -> None:
    vitals.beat(running=running, waiting=5)
    assert vitals.state() is State.WORKING
    clock.now = 601.0
    vitals.beat(running=running, waiting=5)
    assert vitals.state() is state
    assert not state.is_healthy
    assert state.needs_restart == (running > 0)
    vitals.moved()
    assert vitals.state() is State.WORKING


def test_stall_after_zero_never_stalls(clock) -> None:
    vitals = Vitals(WHO, 0.0, clock)
    clock.now = 1e6
    vitals.beat(running=1, waiting=0)
    assert vitals.state() is State.WORKING


def test_a_broker_that_is_away_is_told_and_no_reason_to_restart(vitals, clock) -> None:
    vitals.beat(running=0, waiting=1)
    vitals.broker_away(is_away=True)
    clock.now = 700.0
    vitals.beat(running=0, waiting=1)
    assert vitals.state() is State.BROKER_AWAY
    assert not vitals.state().needs_restart


def test_a_loop_that_waits_for_the_broker_to_take_a_checkpoint_does_not_hang(vitals, clock) -> None:
    vitals.beat(running=1, waiting=0)
    vitals.writing(is_writing=True)
    clock.now = 10 * ROUND_SECONDS
    assert vitals.state() is State.BROKER_AWAY
    vitals.writing(is_writing=False)
    assert vitals.state() is State.STUCK


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_the_numbers_that_are_counted_and_health_is_the_state(vitals, clock) -> None:
    metrics = Metrics(vitals)
    vitals.beat(running=1, waiting=2, lag=2)
    metrics.checkpoint_took(0.02)
    with served(metrics, vitals, "127.0.0.1", 0) as port:
        found = {
            sample.name: sample.value
            for family in text_string_to_metric_families(get(port, "/metrics")[1])
            for sample in family.samples
            if sample.labels.get("topic") == "t"
        }
        assert found["openmsi_files_total"] == 3
        assert found["openmsi_dead_letters_total"] == 1
        assert found["openmsi_lag_records"] == 2
        assert found["openmsi_checkpoint_seconds_count"] == 1
        code, text = get(port, "/healthz")
        assert (code, json.loads(text)["state"]) == (200, "working")
        clock.now = 700.0
        vitals.beat(running=1, waiting=2)
        code, text = get(port, "/healthz")
        assert (code, json.loads(text)["state"]) == (503, "stalled")
        assert get(port, "/nothing")[0] == 404


def test_a_port_that_is_taken_is_told_with_what_to_do(vitals) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(SettingsError, match=f"{port}.*--metrics-port"),
            served(Metrics(vitals), vitals, "127.0.0.1", port),
        ):
            pass


def test_heartbeats_come_at_once_again_and_at_the_end_with_the_final_numbers(vitals) -> None:
    heard: list[dict] = []
    with beating(vitals, lambda _, value: heard.append(json.loads(value)), every=0.01, now=lambda: AT):
        wait_for(lambda: len(heard) > 3, 10)
        vitals.counting(lambda: {"files": 99}, dict)
    assert [each["number"] for each in heard] == list(range(1, len(heard) + 1))
    assert heard[0]["schema"] == "openmsi-heartbeat/1"
    assert (heard[-1]["is_last"], heard[-1]["state"], heard[-1]["counts"]["files"]) == (True, "ended", 99)
    assert not any(each["is_last"] for each in heard[:-1])


def test_a_heartbeat_tells_the_last_warning_and_no_control_characters(vitals) -> None:
    logger = logging.getLogger("openmsi_core.test_vitals")
    with listening(LastError(vitals.complained)):
        logger.warning("bad file %s", "a\x1b[2J")
        logger.info("fine")
    logger.warning("nobody listens any more")
    told = heartbeat(vitals, AT, 1)
    assert told["last_error"] == "bad file a\\x1b[2J"
    assert told["versions"] == {"openmsi": "1"}


def test_log_lines_go_to_their_topic_but_not_those_of_the_way_there() -> None:
    heard: list[bytes] = []
    with listening(ToTopic(lambda _, value: heard.append(value), {"host": "pc"})):
        logging.getLogger("openmsi_core.kafka.aside").warning("lost")
        logging.getLogger("openmsi_core.x").warning("file %s", "é\udcff")
    (line,) = map(json.loads, heard)
    assert (line["schema"], line["host"], line["level"], line["logger"]) == (
        "openmsi-log/1", "pc", "warning", "openmsi_core.x",
    )  # fmt: skip
    assert "é" in line["text"]


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A service manager's socket; what it heard."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listener


def test_systemd_hears_that_we_are_ready_alive_and_stopping(vitals, manager, monkeypatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    heard = []
    with told(vitals):
        heard += [manager.recv(4096).decode() for _ in range(3)]
    while "STOPPING=1" not in heard:
        heard.append(manager.recv(4096).decode())
    assert heard[0].startswith("READY=1\nSTATUS=starting")
    assert heard[1].startswith("WATCHDOG=1\nSTATUS=")


def test_the_watchdog_hears_nothing_of_a_program_that_hangs(vitals, clock, manager, monkeypatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    vitals.beat(running=1, waiting=0)
    clock.now = 601.0
    vitals.beat(running=1, waiting=0)
    with told(vitals):
        heard = [manager.recv(4096).decode() for _ in range(4)]
    assert not any("WATCHDOG" in each for each in heard)
    assert "STATUS=stalled" in heard[1]


def test_without_a_service_manager_nothing_is_told_and_no_thread_starts(vitals, monkeypatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    before = threading.active_count()
    with told(vitals):
        assert threading.active_count() == before
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})
    assert watchdog_seconds({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "1000000"}) == 1.0
    assert status(vitals) == "starting: waiting for the broker"


class Silent:
    """A sink that acknowledges what it is told to."""

    def __init__(self) -> None:
        self.waiting: list = []
        self.answers = 0

    def partitions(self) -> int:
        return 1

    def produce(self, partition, key, value, delivered) -> None:
        self.waiting.append(delivered)

    def serve(self, timeout) -> int:
        count, self.answers = self.answers, 0
        for delivered in self.waiting[:count]:
            delivered(1, "")
        del self.waiting[:count]
        return count

    def pending(self) -> int:
        return len(self.waiting)


def test_a_sender_whose_broker_acknowledges_nothing_says_that_it_is_away(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("openmsi_core.wiring.measured.time.monotonic", lambda: now[0])
    watched, numbers, silent = Watched(Vitals(WHO, 600.0, lambda: now[0])), SenderNumbers(), Silent()
    watched.vitals.counting(numbers.counts, dict)
    sink = MeasuredSink(silent, numbers, watched)
    sink.produce(0, b"k", b"value", lambda *_: None)
    sink.serve(0)
    assert watched.vitals.state() is State.WORKING
    now[0] = 40.0
    sink.serve(0)
    assert watched.vitals.state() is State.BROKER_AWAY
    silent.answers = 1
    sink.serve(0)
    assert watched.vitals.state() is State.IDLE
    assert watched.vitals.snapshot().counts["record_bytes"] == 6


class Away(Silent):
    def serve(self, timeout) -> int:
        raise BrokerUnreachable("nobody answers")

    def produce(self, partition, key, value, delivered) -> None:
        raise BrokerUnreachable("nobody answers")


@pytest.mark.parametrize("call", [lambda sink: sink.serve(0), lambda sink: sink.produce(0, b"", b"", None)])
def test_a_sender_that_waits_for_its_broker_for_hours_is_not_stuck(monkeypatch, call) -> None:
    now = [0.0]
    monkeypatch.setattr("openmsi_core.wiring.measured.time.monotonic", lambda: now[0])
    watched = Watched(Vitals(WHO, 600.0, lambda: now[0]))
    sink = MeasuredSink(Away(), SenderNumbers(), watched)
    for now[0] in (1.0, 2 * ROUND_SECONDS, 4 * ROUND_SECONDS):
        with pytest.raises(BrokerUnreachable):
            call(sink)
    assert watched.vitals.state() is State.BROKER_AWAY


class Store:
    """An OutcomeStore that fails as often as it is told."""

    def __init__(self, failing: int) -> None:
        self.failing = failing

    def write(self, outgoing, commits, *, size=0) -> None:
        if self.failing:
            self.failing -= 1
            raise BrokerUnreachable("nobody answers")


def test_checkpoints_are_counted_with_those_that_failed() -> None:
    watched, numbers = Watched(Vitals(WHO, 600.0)), RunNumbers(None, None, None)
    store = MeasuredStore(Store(failing=1), numbers, watched)
    watched.vitals.beat(running=0, waiting=1)
    with pytest.raises(BrokerUnreachable):
        store.write([], [])
    assert watched.vitals.state() is State.BROKER_AWAY
    store.write([], [])
    assert watched.vitals.state() is State.WORKING
    assert (numbers.checkpoints, numbers.checkpoints_failed) == (1, 1)


def test_every_metric_and_field_of_a_heartbeat_stands_on_its_page(vitals) -> None:
    from pathlib import Path

    page = (Path(__file__).resolve().parents[2] / "docs" / "operate.md").read_text("utf-8")
    names = [name for name, _ in (*COUNTS.values(), *GAUGES.values())]
    names += ["openmsi_checkpoint_seconds", "openmsi_file_age_seconds", "openmsi_outcomes", "openmsi_state"]
    names += ["openmsi_progress_seconds", "openmsi_build_info"]
    for name in [*names, *heartbeat(vitals, AT, 1)]:
        assert f"`{name}`" in page or f"`{name}_total`" in page, name


def test_the_live_line_of_a_run_tells_what_is_left_and_what_went_wrong() -> None:
    from openmsi_core.cli.run import _note
    from openmsi_core.receiving.jobs import Counts

    assert _note(Counts()) == ""
    assert _note(Counts(letters=1200, lag=30)) == "1,200 dead letters, 30 records behind"
