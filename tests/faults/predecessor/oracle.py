"""What lies in a folder, told by hashlib and os alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

LOG_OF_RECEIVER = b"DataFileDownloadDirectory.log"  # its own log file, at the root of what it receives
LARGEST = 64 << 20  # bytes; nothing that is sent is larger, so a larger file is wrong without being read


def digests(root: Path) -> dict[bytes, str]:
    """SHA-256 of every file below ``root`` by relative path; of a file above 64 MiB only what it claims to hold."""
    return {path: digest(root, path) for path in _paths(root)}


def digest(root: Path, path: bytes, kind: str = "sha256") -> str:
    """The digest of one file, in hexadecimal."""
    full = os.path.join(os.fsencode(root), path)
    size = os.stat(full).st_size
    if size > LARGEST:
        return f"not read: {size} bytes"
    with open(full, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def state(root: Path) -> frozenset[tuple[bytes, int, int]]:
    """Path, size and time of every file: equal as long as nobody writes."""
    found = set()
    for path in _paths(root):
        try:
            about = os.stat(os.path.join(os.fsencode(root), path))
        except FileNotFoundError:  # gone between listing and looking
            continue
        found.add((path, about.st_size, about.st_mtime_ns))
    return frozenset(found)


def _paths(root: Path) -> list[bytes]:
    top = os.fsencode(root)
    files = [os.path.join(where, name) for where, _, names in os.walk(top) for name in names]
    return sorted({os.path.relpath(file, top) for file in files} - {LOG_OF_RECEIVER})


def compare(root: Path, expected: dict[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    """The paths of ``expected`` that are missing, and those whose content is wrong."""
    found = digests(root)
    missing = [path for path in expected if path not in found]
    wrong = [path for path, content in expected.items() if path in found and found[path] != sha256(content)]
    return missing, wrong
