"""Whole processes, measured from their start to their end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Spent:
    """What one process took: seconds on the clock, seconds of all cores together, bytes at its peak."""

    seconds: float
    cpu: float
    peak: int


def spent(command: list[str], folder: Path, within: float = 900.0) -> Spent:
    """Run a command to its end. Raises RuntimeError with what it printed when it fails or takes too long."""
    log = folder / "last.log"
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment(folder))
        ends = began + within
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() > ends:
                process.kill()
                process.wait()
                raise RuntimeError(f"{command}: not done within {within:g} s; {tail(log)}")
            time.sleep(0.002)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}; {tail(log)}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def environment(folder: Path) -> dict[str, str]:
    """Of a process that must not find anybody's settings or state."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    config = folder / "openmsi.toml"
    if not config.exists():
        # a benchmark may fill the disk further than a run would by itself
        config.write_text(f'state = "{folder}/state"\n[run.disk]\nplugin = "disk"\nspool-free = "256MiB"\n')
    return kept | {"HOME": str(folder), "PYTHONPATH": str(ROOT), "OPENMSI_CONFIG": str(config)}


def ours(*arguments: str) -> list[str]:
    """The command line of openmsi."""
    return [sys.executable, "-m", "openmsi_core", *arguments]


def tail(log: Path) -> str:
    """The end of what a process printed."""
    return log.read_text("utf-8", "replace")[-800:]
