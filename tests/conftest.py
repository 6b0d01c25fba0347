"""Guards on every test, and the brokers that tests share."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openmsi_core.kafka import admin
from openmsi_core.kafka.embedded import Embedded, embedded
from openmsi_core.testing.brokers import RealKafka, why_not

MakeTopic = Callable[[int], str]


def _open_files() -> dict[int, str]:
    """What this process holds open, by descriptor: regular files and folders only (Linux)."""
    found = {}
    for name in os.listdir("/proc/self/fd") if Path("/proc/self/fd").is_dir() else []:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            found[int(name)] = target
    return found


def _children() -> set[int]:
    """The process ids of our children (Linux)."""
    here = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in here.read_text().split()} if here.exists() else set()


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """A test leaves no thread, no open file and no child process."""
    threads, files, children = set(threading.enumerate()), _open_files(), _children()
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(2.0)  # one that was told to end may need a moment
    left = [thread.name for thread in threading.enumerate() if thread not in threads and thread.is_alive()]
    assert not left, f"threads left behind: {left}"
    opened = {number: path for number, path in _open_files().items() if files.get(number) != path}
    assert not opened, f"files left open: {opened}"
    assert not _children() - children, f"processes left behind: {_children() - children}"


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Configuration, state and variables of whoever runs the tests do not count."""
    for name in [name for name in os.environ if name.startswith("OPENMSI_") and not name.startswith("OPENMSI_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENMSI_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Embedded]:
    """The embedded broker: at least once, no transactions."""
    with embedded() as broker:
        yield broker


@pytest.fixture(scope="session")
def openmsi_broker(embedded_broker: Embedded) -> str:
    """The broker of the contract suite is the one that the other tests have."""
    return embedded_broker.address


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """A real Apache Kafka. Without Java and Maven its tests are skipped with the reason, in CI they fail."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(f"no real Kafka: {reason}")
        pytest.skip(f"no real Kafka: {reason}")
    with RealKafka(tmp_path_factory.mktemp("kafka"), secure=True) as kafka:
        yield kafka


@pytest.fixture
def make_topic(kafka_broker: RealKafka) -> MakeTopic:
    """Makes a topic family of so many partitions on the real Kafka; its name."""

    def make(partitions: int) -> str:
        name = f"t-{uuid.uuid4().hex[:8]}"
        admin.create_family(admin.connected(kafka_broker.plain()), name, partitions)
        return name

    return make
