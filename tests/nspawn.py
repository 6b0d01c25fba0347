"""A systemd that really boots, in a container of this machine: root, Linux and systemd-nspawn are needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.kafka.processes import wait_for

ROOT = Path(__file__).resolve().parents[1]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str | None:
    """Why no systemd can be booted here."""
    if shutil.which("systemd-nspawn") is None or shutil.which("nsenter") is None:
        return "systemd-nspawn is not here (Debian: systemd-container)"
    return None if os.geteuid() == 0 else "systemd-nspawn needs root"


class Machine:
    """The container: /usr is this machine's, everything else is new and in memory; the network is shared.

    This tree is /opt/openmsi, its Python /opt/venv/bin/python, and ``work`` is /opt/work.
    """

    def __init__(self, work: Path, log: Path) -> None:
        self._log = log
        places = {f"{work}": "/opt/work"}
        seen = {f"{ROOT}": "/opt/openmsi", sys.prefix: "/opt/venv", sys.base_prefix: sys.base_prefix}
        self._command = [
            *("systemd-nspawn", "--quiet", "-D", "/", "--volatile=yes", "--register=no", "--keep-unit"),
            f"--machine=openmsi-test-{os.getpid()}",
            *(f"--bind={here}:{there}" for here, there in places.items()),
            *(f"--bind-ro={here}:{there}" for here, there in seen.items()),
            *("-b", "systemd.firstboot=off", "systemd.unit=multi-user.target"),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            wait_for(self._has_booted, 60, lambda: self._log.read_text("utf-8", "replace")[-2000:], self._process)
        except BaseException:
            self.__exit__()
            raise
        for folder in Path(sys.base_prefix).parents:  # else an account of its own cannot reach Python
            self.run("chmod", "a+rx", str(folder))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def run(self, *command: str, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """One command inside, as root."""
        environment = [f"PATH={PATH}", "HOME=/root", "PYTHONPATH=/opt/openmsi", "LANG=C.UTF-8"]
        inside = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-p", "--", "env", "-i", *environment]
        return subprocess.run([*inside, *command], capture_output=True, text=True, timeout=within, check=False)

    def openmsi(self, *words: str, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """One command of ours inside."""
        return self.run("/opt/venv/bin/python", "-m", "openmsi_core", *words, within=within)

    def _has_booted(self) -> bool:
        assert self._process is not None
        here = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        children = Path(here).read_text("ascii").split()  # the first child is none of them: it makes the others
        self._leader = int(children[-1]) if children else 0
        return bool(self._leader) and self.run("systemctl", "is-system-running").stdout.strip() in {
            "running",
            "degraded",
        }
