"""A file of variables that only the service reads: NAME="VALUE" lines, mode 600, as systemd's EnvironmentFile has them.

The same file serves launchd and Windows, where `openmsi service exec` reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from openmsi_core.errors import FolderError, UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LINE = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|([^"\s].*?)?)\s*', re.ASCII)
_ESCAPED = re.compile(r'["\\`$]')


def written(values: Mapping[str, str]) -> str:
    r"""The text of such a file. Raises UsageError for what cannot stand in it.

    >>> written({"PASSWORD": 'a"b$'})
    'PASSWORD="a\\"b\\$"\n'
    """
    for name, value in values.items():
        if not _NAME.fullmatch(name) or "\n" in value or "\0" in value:
            raise UsageError(
                f"the variable {name!r} cannot be handed to a service: it has a line end, or no plain name"
            )
    return "".join(
        f'{name}="{_ESCAPED.sub(lambda found: chr(92) + found.group(), value)}"\n'
        for name, value in sorted(values.items())
    )


def environment_in(file: Path) -> dict[str, str]:
    """The variables of such a file; also one that a person wrote. Raises UsageError, FolderError."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError as error:
        raise FolderError(f"the file of variables {file} cannot be read: {error.strerror}.") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise UsageError(f'{file}:{number}: a line is NAME="value".')
        name, quoted, plain = match.groups()
        found[name] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else (plain or "").strip()
    return found


def keep(file: Path, values: Mapping[str, str], *, mode: int = 0o600) -> bool:
    """Make ``file`` hold ``values``; True when that changed anything. Nobody else can read it, at no instant."""
    return put(file, written(values), mode=mode)


def put(file: Path, text: str, *, mode: int) -> bool:
    """Make ``file`` hold ``text`` with ``mode``, whole or not at all; True when that changed anything.

    Raises FolderError.
    """
    try:
        if file.exists() and file.read_text("utf-8") == text and file.stat().st_mode & 0o777 == mode:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        work = file.with_name(f".{file.name}.{os.getpid()}")
        with open(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as out:  # noqa: PTH123
            out.write(text)
        work.chmod(mode)
        work.replace(file)
    except OSError as error:
        raise FolderError(
            f"{file} cannot be written: {error.strerror}. A service of the whole machine (--system) needs root."
        ) from error
    return True
