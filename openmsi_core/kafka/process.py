"""A broker's process: kept by a keeper that ends it with us, started with a port, stopped by its id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from openmsi_core.errors import BrokerUnreachable

_KEEPER = Path(__file__).with_name("keeper.py")
STOP_SECONDS = 20.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """True when nobody listens on ``port`` of 127.0.0.1."""
    return not _listens(port)


class BrokerProcess:
    """A broker that runs as a process of its own and never outlives this one, even after kill -9.

    What it prints goes to ``log``. `pid` is the broker's own id.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._log = log
        self._environment = dict(environment or {})
        self._keeper: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def running(self) -> bool:
        """True while the process is there."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> None:
        """Start the process; does not wait until the broker answers. Raises BrokerUnreachable."""
        with self._log.open("ab") as log:
            self._keeper = subprocess.Popen(  # noqa: S603 - the command is put together by us
                [sys.executable, "-I", "-S", str(_KEEPER), *self._command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C is ours to act on
            )
        stdout = self._keeper.stdout
        assert stdout is not None  # noqa: S101 - it was asked for two lines above
        line = stdout.readline()
        stdout.close()
        if not line.strip().isdigit():
            self.stop()
            raise BrokerUnreachable(f"{self._command[0]} could not be started: {self.last_words()}")
        self.pid = int(line)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that did not help; waits for the end."""
        if self._keeper is None:
            return
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            self._keeper.stdin.close()
        self._keeper.wait(STOP_SECONDS)
        self._keeper = None

    def kill(self) -> None:
        """SIGKILL at once, as a crash; waits for the end."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        if self._keeper is not None:
            self._keeper.wait(STOP_SECONDS)
            self.stop()

    def wait_listening(self, port: int, timeout: float) -> None:
        """Wait until somebody listens on ``port`` of 127.0.0.1. Raises BrokerUnreachable."""
        deadline = time.monotonic() + timeout
        while not _listens(port):
            if not self.running:
                raise BrokerUnreachable(f"{self._command[0]} ended at once: {self.last_words()}")
            if time.monotonic() > deadline:
                raise BrokerUnreachable(f"nobody listens on 127.0.0.1:{port} after {timeout:g} s: {self.last_words()}")
            time.sleep(0.02)  # a listening socket announces itself to nobody: look again

    def last_words(self) -> str:
        """The last line that the process printed."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines() if self._log.exists() else []
        return f"{lines[-1]} (all of it: {self._log})" if lines else "it printed nothing"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
