"""The predecessor's programs as processes, started and ended by their ids."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

VERSION = "1.8.8"

# The intervals are shorter than the defaults (45 s, 3 s, 300 s): a dead or stuck member is replaced sooner,
# which is in the predecessor's favour and keeps a trial under a minute.
_CONFIG = """[broker]
bootstrap.servers = {broker}

[producer]
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer
linger.ms = 100
compression.type = lz4

[consumer]
group.id = create_new
auto.offset.reset = earliest
enable.auto.commit = False
session.timeout.ms = 2000
heartbeat.interval.ms = 500
max.poll.interval.ms = 10000
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
"""


def install(venv: Path) -> None:
    """Make the virtual environment with the predecessor when it is not there. Raises CalledProcessError."""
    if (venv / "bin" / "DataFileDownloadDirectory").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", f"openmsistream=={VERSION}"], check=True)


def write_config(folder: Path, broker: str) -> Path:
    """The configuration file for both programs."""
    path = folder / "predecessor.config"
    path.write_text(_CONFIG.format(broker=broker))
    return path


class Program:
    """One running program of the predecessor. What it prints goes to ``log``."""

    def __init__(self, command: list[str], folder: Path, log: Path) -> None:
        self.log = log
        self.peak = 0  # bytes, the highest VmHWM that was seen
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            )

        assert self._process.stdin is not None
        self._commands = self._process.stdin

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def look(self) -> None:
        """Take note of the peak memory."""
        if self.code is None:
            status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
            if "VmHWM:" in status:
                self.peak = max(self.peak, int(status.split("VmHWM:")[1].split()[0]) * 1024)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.code is None:
            self.kill()

    def kill(self) -> None:
        """kill -9, and wait."""
        self.look()
        self._process.kill()
        self._process.wait(20)
        self._close()

    def ask(self, within: float = 12.0) -> str:
        """Its answer to the command ``c`` (how far are you?); empty when none comes in time."""
        before = len(self.text)
        if not self._say("c"):
            return ""
        until(lambda: "messages read" in self.text[before:] or self.code is not None, within)
        until(lambda: "Files recognized so far" in self.text[before:] or self.code is not None, 1.0)
        return self.text[before:]

    def quit(self, within: float) -> bool:
        """Its command ``q``; False when it had to be killed because it did not end in time."""
        self._say("q")
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._close()
        return True

    def _say(self, word: str) -> bool:
        try:
            self._commands.write(f"{word}\n".encode())
            self._commands.flush()
        except BrokenPipeError:
            return False
        return True

    def _close(self) -> None:
        try:
            self._commands.close()
        except BrokenPipeError:  # what it did not read is of no interest any more
            return


def until(condition: Callable[[], bool], within: float, every: float = 0.05) -> bool:
    """Wait for a condition on files and processes, which tell nobody when they change. True when it came."""
    ends = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(every)
    return True
