"""Real processes of the command, started and ended by their ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self


class Command:
    """One running `openmsi ...`; its output goes to a file. Ended at the end of the ``with``."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        state: Path | None = None,
        module: str = "openmsi_core",
        **environment: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "output.txt"
        self.arguments = arguments
        state = state or folder / "state"
        env = {key: value for key, value in os.environ.items() if not key.startswith("OPENMSI_")}
        env |= {"OPENMSI_STATE": str(state), "HOME": str(folder), **environment}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
                cwd=folder,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def peak_memory(self) -> int:
        """VmHWM of the process, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def end(self, number: int = signal.SIGTERM, within: float = 10.0) -> int:
        """Send a signal; the exit code, which must come in time."""
        self.process.send_signal(number)
        return self.wait(within)

    def wait(self, within: float) -> int:
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.arguments} did not end within {within} s:\n{self.output}") from None

    def until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        """Wait for a condition; fails with the output when the process ends or time is up."""
        wait_for(condition, within, lambda: f"{self.arguments}:\n{self.output[-5000:]}", self.process)


def wait_for(
    condition: Callable[[], bool],
    within: float,
    told: Callable[[], str] = lambda: "",
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    ends = time.monotonic() + within
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"ended with {process.returncode} before the condition: {told()}")
        assert time.monotonic() < ends, f"not within {within} s: {told()}"
        time.sleep(0.05)  # a look every 50 ms at files and processes, which tell nobody when they change


def openmsi(
    *arguments: str, folder: Path, within: float = 60.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("OPENMSI_")}
    env |= {"OPENMSI_STATE": str(folder / "state"), "HOME": str(folder), **environment}
    return subprocess.run(
        [sys.executable, "-m", "openmsi_core", *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=within,
        env=env,
        cwd=folder,
        check=False,
    )
