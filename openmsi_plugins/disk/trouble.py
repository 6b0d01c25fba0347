"""What the errors of the system mean for a file, and how paths are told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from openmsi_core import FolderError

# The disk is in trouble, not this file: it waits, and comes back.
TROUBLE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "EMFILE", "ENFILE")
    if hasattr(errno, name)
}
# This file cannot be stored here, however often it is tried.
NO_PLACE = {
    errno.ELOOP: "a symbolic link stands on its way, and links are not followed",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EISDIR: "a folder stands where the file should be",
    errno.ENAMETOOLONG: "its name is too long for this file system",
    errno.EILSEQ: "this file system cannot store its name",
    errno.EFBIG: "it is larger than a file may be there",
}
# Something that was there was taken away.
GONE = {errno.ENOENT, getattr(errno, "ESTALE", errno.ENOENT)}


def unusable(root: Path, error: OSError) -> FolderError:
    """The error of a root that cannot be used."""
    return FolderError(
        f"files cannot be stored in {shown(root)}: {error.strerror or error}. Choose another folder (--folder), or "
        "give this account the right to write there."
    )


def shown(folder: Path, *names: str) -> str:
    """A path as text that every encoding takes: bytes that are not UTF-8 are escaped."""
    return os.fspath(folder.joinpath(*names)).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
