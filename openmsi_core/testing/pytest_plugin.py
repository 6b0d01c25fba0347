"""What a plugin's tests load with ``-p openmsi_core.testing.pytest_plugin``: readable assertions, fixtures, waivers.

It is no entry point of pytest: then pytest would load it in every test run of every project in the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("openmsi_core.testing.contract")

if TYPE_CHECKING:
    from openmsi_core.testing.topics import RunPlugin, SendFile, Topic


def pytest_addoption(parser: pytest.Parser) -> None:
    """The broker to use instead of an embedded one."""
    text = "host:port of a broker for the checks that need one; by default an embedded one is started"
    parser.addoption("--openmsi-broker", metavar="HOST:PORT", help=text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every waived check with its reason, and how many there are."""
    from openmsi_core.testing.checks import WAIVED

    reasons = [str(each.longrepr[2]) for each in terminalreporter.stats.get("skipped", []) if each.longrepr]
    waived = [text.partition(WAIVED)[2] for text in reasons if WAIVED in text]
    if waived:
        terminalreporter.section(f"openmsi contract: {len(waived)} waived")
        for text in waived:
            terminalreporter.write_line(text)


@pytest.fixture(scope="session")
def openmsi_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a broker: the one of --openmsi-broker, else an embedded one."""
    given = request.config.getoption("--openmsi-broker")
    if given:
        yield str(given)
        return
    from openmsi_core.errors import UsageError
    from openmsi_core.kafka.embedded import embedded

    with ExitStack() as stack:
        try:
            broker = stack.enter_context(embedded())
        except UsageError as error:
            pytest.skip(f"no broker: {error}")
        yield broker.address


@pytest.fixture
def openmsi_topic(openmsi_broker: str) -> Topic:
    """A fresh topic with its companions, and one for results."""
    from openmsi_core.testing.topics import fresh_topic

    return fresh_topic(openmsi_broker)


@pytest.fixture
def send_file(openmsi_topic: Topic) -> SendFile:
    """Sends one file to the fresh topic: ``send_file(path, chunk_size=..., shuffle=True, duplicate=True)``."""
    from openmsi_core.testing.topics import SendFile

    return SendFile(openmsi_topic)


@pytest.fixture
def run_plugin(openmsi_topic: Topic, tmp_path: Path) -> RunPlugin:
    """Runs a plugin on the fresh topic up to its end: ``run_plugin(name, **options)`` tells what came of it."""
    from openmsi_core.testing.topics import RunPlugin

    return RunPlugin(openmsi_topic, tmp_path / "openmsi-state")
