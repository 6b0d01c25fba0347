"""Receivers as real processes, cheap to start: forked from a server that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Self

from tests.faults import launched
from tests.faults.trial import Trial

_PRELOADED = [
    "tests.faults.launched",
    "openmsi_core.cli.run",
    "openmsi_core.cli.watch",
    "openmsi_core.wiring",
    "openmsi_plugins.disk",
]

# what makes a takeover quick on a broker with the test settings of the design's delivery page
PROTOCOLS = {
    "classic": ("transaction.timeout.ms=1500", "session.timeout.ms=600", "heartbeat.interval.ms=200"),
    "consumer": ("transaction.timeout.ms=1500", "group.protocol=consumer"),  # the broker decides there
    "sender": (),
}

_REST_SECONDS = 1.0


class Receiver:
    """One `openmsi run ...`. ``kill`` names a window and how often it is passed (``in-flush:2``): see `windows`.

    Each has a state folder of its own, as on another host, unless ``state`` is given.
    With ``stops`` the window stops it, until SIGCONT. Ended by
    its id at the end of the ``with``.
    """

    def __init__(
        self,
        trial: Trial,
        *arguments: str,
        kill: str = "",
        stops: bool = False,
        metadata: int = 0,
        protocol: str = "classic",
        state: Path | None = None,
    ) -> None:
        self.folder = trial.folder / f"receiver-{len(list(trial.folder.glob('receiver-*')))}"
        self.folder.mkdir()
        self.log = self.folder / "output.txt"
        self._trial = trial
        self._killed = self.folder / "killed"
        environment = {
            "OPENMSI_STATE": str(state or self.folder / "state"),
            "HOME": str(self.folder),
            "OPENMSI_TEST_MUTATION": trial.mutation,
            "OPENMSI_TEST_KILL": kill,
            "OPENMSI_TEST_SIGNAL": "SIGSTOP" if stops else "",
            "OPENMSI_TEST_KILLED": str(self._killed),
            "OPENMSI_TEST_METADATA": str(metadata or ""),
        }
        options = [word for option in PROTOCOLS[protocol] for word in ("-X", option)]
        words = [*arguments, "--broker", trial.broker, *options]
        self.process = _server().Process(target=_run, args=(words, environment, str(self.log)), daemon=False)

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(20)

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    @property
    def window(self) -> str:
        """The window in which it was killed by its own hand, or ""."""
        return self._killed.read_text("ascii") if self._killed.exists() else ""

    @property
    def is_at_rest(self) -> bool:
        """True when it has partitions and said nothing for a while."""
        if "is ours" not in self.output:
            return False
        return time.time() - self.log.stat().st_mtime > _REST_SECONDS

    def measure(self) -> None:
        """Tell the trial how much memory the process had at most."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        except (FileNotFoundError, ProcessLookupError):
            return
        if "VmHWM:" in status:
            self._trial.measured(int(status.split("VmHWM:")[1].split()[0]) * 1024)

    def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait for a condition or the end of the process; whether the condition holds."""
        ends = time.monotonic() + within
        while not condition():
            if not self.process.is_alive() or time.monotonic() > ends:
                return condition()
            time.sleep(0.02)  # files and processes tell nobody when they change
        return True

    def end(self, number: int = signal.SIGTERM, within: float = 20.0) -> int:
        """Send a signal; the exit code, -1 when it does not end in time."""
        if self.process.is_alive():
            os.kill(self.process.pid or 0, number)
        return self.wait(within)

    def wait(self, within: float) -> int:
        """The exit code, -1 when it does not end in time."""
        self.process.join(within)
        return -1 if self.process.exitcode is None else self.process.exitcode


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _run(words: list[str], environment: dict[str, str], log: str) -> None:
    os.environ.update(environment)
    os.chdir(environment["HOME"])
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["openmsi", *words]
    launched.main()
