"""Running the service manager's own commands, so that what they say is not lost."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import Protocol

from openmsi_core.errors import ServiceFailed
from openmsi_core.model import shown

_SECONDS = 120.0


class Shell(Protocol):
    """Runs commands of the service manager."""

    def run(self, *command: str, may_fail: bool = False) -> str:
        """What the command printed to standard output.

        Raises ServiceFailed with its output and exit code; with ``may_fail`` only when it cannot be run at all.
        """
        ...

    def show(self, *command: str) -> int:
        """Run it with our own standard output; its exit code. Raises ServiceFailed when it cannot be run."""
        ...


class RealShell:
    """Runs them."""

    def run(self, *command: str, may_fail: bool = False) -> str:
        """See Shell."""
        _must_exist(command)
        try:
            done = subprocess.run(  # noqa: S603 - put together by us, no shell
                command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceFailed(
                f"`{shlex.join(command)}` did not end within {_SECONDS:g} s. Look at the service manager's own log."
            ) from error
        if done.returncode and not may_fail:
            said = shown((done.stderr + done.stdout).strip().replace("\n", "; ")) or "it said nothing"
            raise ServiceFailed(f"`{shlex.join(command)}` ended with exit code {done.returncode}: {said}{_hint(said)}")
        return done.stdout

    def show(self, *command: str) -> int:
        """See Shell."""
        _must_exist(command)
        return subprocess.run(command, check=False).returncode  # noqa: S603 - put together by us, no shell


def _must_exist(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise ServiceFailed(
            f"there is no {command[0]} here, so this machine's services cannot be managed by it. "
            "Run the command itself, or with the manager that this machine has."
        )


def _hint(said: str) -> str:
    if "connect to bus" in said or "No medium found" in said:
        return (
            ". No systemd answers for this user: log in to a session (or `loginctl enable-linger`), or use --system as "
            "root"
        )
    if "Access denied" in said or "Permission denied" in said or "authentication required" in said:
        return ". Run it as root (sudo), or without --system for a service of your own"
    return ""
