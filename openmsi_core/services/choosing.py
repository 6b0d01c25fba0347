"""Which service manager this machine has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from openmsi_core.services.launchd import Launchd
from openmsi_core.services.model import Services
from openmsi_core.services.shell import RealShell
from openmsi_core.services.systemd import Systemd, user_home


def services_of(*, system: bool, platform: str = sys.platform) -> Services:
    """The service manager of ``platform``. Raises UsageError when what it needs is not installed."""
    if platform == "win32":
        from openmsi_core.services.pywin32 import Pywin32  # noqa: PLC0415 - it is there on Windows only
        from openmsi_core.services.windows import WindowsServices  # noqa: PLC0415

        return WindowsServices(Pywin32(), RealShell(), program_data())
    if platform == "darwin":
        return Launchd(RealShell(), system=system, home=user_home())
    return Systemd(RealShell(), system=system, home=user_home())


def program_data() -> Path:
    """Where Windows keeps what belongs to no user."""
    return Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "openmsi"
