"""A service on a systemd that really boots: install, load, stop under load, crash, hang, a mistake, remove."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, openmsi, wait_for
from tests.nspawn import Machine, why_not

pytestmark = pytest.mark.kafka

UNIT = "openmsi-archive.service"


@pytest.fixture
def machine(tmp_path):
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(f"no systemd can be booted: {reason}")
        pytest.skip(f"no systemd can be booted: {reason}")
    work = tmp_path / "work"
    (work / "archive").mkdir(parents=True)
    for folder in (tmp_path, work):
        folder.chmod(0o755)
    with Machine(work, tmp_path / "machine.log") as booted:
        yield booted


def state(machine: Machine) -> dict:
    return json.loads(machine.openmsi("service", "status", "archive", "--system", "--json").stdout)


def told(machine: Machine) -> str:
    journal = machine.run("journalctl", "-u", UNIT, "-o", "cat", "-n", "30", "--no-pager").stdout
    return machine.run("systemctl", "status", "-l", "--no-pager", UNIT).stdout + journal


def source_of(tmp_path: Path, name: str, count: int) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    for number in range(count):
        (folder / f"{name}-{number:04}.dat").write_bytes(os.urandom(2000 + number % 5000))
    return folder


class Instrument:
    """Writes a small file every few milliseconds while the ``with`` lasts."""

    def __init__(self, folder: Path) -> None:
        self.written = 0
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._folder.mkdir()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._over.wait(0.005):
            (self._folder / f"second-{self.written:05}.dat").write_bytes(os.urandom(2000 + self.written % 5000))
            self.written += 1


def stored(work: Path) -> int:
    return sum(1 for _ in (work / "archive").glob("*.dat"))


@pytest.mark.timeout(420)
def test_a_service_that_the_command_installed_loses_nothing_when_it_is_stopped_crashes_or_hangs(
    machine, kafka_broker, make_topic, tmp_path
) -> None:
    topic, work = make_topic(2), tmp_path / "work"
    broker = ["--broker", kafka_broker.bootstrap]
    first = source_of(tmp_path, "first", 200)
    command = ["run", "disk", "--topic", topic, "--folder", "/opt/work/archive", *broker]
    words = ["service", "install", "archive", "--system", "--no-start", "--", *command]
    done = machine.openmsi(*words)
    assert done.returncode == 0, done.stderr
    assert "created the account openmsi" in done.stdout
    assert machine.openmsi(*words).stdout == "archive is as it should be\n"
    machine.run("chown", "openmsi:openmsi", "/opt/work/archive")
    started = machine.openmsi("service", "start", "archive", "--system")
    assert started.returncode == 0, started.stderr
    assert state(machine)["state"] == "running", told(machine)

    assert openmsi("upload", str(first), "--topic", topic, *broker, folder=tmp_path).returncode == 0
    wait_for(lambda: stored(work) == 200, 60, lambda: told(machine))
    wait_for(lambda: "200 files" in state(machine)["detail"], 20, lambda: told(machine))

    second = tmp_path / "second"
    with (
        Instrument(second) as instrument,
        Command(tmp_path / "watch", "watch", str(second), "--topic", topic, "--settle", "0.1s", *broker) as watch,
    ):
        wait_for(lambda: stored(work) > 300, 60, lambda: told(machine))
        begun = time.monotonic()
        assert machine.openmsi("service", "stop", "archive", "--system").returncode == 0
        took = time.monotonic() - begun
        stopped, there = state(machine), stored(work)
        print(f"stopped under load within {took:.1f} s, with {there} of {200 + instrument.written} files stored")
        assert took < 10
        assert (stopped["state"], stopped["exit_code"]) == ("stopped", 0), told(machine)
        assert there < 200 + instrument.written, "it was not under load when it was stopped"

        assert machine.openmsi("service", "start", "archive", "--system").returncode == 0
        wait_for(lambda: stored(work) > there + 100, 60, lambda: told(machine))
        machine.run("systemctl", "kill", "--kill-whom=main", "-s", "SIGKILL", UNIT)
        wait_for(lambda: state(machine)["restarts"] == 1, 30, lambda: told(machine))
        instrument.__exit__()
        watch.until(lambda: stored(work) == 200 + instrument.written, 120)
        assert watch.end() == 0
    assert digests(work / "archive") == digests(first) | digests(second)
    assert values(kafka_broker.bootstrap, f"{topic}.dlq") == []
    assert "first-0000.dat done" in machine.openmsi("service", "logs", "archive", "--system", "--lines", "99999").stdout

    assert machine.openmsi("service", "remove", "archive", "--system").returncode == 0
    assert state(machine)["state"] == "absent"


@pytest.mark.timeout(240)
def test_a_service_that_hangs_is_started_anew_by_the_watchdog(machine, kafka_broker, make_topic) -> None:
    words = [
        "run",
        "disk",
        "--topic",
        make_topic(1),
        "--folder",
        "/opt/work/archive",
        "--broker",
        kafka_broker.bootstrap,
    ]
    assert machine.openmsi("service", "install", "archive", "--system", "--no-start", "--", *words).returncode == 0
    machine.run("chown", "openmsi:openmsi", "/opt/work/archive")
    drop_in = f"/etc/systemd/system/{UNIT}.d"
    quick = "[Service]\\nWatchdogSec=3\\nTimeoutAbortSec=1\\nRestartSec=1\\n"
    machine.run("sh", "-c", f"mkdir {drop_in}; printf '{quick}' > {drop_in}/quick.conf; systemctl daemon-reload")
    assert machine.openmsi("service", "start", "archive", "--system").returncode == 0
    wait_for(lambda: state(machine)["detail"].startswith("idle"), 60, lambda: told(machine))
    before = state(machine)
    time.sleep(7)  # twice the watchdog's time: a service that works must outlive it
    assert state(machine)["pid"] == before["pid"], told(machine)
    machine.run("systemctl", "kill", "--kill-whom=main", "-s", "SIGSTOP", UNIT)
    wait_for(lambda: state(machine)["restarts"] >= 1, 60, lambda: told(machine))
    wait_for(lambda: state(machine)["state"] == "running", 60, lambda: told(machine))


@pytest.mark.timeout(120)
def test_a_service_with_a_mistake_says_it_at_once_and_is_not_started_again(machine, kafka_broker) -> None:
    words = [
        "run",
        "disk",
        "--topic",
        "no-such-topic",
        "--folder",
        "/opt/work/archive",
        "--broker",
        kafka_broker.bootstrap,
    ]
    done = machine.openmsi("service", "install", "archive", "--system", "--", *words)
    wait_for(lambda: state(machine)["state"] == "failed", 60, lambda: told(machine))
    assert "no-such-topic does not exist" in done.stderr + told(machine)
    assert (state(machine)["restarts"], state(machine)["exit_code"]) == (0, 2)
