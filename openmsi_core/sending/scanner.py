"""The scanner: what is below a folder now. File-system events may make it faster; they never replace it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from openmsi_core.errors import PathRefused
from openmsi_core.files.paths import wanted
from openmsi_core.model import MAX_PART_BYTES, MAX_PATH_BYTES, RelativePath, shown
from openmsi_core.sending.seen import Seen, facts_of

OURS = ".openmsi"
"""Folders of this name hold files of ours (unfinished ones of the disk sink); they are never sent."""

Complaint = Callable[[str, str], None]
"""Called with a place (as the file system spells it) and the reason why it is left out."""

_REPARSE_POINT = 0x400


class Scanner:
    """Looks below ``root`` for regular files that the patterns want.

    Symlinked folders (and Windows' junctions) are not followed, so a loop cannot be entered. A symlinked file is
    sent under the link's own path if it leads to a regular file inside the root; a link that leads outside is left
    out and said, because whoever may create a link in the folder could otherwise publish any file of the machine.
    Devices, sockets and pipes are not files. What is left out for a reason that a person can change (unreadable, a
    name that cannot be sent) goes to ``complain``, at every scan; ``left_out`` counts it for the last scan.
    """

    def __init__(
        self, root: Path, complain: Complaint, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.left_out = 0
        self._complain = complain
        self._include = tuple(include)
        self._exclude = tuple(exclude)

    def scan(self) -> Generator[Seen]:
        """Every file that is there now, in no particular order; close it when you stop early. Never raises OSError."""
        self.left_out = 0
        folders: list[tuple[str, bytes]] = [(os.fspath(self.root), b"")]
        while folders:
            folder, prefix = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        yield from self._look(entry, prefix, folders)
            except FileNotFoundError as error:
                if not prefix:  # the root itself is gone: a mount that comes back, or a mistake
                    self._leave_out(folder, _reason(error))
            except OSError as error:
                self._leave_out(folder, _reason(error))

    def _look(self, entry: os.DirEntry[str], prefix: bytes, folders: list[tuple[str, bytes]]) -> Iterator[Seen]:
        key = self._key(entry, prefix)
        if key is None:
            return
        try:
            if _is_link(entry):
                seen = self._link(entry, key)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name != OURS:
                    folders.append((entry.path, key + b"/"))
                return
            elif entry.is_file(follow_symlinks=False):
                seen = Seen(entry.path, key, facts_of(entry.stat(follow_symlinks=False)))
            else:
                return
        except FileNotFoundError:
            return  # it vanished between the listing and the look: an ordinary event
        except OSError as error:
            self._leave_out(entry.path, _reason(error))
            return
        if seen is not None and self._wants(seen):
            yield seen

    def _key(self, entry: os.DirEntry[str], prefix: bytes) -> bytes | None:
        """The record key of an entry; a cheaper spelling of what RelativePath checks."""
        try:
            raw = entry.name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a surrogate pair, which Windows allows
            raw = bytes(MAX_PART_BYTES + 1)
        key = prefix + raw
        if len(raw) <= MAX_PART_BYTES and len(key) <= MAX_PATH_BYTES:
            return key
        try:
            RelativePath((*prefix.decode("utf-8", "surrogateescape").split("/")[:-1], entry.name))
        except PathRefused as error:
            self._leave_out(entry.path, f"its path cannot be sent: {error}")
        return None

    def _link(self, entry: os.DirEntry[str], key: bytes) -> Seen | None:
        target = os.path.realpath(entry.path)
        facts = os.stat(target)  # noqa: PTH116 - a bare call: the scanner counts microseconds
        if not stat.S_ISREG(facts.st_mode):
            return None
        root = os.path.realpath(self.root)
        if os.path.commonpath((root, target)) != root:
            self._leave_out(entry.path, f"a link that leads out of the folder, to {shown(target)}")
            return None
        return Seen(target, key, facts_of(facts))

    def _wants(self, seen: Seen) -> bool:
        if not self._include and not self._exclude:
            return True
        return wanted(seen.relative, self._include, self._exclude)

    def _leave_out(self, place: str, reason: str) -> None:
        self.left_out += 1
        self._complain(place, reason)


def _is_link(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return True
    if os.name != "nt":
        return False
    return bool(getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0) & _REPARSE_POINT)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
