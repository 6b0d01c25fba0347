"""Services of systemd: of one user, or (``--system``) of the whole machine with an account of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from openmsi_core.errors import ServiceFailed, UsageError
from openmsi_core.services.model import Service, Status
from openmsi_core.services.secrets import keep, put
from openmsi_core.services.shell import Shell

ACCOUNT = "openmsi"
STOP_SECONDS = 30
_BACKS_OFF_SINCE = 254
_STATES = {"active": "running", "activating": "starting", "reloading": "running", "deactivating": "running"}
_SYSTEM_ROOMS = """\
StateDirectory=openmsi/{name}
StateDirectoryMode=0750
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
CapabilityBoundingSet=
AmbientCapabilities=
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
RemoveIPC=yes
"""
_HARDENED = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0027
"""


class Systemd:
    """Writes units and calls systemctl. ``system`` chooses the manager of the machine, else that of the user."""

    def __init__(self, shell: Shell, *, system: bool, home: Path, root: Path = Path("/")) -> None:
        self._shell = shell
        self._system = system
        self._units = root / "etc/systemd/system" if system else home / ".config/systemd/user"
        self._secrets = root / "etc/openmsi/services" if system else home / ".config/openmsi/services"
        self._scope = () if system else ("--user",)

    def install(self, service: Service) -> Sequence[str]:
        """See Services."""
        done = list(self._account(service))
        for folder in service.writes if self._system else ():
            if not folder.is_dir():
                raise UsageError(
                    f"there is no folder {folder}, which the service is to write to: create it, and give it to the "
                    f"account {service.account or ACCOUNT}."
                )
        secrets = self._secret_file(service.name)
        if keep(secrets, service.secrets):
            done.append(f"wrote {secrets} (mode 600)")
        unit = self._units / _unit(service.name)
        if put(unit, self.text(service), mode=0o644):
            done.append(f"wrote {unit}")
        self._ctl("daemon-reload")
        self._ctl("enable", _unit(service.name))
        return done

    def text(self, service: Service) -> str:
        """The unit."""
        return "".join(self._lines(service))

    def start(self, name: str) -> None:
        """See Services."""
        self._begin("start", name)

    def stop(self, name: str) -> None:
        """See Services."""
        self._must_be_there(name)
        self._ctl("stop", _unit(name))

    def restart(self, name: str) -> None:
        """See Services."""
        self._begin("restart", name)

    def status(self, name: str) -> Status:
        """See Services."""
        wanted = "LoadState,ActiveState,StatusText,MainPID,NRestarts,ExecMainStatus,Result"
        told = dict(
            line.partition("=")[::2] for line in self._ctl("show", "-p", wanted, _unit(name)).splitlines() if line
        )
        if told.get("LoadState") == "not-found":
            return Status(name, "absent")
        state = _STATES.get(told.get("ActiveState", ""), "stopped")
        if told.get("ActiveState") == "failed" or (state == "stopped" and told.get("Result", "success") != "success"):
            state = "failed"
        detail = told.get("StatusText", "") if state in {"running", "starting"} else ""
        if state == "failed":
            detail = told.get("Result", "")
        code = int(told.get("ExecMainStatus") or 0) if state in {"stopped", "failed"} else None
        return Status(name, state, detail, int(told.get("MainPID") or 0), int(told.get("NRestarts") or 0), code)

    def logs(self, name: str, lines: int, *, follow: bool) -> None:
        """See Services."""
        self._must_be_there(name)
        code = self._shell.show(
            "journalctl", *self._journal(name), "-n", str(lines), "-o", "cat", "--no-pager", *(["-f"] if follow else [])
        )
        if code not in {0, 130, -2}:  # interrupted is how following ends
            raise ServiceFailed(f"journalctl ended with exit code {code}; what it said stands above.")

    def remove(self, name: str) -> Sequence[str]:
        """See Services."""
        unit, secrets = self._units / _unit(name), self._secret_file(name)
        if not unit.exists() and not secrets.exists():
            return [f"there is no service {name}: nothing to do"]
        if unit.exists():
            self._ctl("disable", "--now", _unit(name))
        done = []
        for file in (unit, secrets):
            if file.exists():
                file.unlink()
                done.append(f"removed {file}")
        self._ctl("daemon-reload")
        self._shell.run("systemctl", *self._scope, "reset-failed", _unit(name), may_fail=True)
        return done

    def _lines(self, service: Service) -> Iterator[str]:
        yield "# Written by `openmsi service install`, which writes it anew. Lines of your own: `systemctl edit`.\n"
        yield f"[Unit]\nDescription={_plain(service.description)}\n"
        if self._system:
            yield "Wants=network-online.target\nAfter=network-online.target\n"
        yield "StartLimitIntervalSec=0\n\n[Service]\n"
        yield "Type=notify\nNotifyAccess=main\nWatchdogSec=60\n" if service.notifies else "Type=exec\n"
        yield f"ExecStart={' '.join(quoted(each) for each in (*service.command, *service.arguments))}\n"
        yield f"WorkingDirectory={_plain(str(service.folder))}\n"
        for name, value in sorted(service.environment.items()):
            yield f"Environment={_quoted_text(f'{name}={value}'.replace('%', '%%'))}\n"
        yield f"EnvironmentFile=-{_plain(str(self._secret_file(service.name)))}\n"
        yield "Restart=on-failure\nRestartPreventExitStatus=2 5\nRestartSec=5\n"
        if self._version() >= _BACKS_OFF_SINCE:
            yield "RestartSteps=8\nRestartMaxDelaySec=300\n"
        yield f"KillSignal=SIGTERM\nKillMode=mixed\nTimeoutStopSec={STOP_SECONDS}\nTimeoutStartSec=120\n"
        yield _HARDENED
        if self._system:
            yield f"User={service.account or ACCOUNT}\n"
            yield f"Environment=OPENMSI_STATE=/var/lib/openmsi/{service.name}\n"
            yield _SYSTEM_ROOMS.format(name=service.name)
            for folder in service.writes:
                yield f"ReadWritePaths={_quoted_text(str(folder).replace('%', '%%'))}\n"
        yield f"\n[Install]\nWantedBy={'multi-user.target' if self._system else 'default.target'}\n"

    def _account(self, service: Service) -> Iterator[str]:
        """The account of a system service is made if it is ours to make."""
        if not self._system:
            return
        name = service.account or ACCOUNT
        if self._shell.run("getent", "passwd", name, may_fail=True):
            return
        if service.account:
            raise UsageError(f"there is no account {service.account}: create it, or leave --account out.")
        self._shell.run(
            "useradd",
            "--system",
            "--user-group",
            "--home-dir",
            "/var/lib/openmsi",
            "--shell",
            "/usr/sbin/nologin",
            name,
        )
        yield f"created the account {name}"

    def _begin(self, verb: str, name: str) -> None:
        self._must_be_there(name)
        try:
            self._ctl(verb, _unit(name))
        except ServiceFailed as error:
            said = self._shell.run(
                "journalctl", *self._journal(name), "-n", "5", "-o", "cat", "--no-pager", may_fail=True
            )
            raise ServiceFailed(f"{error}\nWhat the service said last:\n{said.strip()}") from error

    def _journal(self, name: str) -> tuple[str, str]:
        return ("--unit" if self._system else "--user-unit", _unit(name))

    def _secret_file(self, name: str) -> Path:
        return self._secrets / f"{name}.env"

    def _must_be_there(self, name: str) -> None:
        if not (self._units / _unit(name)).exists():
            raise UsageError(f"there is no service {name}: `openmsi service install {name} -- run ...` makes it.")

    def _version(self) -> int:
        found = re.match(r"systemd (\d+)", self._shell.run("systemctl", "--version"))
        return int(found.group(1)) if found else 0

    def _ctl(self, *words: str) -> str:
        return self._shell.run("systemctl", *self._scope, *words)


def _unit(name: str) -> str:
    return f"openmsi-{name}.service"


def quoted(text: str) -> str:
    r"""One word of ExecStart, as systemd.service(5) wants it.

    >>> print(quoted('a "b" $c 100%'))
    "a \"b\" $$c 100%%"
    """
    return _quoted_text(text.replace("%", "%%").replace("$", "$$"))


def _quoted_text(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:=@,+%$-]+", text):
        return text
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{inner}"'


def _plain(text: str) -> str:
    """A whole line's value: it is not split, but may not end the line, and % has a meaning."""
    return "".join(each if each.isprintable() else "?" for each in text).replace("%", "%%")


def user_home() -> Path:
    """Where a user's units are."""
    return Path(os.environ.get("HOME") or Path.home())
