"""What `openmsi doctor` looks at on this machine: Python, libraries, disk, clock, plugins, folders."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from openmsi_core.errors import OpenmsiError
from openmsi_core.kafka.admin import library_version
from openmsi_core.plugins.catalogue import catalogue, find
from openmsi_core.plugins.requirements import Installed, judge, our_version, package_of
from openmsi_core.settings import Settings
from openmsi_core.wiring.doctor import Finding, fine, note, wrong

_FREE_PART, _FREE_MOST = 20, 10 * 1024**3  # what the spool always leaves free: a twentieth, 10 GiB at most


def machine_findings(settings: Settings) -> Iterator[Finding]:
    """Everything that needs no broker."""
    yield fine("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _libraries()
    yield from _state(settings.state)
    yield from _clock()
    yield from _plugins(settings)
    for name, watch in settings.watch.items():
        folder = watch.path.absolute()
        if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            yield fine(f"watch {name}", f"{folder} can be read")
        else:
            yield wrong(f"watch {name}", f"{folder} is no folder that we can read", "create it, or correct path", 2)


def _libraries() -> Iterator[Finding]:
    installed = Installed()
    dist = installed.first("openmsi")
    if dist is None:
        yield note("libraries", "openmsi runs from a source tree that is not installed", "pip install -e .")
        return
    verdict = judge(package_of(dist), (), installed)
    if verdict.status:
        yield wrong("libraries", f"openmsi {our_version()}: {verdict.status}", verdict.detail, 2)
    else:
        yield fine("libraries", f"openmsi {our_version()}, librdkafka {library_version()}, all dependencies are there")


def _state(folder: Path) -> Iterator[Finding]:
    check = "state folder"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield wrong(check, f"{folder} cannot be written: {error.strerror}", "make it writable, or set OPENMSI_STATE", 2)
        return
    usage = shutil.disk_usage(folder)
    least = min(usage.total // _FREE_PART, _FREE_MOST)
    if usage.free < least:
        yield wrong(
            "disk",
            f"{folder} has {usage.free / 1e9:.1f} GB free, of which {least / 1e9:.1f} GB stay free: nothing is spooled",
            "make room, or set OPENMSI_STATE to another disk",
        )
    else:
        yield fine("disk", f"{folder} is writable, {usage.free / 1e9:.1f} GB free")
    if os.name == "posix" and folder.stat().st_mode & 0o022:
        yield note(check, f"{folder} can be written by others", f"chmod go-w {folder}")


def _clock() -> Iterator[Finding]:
    """Whether the system says that its clock is kept right; only systemd tells in a way that is the same everywhere."""
    if shutil.which("timedatectl") is None:
        return
    try:
        told = subprocess.run(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if told.stdout.strip() == "yes":
        yield fine("clock", "is kept right by a time server")
    elif told.stdout.strip() == "no":
        yield note("clock", "no time server keeps it right", "timedatectl set-ntp true")


def _plugins(settings: Settings) -> Iterator[Finding]:
    entries = catalogue()
    bad = [each for each in entries if each.status not in {"ok", "no window", "unrenamed template"}]
    for each in bad:
        yield wrong(f"plugin {each.qualified}", each.status, each.detail or "openmsi plugins", 2)
    yield fine("plugins", f"{len(entries) - len(bad)} can run")
    for name, run in settings.run.items():
        try:
            find(run.plugin, entries)
        except OpenmsiError as error:
            yield wrong(f"run {name}", str(error), "install its package, or correct plugin", 2)
