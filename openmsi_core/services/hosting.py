"""The process of a service where the manager is no systemd: variables from a file, and exit codes that mean rest."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

REST = 0


def exit_code_for(code: int, rests_on: Sequence[int]) -> int:
    """What the manager is told: a failure that a restart would only repeat is told as success, so that it rests."""
    return REST if code in rests_on else code


class Child:
    """A command of ours as the child of a Windows service. ``interrupt`` asks it to end: Ctrl-Break there."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, interrupt: int
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._environment = dict(environment)
        self._log = log
        self._interrupt = interrupt
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, started: Callable[[], None]) -> int:
        """Start it, and wait for its end; the exit code. ``started`` is called once it is there."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as out:
            self._process = self._start(out)
            started()
            return self._process.wait()

    def stop(self, seconds: float) -> None:
        """Ask it to end; end it after ``seconds``. May be called from another thread, and before it runs."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(self._interrupt)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()

    def _start(self, out: BinaryIO) -> subprocess.Popen[bytes]:
        group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # else Ctrl-Break would reach us too
        return subprocess.Popen(  # noqa: S603 - our own command line
            self._command,
            cwd=self._folder,
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            creationflags=group,
        )


def interrupt_of_this_platform() -> int:
    """What asks a child to end."""
    return int(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
