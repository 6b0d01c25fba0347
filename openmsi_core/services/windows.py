"""Services of Windows, through a small port. The calls are tested with a fake; nothing here has been run on Windows.

The service's process is `openmsi service exec --windows NAME`, which starts the command itself as its child and ends it
with Ctrl-Break: the command ends as it does at a terminal. The environment is the service's alone, from its file of
variables; no library is copied anywhere.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from openmsi_core.errors import ServiceFailed, UsageError
from openmsi_core.services.model import Service, Status
from openmsi_core.services.secrets import keep
from openmsi_core.services.shell import Shell

LOCAL_SERVICE = "NT AUTHORITY\\LocalService"
STOP_SECONDS = 30.0
RESTARTS_MS = (5_000, 30_000, 300_000)
_READERS = ("*S-1-5-18:F", "*S-1-5-32-544:F", "*S-1-5-19:R")  # the system, administrators, LocalService
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Found:
    """What the service manager of Windows says: ``state`` as in `Status`, the process, and how it ended last."""

    state: str
    pid: int = 0
    exit_code: int = 0


class Port(Protocol):
    """What is asked of Windows. Each raises ServiceFailed with the number and the text of Windows' error."""

    def find(self, name: str) -> Found | None:
        """The service called ``name``."""
        ...

    def create(self, name: str, display: str, command_line: str, account: str) -> None:
        """Make it, started with the machine, run by ``account``."""
        ...

    def change(self, name: str, display: str, command_line: str) -> None:
        """Give it another command line."""
        ...

    def restart_after_failure(self, name: str, pauses_ms: Sequence[int]) -> None:
        """Have it started again after a failure, later each time."""
        ...

    def start(self, name: str) -> None:
        """Start it."""
        ...

    def stop(self, name: str) -> None:
        """Ask it to stop."""
        ...

    def delete(self, name: str) -> None:
        """Forget it."""
        ...


class WindowsServices:
    """The Services of Windows. ``folder`` holds variables, logs and state: ``%ProgramData%\\openmsi``."""

    def __init__(self, port: Port, shell: Shell, folder: Path, *, look: float = _LOOK_SECONDS) -> None:
        self._port = port
        self._shell = shell
        self._folder = folder
        self._look = look

    def install(self, service: Service) -> Sequence[str]:
        """See Services."""
        variables = self._variables(service.name)
        values = {"OPENMSI_STATE": str(self._folder / "state" / service.name)}
        values |= dict(service.environment) | dict(service.secrets)
        done = [f"wrote {variables}"] if keep(variables, values) else []
        grants = [word for reader in _READERS for word in ("/grant:r", reader)]
        self._shell.run("icacls", str(variables), "/inheritance:r", *grants)
        key, line = _key(service.name), self.command_line(service)
        if self._port.find(key) is None:
            self._port.create(key, service.description, line, service.account or LOCAL_SERVICE)
            done.append(f"created the service {key}")
        else:
            self._port.change(key, service.description, line)
        self._port.restart_after_failure(key, RESTARTS_MS)
        return done

    def command_line(self, service: Service) -> str:
        """What Windows starts."""
        log = self._folder / "logs" / f"{service.name}.log"
        execute = ["service", "exec", "--windows", service.name, "--environment", str(self._variables(service.name))]
        execute += ["--folder", str(service.folder), "--log", str(log), "--rest-on", "2", "--rest-on", "5", "--"]
        return subprocess.list2cmdline([*service.command, *execute, *service.arguments])

    def start(self, name: str) -> None:
        """See Services."""
        if self._found(name).state == "stopped":
            self._port.start(_key(name))
        self._until(name, "running")

    def stop(self, name: str) -> None:
        """See Services."""
        if self._found(name).state != "stopped":
            self._port.stop(_key(name))
        self._until(name, "stopped")

    def restart(self, name: str) -> None:
        """See Services."""
        self.stop(name)
        self.start(name)

    def status(self, name: str) -> Status:
        """See Services."""
        found = self._port.find(_key(name))
        if found is None:
            return Status(name, "absent")
        state = "failed" if found.state == "stopped" and found.exit_code else found.state
        code = found.exit_code if found.state == "stopped" else None
        return Status(name, state, pid=found.pid, exit_code=code)

    def logs(self, name: str, lines: int, *, follow: bool) -> None:
        """See Services. Following is left to PowerShell's ``Get-Content -Wait``."""
        self._found(name)
        log = self._folder / "logs" / f"{name}.log"
        if follow:
            raise UsageError(f"following is what PowerShell does: Get-Content -Wait -Tail {lines} '{log}'")
        if log.exists():
            with log.open(encoding="utf-8", errors="replace") as text:
                sys.stdout.writelines(deque(text, maxlen=lines))

    def remove(self, name: str) -> Sequence[str]:
        """See Services."""
        done = []
        if self._port.find(_key(name)) is not None:
            self.stop(name)
            self._port.delete(_key(name))
            done.append(f"removed the service {_key(name)}")
        if self._variables(name).exists():
            self._variables(name).unlink()
            done.append(f"removed {self._variables(name)}")
        return done or [f"there is no service {name}: nothing to do"]

    def _found(self, name: str) -> Found:
        found = self._port.find(_key(name))
        if found is None:
            raise UsageError(f"there is no service {name}: `openmsi service install {name} -- run ...` makes it.")
        return found

    def _until(self, name: str, state: str) -> None:
        """Windows answers before it has done what it was told."""
        ends = time.monotonic() + STOP_SECONDS + 5
        while (found := self._found(name)).state != state:
            if time.monotonic() > ends or (state == "running" and found.state == "stopped"):
                raise ServiceFailed(
                    f"the service {_key(name)} is {found.state}, not {state}; it ended with code {found.exit_code}. "
                    f"`openmsi service logs {name}` shows what it said."
                )
            time.sleep(self._look)  # Windows tells nobody when a state changes

    def _variables(self, name: str) -> Path:
        return self._folder / "services" / f"{name}.env"


def _key(name: str) -> str:
    return f"openmsi-{name}"
