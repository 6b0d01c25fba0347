"""Who watches a program while it works: metrics, heartbeats, logs to a topic, systemd; all from one set of numbers."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import metadata
from typing import Protocol

from openmsi_core.kafka.admin import library_version
from openmsi_core.kafka.aside import Aside
from openmsi_core.observe.heartbeats import beating
from openmsi_core.observe.logs import LastError, ToTopic, listening
from openmsi_core.observe.metrics import Metrics, served
from openmsi_core.observe.notify import told
from openmsi_core.observe.vitals import Identity, Vitals

log = logging.getLogger(__name__)


class Observed(Protocol):
    """What `[run.NAME]` and `[watch.NAME]` say about being observed."""

    @property
    def metrics_port(self) -> int | None:
        """Where metrics are served; None: nowhere."""
        ...

    @property
    def metrics_address(self) -> str:
        """On which address."""
        ...

    @property
    def heartbeat_topic(self) -> str:
        """Where heartbeats go; "": nowhere."""
        ...

    @property
    def heartbeat_every(self) -> float:
        """Seconds between heartbeats."""
        ...

    @property
    def log_topic(self) -> str:
        """Where log lines go; "": nowhere."""
        ...

    @property
    def stall_after(self) -> float:
        """Seconds without progress while work waits that count as stalled; 0: never."""
        ...


class Watched:
    """What the measuring parts tell: `vitals` for everything, `metrics` for what has a distribution."""

    def __init__(self, vitals: Vitals) -> None:
        self.vitals = vitals
        self.metrics = Metrics(vitals)


@contextmanager
def observed(settings: Observed, kafka: Mapping[str, str], who: Identity) -> Iterator[Watched]:
    """Everything that ``settings`` ask for, while inside. The last heartbeat has the final numbers.

    Raises SettingsError when metrics cannot be served.
    """
    watched = Watched(Vitals(who, settings.stall_after))
    vitals = watched.vitals
    with ExitStack() as stack:
        stack.enter_context(listening(LastError(vitals.complained)))
        if settings.metrics_port is not None:
            stack.enter_context(served(watched.metrics, vitals, settings.metrics_address, settings.metrics_port))
        if settings.heartbeat_topic or settings.log_topic:
            aside = stack.enter_context(Aside(kafka))
            if settings.log_topic:
                facts = {"host": who.host, "pid": who.pid, "program": who.program, "name": who.name}
                stack.enter_context(listening(ToTopic(partial(aside.publish, settings.log_topic), facts)))
            if settings.heartbeat_topic:
                publish = partial(aside.publish, settings.heartbeat_topic)
                stack.enter_context(beating(vitals, publish, settings.heartbeat_every))
        stack.enter_context(told(vitals))
        yield watched


def identity(program: str, name: str, topic: str, group: str = "", packages: Sequence[str] = ()) -> Identity:
    """Who we are; ``packages`` are distributions whose versions matter besides our own."""
    versions = {"openmsi": _version("openmsi"), "python": platform.python_version(), "librdkafka": library_version()}
    versions |= {package: _version(package) for package in packages if package != "openmsi"}
    return Identity(program, name, topic, group, host=socket.gethostname(), pid=os.getpid(), versions=versions)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed, or a local file
        return "unknown"
