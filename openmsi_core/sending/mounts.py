"""Whether a folder lies on another machine, so that its file system cannot tell what changes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|gfs2?|ocfs2|ncpfs|coda|virtiofs|vboxsf|vmhgfs|prl_fs|"
    r"drvfs|davfs|fuse(?!blk).*"
)


def network_kind(folder: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of the network mount that ``folder`` lies on, "" when it lies on none (or the system does not say)."""
    if sys.platform == "win32":  # pragma: no cover - not run by the tests
        return _windows_kind(folder)
    try:
        text = mounts.read_text("utf-8", "surrogateescape")
    except OSError:  # macOS: --polling is what is left
        return ""
    kind = kind_of(folder.resolve(), text)
    return kind if _NETWORK.fullmatch(kind) else ""


def kind_of(folder: Path, mountinfo: str) -> str:
    r"""The file system of ``folder`` in the words of Linux's mountinfo; a later mount on the same place hides it.

    >>> kind_of(Path("/data/x"), "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /data rw - nfs4 host:/ rw\n")
    'nfs4'
    """
    found, length = "", -1
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        parts = fields.split(" ")
        if len(parts) < 5 or not tail:
            continue
        place = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), parts[4]))
        if folder.is_relative_to(place) and len(place.parts) >= length:
            found, length = tail.split(" ")[0], len(place.parts)
    return found


def _windows_kind(folder: Path) -> str:  # pragma: no cover - not run by the tests
    import ctypes  # noqa: PLC0415 - has no windll elsewhere

    drive = folder.absolute().drive
    if drive.startswith("\\\\"):
        return "share"
    remote = 4
    return "share" if ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == remote else ""  # type: ignore[attr-defined,unused-ignore]
