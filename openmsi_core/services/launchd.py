"""Services of macOS: property lists for launchd. Their form is tested; nothing here has been run on macOS."""

from __future__ import annotations

import os
import plistlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openmsi_core.errors import ServiceFailed, UsageError
from openmsi_core.services.model import Service, Status
from openmsi_core.services.secrets import keep, put
from openmsi_core.services.shell import Shell

_STOP_SECONDS = 30


class Launchd:
    """Writes property lists and calls launchctl. ``system``: a daemon of the machine, else an agent of the user."""

    def __init__(
        self, shell: Shell, *, system: bool, home: Path, root: Path = Path("/"), uid: int | None = None
    ) -> None:
        self._shell = shell
        library = root / "Library" if system else home / "Library"
        self._lists = library / ("LaunchDaemons" if system else "LaunchAgents")
        self._secrets = library / "Application Support/openmsi/services"
        self._logs = library / "Logs/openmsi"
        self._state = library / "Application Support/openmsi/state" if system else None
        self._domain = "system" if system else f"gui/{os.getuid() if uid is None else uid}"

    def install(self, service: Service) -> Sequence[str]:
        """See Services. One that runs is taken down: launchd reads a list only when it takes the service up."""
        done = []
        secrets, file = self._secret_file(service.name), self._file(service.name)
        self._logs.mkdir(parents=True, exist_ok=True)
        if keep(secrets, service.secrets):
            done.append(f"wrote {secrets} (mode 600)")
        text = plistlib.dumps(self.facts(service)).decode("utf-8")
        changed = put(file, text, mode=0o644)
        if changed:
            done.append(f"wrote {file}")
            self._down(service.name)
        return done

    def facts(self, service: Service) -> dict[str, Any]:
        """The property list."""
        log = str(self._logs / f"{service.name}.log")
        execute = (
            "service",
            "exec",
            "--environment",
            str(self._secret_file(service.name)),
            "--rest-on",
            "2",
            "--rest-on",
        )
        facts: dict[str, Any] = {
            "Label": _label(service.name),
            "ProgramArguments": [*service.command, *execute, "5", "--", *service.arguments],
            "WorkingDirectory": str(service.folder),
            "EnvironmentVariables": dict(service.environment) | self._own_state(service.name),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ExitTimeOut": _STOP_SECONDS,
            "ProcessType": "Background",
            "Umask": 0o027,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
        if service.account:
            facts["UserName"] = service.account
        return facts

    def start(self, name: str) -> None:
        """See Services."""
        self._must_be_there(name)
        if self.status(name).state == "absent":
            self._shell.run("launchctl", "bootstrap", self._domain, str(self._file(name)))
        self._shell.run("launchctl", "kickstart", self._target(name))

    def stop(self, name: str) -> None:
        """See Services. It is taken down, because launchd would start a service that it keeps alive anew."""
        self._must_be_there(name)
        self._down(name)

    def restart(self, name: str) -> None:
        """See Services."""
        self.stop(name)
        self.start(name)

    def status(self, name: str) -> Status:
        """See Services."""
        text = self._shell.run("launchctl", "print", self._target(name), may_fail=True)
        if not text:
            return Status(name, "stopped" if self._file(name).exists() else "absent")
        pid, code = re.search(r"\bpid = (\d+)", text), re.search(r"\blast exit code = (\d+)", text)
        runs = re.search(r"\bruns = (\d+)", text)
        state = "running" if pid else "failed" if code and int(code.group(1)) else "stopped"
        return Status(
            name,
            state,
            pid=int(pid.group(1)) if pid else 0,
            restarts=max(0, int(runs.group(1)) - 1) if runs else 0,
            exit_code=int(code.group(1)) if code else None,
        )

    def logs(self, name: str, lines: int, *, follow: bool) -> None:
        """See Services."""
        self._must_be_there(name)
        code = self._shell.show("tail", "-n", str(lines), *(["-F"] if follow else []), str(self._logs / f"{name}.log"))
        if code not in {0, 130, -2}:
            raise ServiceFailed(f"tail ended with exit code {code}; what it said stands above.")

    def remove(self, name: str) -> Sequence[str]:
        """See Services."""
        files = [file for file in (self._file(name), self._secret_file(name)) if file.exists()]
        if not files:
            return [f"there is no service {name}: nothing to do"]
        self._down(name)
        for file in files:
            file.unlink()
        return [f"removed {file}" for file in files]

    def _down(self, name: str) -> None:
        if self._shell.run("launchctl", "print", self._target(name), may_fail=True):
            self._shell.run("launchctl", "bootout", self._target(name))

    def _own_state(self, name: str) -> dict[str, str]:
        return {"OPENMSI_STATE": str(self._state / name)} if self._state is not None else {}

    def _file(self, name: str) -> Path:
        return self._lists / f"{_label(name)}.plist"

    def _secret_file(self, name: str) -> Path:
        return self._secrets / f"{name}.env"

    def _target(self, name: str) -> str:
        return f"{self._domain}/{_label(name)}"

    def _must_be_there(self, name: str) -> None:
        if not self._file(name).exists():
            raise UsageError(f"there is no service {name}: `openmsi service install {name} -- run ...` makes it.")


def _label(name: str) -> str:
    return f"org.openmsi.{name}"
