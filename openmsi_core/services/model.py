"""What a service is, and what a service manager does with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from openmsi_core.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
NOTIFIES = frozenset({"run", "watch"})
"""The commands that tell systemd when they are ready, and that they are alive."""


@dataclass(frozen=True, slots=True)
class Service:
    """One command line of ours that is kept running.

    ``command`` begins with the program. ``environment`` may be read by anybody, ``secrets`` by the service alone: they
    go to a file of their own. ``folder`` is where the command is started, ``writes`` the folders that it may write to
    beside its state. ``account`` is whose service it is ("": of whoever installs it, or the manager's usual one).
    """

    name: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    writes: tuple[Path, ...] = ()
    account: str = ""

    @property
    def description(self) -> str:
        """What a person sees in a list of services."""
        return f"openmsi {self.name}: {' '.join(self.arguments[:2])}"

    @property
    def notifies(self) -> bool:
        """True when the command tells systemd that it is ready."""
        return bool(self.arguments) and self.arguments[0] in NOTIFIES


@dataclass(frozen=True, slots=True)
class Status:
    """How a service is: ``state`` is ``running``, ``stopped``, ``failed``, ``starting`` or ``absent``.

    ``detail`` is what the program says of itself, or how it ended; ``pid`` 0 when it does not run.
    """

    name: str
    state: str
    detail: str = ""
    pid: int = 0
    restarts: int = 0
    exit_code: int | None = None

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "pid": self.pid or None,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
        }


class Services(Protocol):
    """A service manager. Every method may be repeated, and raises ServiceFailed with what the manager said."""

    def install(self, service: Service) -> Sequence[str]:
        """Write it down and have it started with the machine (or the login); what was done, a line each.

        A service of that name is replaced; one that is equal is left alone, and the answer is empty. It is not started.
        """
        ...

    def start(self, name: str) -> None:
        """Start it, unless it runs."""
        ...

    def stop(self, name: str) -> None:
        """Ask it to stop and wait for its end, unless it does not run."""
        ...

    def restart(self, name: str) -> None:
        """Stop it if it runs, and start it."""
        ...

    def status(self, name: str) -> Status:
        """How it is."""
        ...

    def logs(self, name: str, lines: int, *, follow: bool) -> None:
        """Its last lines to standard output; with ``follow`` what comes, until it is interrupted."""
        ...

    def remove(self, name: str) -> Sequence[str]:
        """Stop and forget it, with its secrets; its state stays. What was done, a line each."""
        ...


def refuse_name(name: str) -> None:
    """Raises UsageError for what cannot name a service on every platform."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a service: small letters, digits, - and _, at most 64, as in xrd-archive."
        )
